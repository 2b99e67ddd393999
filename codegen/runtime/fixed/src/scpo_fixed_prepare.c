/* Parameters as integers, in double: in the background, whatever the processor has. SPDX-License-Identifier: MIT */
#include "scpo_fixed_data.h"
#include "scpo_internal.h"

#define SCPO_FIXED_LARGEST 1152921504606846976.0 /* 2^60: no weight is larger */
#define SCPO_FIXED_LEAST_SHIFT 1
#define SCPO_FIXED_MOST_SHIFT 61

typedef char scpo_doubles_have_64_bits[sizeof(double) == 8 ? 1 : -1];

static int32_t scpo_fixed_nearest(double x)
{
    return (int32_t)(x < 0 ? x - 0.5 : x + 0.5);
}

/* A row of `count` numbers as integers in 2^-e, with e as large as sums of their products allow: no term is more than
 * 2^31 / count, so that the sum of products with numbers up to 2^31 stays below 2^62. Its shift makes of sums in
 * 2^-(e + 30) ones in 2^-point. Returns whether there is such an e. */
static int scpo_fixed_row(int count, const double *row, int point, int32_t *weights, unsigned char *shift)
{
    double largest = 0;
    int bits = 0;
    int q;
    int e;
    int k;
    for (k = 0; k < count; k++) {
        const double size = row[k] < 0 ? -row[k] : row[k];
        largest = size > largest ? size : largest;
    }
    if (!(largest < SCPO_FIXED_LARGEST)) {
        return 0;
    }
    while ((1 << bits) < count) {
        bits++;
    }
    (void)frexp(largest, &q);
    e = 31 - bits - q;
    e = e > 31 ? 31 : e;
    if (e + 30 - point < SCPO_FIXED_LEAST_SHIFT || e + 30 - point > SCPO_FIXED_MOST_SHIFT) {
        return 0;
    }
    for (k = 0; k < count; k++) {
        weights[k] = scpo_fixed_nearest(ldexp(row[k], e));
    }
    *shift = (unsigned char)(e + 30 - point);
    return 1;
}

/* The hidden layers; theta holds W_1, b_1, ..., each matrix row by row. */
static int scpo_fixed_hidden(const scpo_real *theta, int32_t *w, unsigned char *shift)
{
    double row[SCPO_MAX_WIDTH + 1];
    int layer;
    int good = 1;
    for (layer = 0; layer + 1 < SCPO_NLAYERS; layer++) {
        const int in = scpo_widths[layer];
        const int out = scpo_widths[layer + 1];
        int i;
        int k;
        for (i = 0; i < out; i++) {
            for (k = 0; k < in; k++) {
                row[k] = (double)theta[i * in + k] * (layer == 0 ? scpo_fixed_reach[k] : 1.0);
            }
            row[in] = (double)theta[in * out + i];
            good = scpo_fixed_row(in + 1, row, SCPO_FIXED_ARGUMENT, w, shift) && good;
            w += in + 1;
            shift++;
        }
        theta += (in + 1) * out;
    }
    return good;
}

/* The inputs: a row of the backup's gain and of the last matrix. */
static int scpo_fixed_outputs(const scpo_real *theta, int32_t *w, unsigned char *shift)
{
    const int last = SCPO_FIXED_LAST;
    double row[SCPO_NX + SCPO_MAX_WIDTH + 1];
    int good = 1;
    int i;
    int k;
    for (i = 0; i < SCPO_NU; i++) {
        for (k = 0; k < SCPO_NX; k++) {
            row[k] = scpo_fixed_gain[i][k];
        }
        for (k = 0; k < last; k++) {
            row[SCPO_NX + k] = (double)theta[i * last + k] * scpo_fixed_size[i];
            if (SCPO_NLAYERS == 1) {
                row[SCPO_NX + k] *= scpo_fixed_reach[k];
            }
        }
        row[SCPO_NX + last] = scpo_fixed_rest[i];
        good = scpo_fixed_row(SCPO_NX + last + 1, row, 0, w, shift + i) && good;
        w += SCPO_NX + last + 1;
    }
    return good;
}

scpo_status scpo_fixed_prepare(scpo_fixed_parameters *parameters, const scpo_real *theta)
{
    const int last = SCPO_FIXED_LAST;
    int32_t *outputs = parameters->weights + SCPO_FIXED_WEIGHTS - SCPO_NU * (SCPO_NX + last + 1);
    int good;
    if (scpo_largest(SCPO_NTHETA, theta, 0) >= SCPO_INFINITY) {
        return SCPO_BAD_THETA;
    }
    good = scpo_fixed_hidden(theta, parameters->weights, parameters->shift);
    good = scpo_fixed_outputs(theta + SCPO_NTHETA - SCPO_NU * last, outputs, parameters->shift + SCPO_HIDDEN) && good;
    if (!good) {
        return SCPO_BAD_THETA;
    }
    scpo_fixed_activations(parameters, NULL, parameters->at_zero);
    return SCPO_OK;
}

scpo_status scpo_fixed_commit(scpo_fixed *controller, const scpo_real *theta)
{
    const unsigned char other = (unsigned char)((controller->active ^ 1U) & 1U);
    const scpo_status status = scpo_fixed_prepare(&controller->set[other], theta);
    if (status == SCPO_OK) {
        SCPO_BARRIER();
        controller->active = other;
        SCPO_BARRIER();
    }
    return status;
}

scpo_status scpo_fixed_begin(scpo_fixed *controller, const scpo_real *theta)
{
    scpo_status status = scpo_fixed_commit(controller, theta);
    if (status != SCPO_OK) {
        static const scpo_real backup[SCPO_NTHETA] = {0};
        (void)scpo_fixed_commit(controller, backup);
    }
    return status;
}

scpo_status scpo_fixed_counts(const scpo_real *x, int32_t *counts)
{
    const int good = scpo_largest(SCPO_NX, x, 0) < SCPO_INFINITY;
    int i;
    for (i = 0; i < SCPO_NX; i++) {
        const double zero = ldexp((double)scpo_fixed_zero[i], -(int)scpo_fixed_shift[i]);
        double count = good ? ((double)x[i] - scpo_fixed_x_zero[i]) / scpo_fixed_x_step[i] : zero;
        count = count > scpo_fixed_high[i] ? scpo_fixed_high[i] : (count < scpo_fixed_low[i] ? scpo_fixed_low[i] : count);
        counts[i] = scpo_fixed_nearest(count);
    }
    return good ? SCPO_OK : SCPO_BAD_STATE;
}
