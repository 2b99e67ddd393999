/* The policy in integers: what an interrupt calls. Right shifts of negative numbers round down, as with every compiler
 * of the targets; where they do not, this does not compile. SPDX-License-Identifier: MIT
 */
#include "scpo_fixed_data.h"
#include "scpo_internal.h"

typedef char scpo_shifts_round_down[(-1 >> 1) == -1 ? 1 : -1];

/* The exact product. A Cortex-M0+ has no instruction for it: four products of halves take less than the compiler's
 * library. */
static inline int64_t scpo_fixed_product(int32_t a, int32_t b)
{
#if defined(__ARM_ARCH_6M__)
    const uint32_t a0 = (uint32_t)a & 0xffffU;
    const uint32_t b0 = (uint32_t)b & 0xffffU;
    const int32_t a1 = a >> 16;
    const int32_t b1 = b >> 16;
    const uint32_t low = a0 * b0;
    const int32_t first = a1 * (int32_t)b0;                                     /* >= -2^31 + 2^15 */
    const int32_t second = (int32_t)a0 * b1;
    const uint32_t middle = (low >> 16) + ((uint32_t)first & 0xffffU) + ((uint32_t)second & 0xffffU);
    const int32_t high = a1 * b1 + (first >> 16) + (second >> 16) + (int32_t)(middle >> 16);
    return (int64_t)(((uint64_t)(uint32_t)high << 32) | (middle << 16) | (low & 0xffffU));
#else
    return (int64_t)a * b;
#endif
}

/* a b, where 2^30 is one, rounded down. */
static inline int32_t scpo_fixed_times(int32_t a, int32_t b)
{
    return (int32_t)(scpo_fixed_product(a, b) >> 30);
}

/* sum + w'y */
static int64_t scpo_fixed_inner(int count, const int32_t *w, const int32_t *y, int64_t sum)
{
    int k;
    for (k = 0; k < count; k++) {
        sum += scpo_fixed_product(w[k], y[k]);
    }
    return sum;
}

/* The sum with its bias, shifted, to the nearest, within [-most, most]. */
static inline int32_t scpo_fixed_rounded(int64_t sum, int32_t bias, int shift, int32_t least, int32_t most)
{
    const int64_t value = (((sum + (int64_t)bias * SCPO_FIXED_ONE) >> (shift - 1)) + 1) >> 1;
    return value > most ? most : (value < least ? least : (int32_t)value);
}

/* tanh of x in 2^-27, |x| <= 10, in 2^-30: three terms of Taylor's series around the nearest k / 32. */
static int32_t scpo_fixed_tanh(int32_t x)
{
    const int32_t size = x < 0 ? -x : x;
    const int32_t k = (size + (1 << 21)) >> 22;
    const int32_t d = (size - k * (1 << 22)) * 8;
    const int32_t t = scpo_fixed_tanh_table[k];
    const int32_t square = scpo_fixed_times(t, t);
    const int32_t bend = scpo_fixed_times(d, t - scpo_fixed_times(d, square - SCPO_FIXED_ONE / 3));
    const int32_t y = t + scpo_fixed_times(SCPO_FIXED_ONE - square, d - scpo_fixed_times(d, bend));
    return x < 0 ? -y : y;
}

void scpo_fixed_activations(const scpo_fixed_parameters *parameters, const int32_t *y, int32_t *a)
{
    const int32_t end = (int32_t)10 << SCPO_FIXED_ARGUMENT;
    const int32_t *w = parameters->weights;
    const unsigned char *shift = parameters->shift;
    int layer;
    for (layer = 0; layer + 1 < SCPO_NLAYERS; layer++) {
        const int in = scpo_widths[layer];
        const int out = scpo_widths[layer + 1];
        int i;
        for (i = 0; i < out; i++) {
            const int64_t sum = y ? scpo_fixed_inner(in, w, y, 0) : 0;
            a[i] = scpo_fixed_tanh(scpo_fixed_rounded(sum, w[in], *shift, -end, end));
            w += in + 1;
            shift++;
        }
        y = a;
        a += out;
    }
}

void scpo_fixed_command(const scpo_fixed_parameters *parameters, const int32_t *x, int32_t *u)
{
    const int last = SCPO_FIXED_LAST;
    const int32_t *w = parameters->weights + SCPO_FIXED_WEIGHTS - SCPO_NU * (SCPO_NX + last + 1);
    int32_t y[SCPO_NX];
    int32_t a[SCPO_HIDDEN + 1];
    const int32_t *moved = y;
    int i;
    for (i = 0; i < SCPO_NX; i++) {
        const int32_t count = x[i] > scpo_fixed_high[i] ? scpo_fixed_high[i]
                                                        : (x[i] < scpo_fixed_low[i] ? scpo_fixed_low[i] : x[i]);
        y[i] = count * ((int32_t)1 << scpo_fixed_shift[i]) - scpo_fixed_zero[i];
    }
    if (SCPO_NLAYERS > 1) {
        scpo_fixed_activations(parameters, y, a);
        for (i = SCPO_HIDDEN - last; i < SCPO_HIDDEN; i++) {
            a[i] -= parameters->at_zero[i];
        }
        moved = a + SCPO_HIDDEN - last;
    }
    for (i = 0; i < SCPO_NU; i++) {
        const int64_t sum = scpo_fixed_inner(last, w + SCPO_NX, moved, scpo_fixed_inner(SCPO_NX, w, y, 0));
        const int shift = parameters->shift[SCPO_HIDDEN + i];
        u[i] = scpo_fixed_rounded(sum, w[SCPO_NX + last], shift, scpo_fixed_least[i], scpo_fixed_most[i]);
        w += SCPO_NX + last + 1;
    }
}

void scpo_fixed_control(const scpo_fixed *controller, const int32_t *x, int32_t *u)
{
    scpo_fixed_command(&controller->set[controller->active & 1U], x, u);
}
