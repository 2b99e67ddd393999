/* What a step asks of all metrics, in one pass each. SPDX-License-Identifier: MIT */
#include <string.h>

#define WIDTH 8 /* numbers are summed in eight parts */
#include "lanes.h"

#define MANTISSA_BITS 52
#define MANTISSA (((uint64_t)1 << MANTISSA_BITS) - 1)
#define EXPONENT_ONE 1023
#define FACTORS 8 /* slacks whose product is a number, between 1e-9 and 1e30 as they are */

static inline lane at(const double *values, long i)
{
    lane loaded;
    memcpy(&loaded, values + i, sizeof loaded);
    return loaded;
}

/* The last numbers of an array, filled up. */
static inline lane rest(const double *values, long i, long count, double filling)
{
    lane loaded = all(filling);
    memcpy(&loaded, values + i, (size_t)(count - i) * sizeof *values);
    return loaded;
}

static inline int any(mask which)
{
    int64_t bits_of_all = 0;
    int l;
    for (l = 0; l < WIDTH; l++) {
        bits_of_all |= which[l];
    }
    return bits_of_all != 0;
}

static inline lane slack(lane g, double least, double most)
{
    const lane x = -g;
    return choose(x < least, all(least), choose(x > most, all(most), x));
}

/* The sum of log(-g), each between log(least) and log(most), by products and their exponents; minus infinity where a
 * metric is above zero or not a number. */
double kernel_log_slacks(const double *g, long count, double least, double most)
{
    lane product = all(1.0);
    mask beyond = {0}, exponents = {0};
    double sum = 0.0;
    long i, l, factors = 0;
    for (i = 0; i < count; i += WIDTH) {
        const lane values = i + WIDTH <= count ? at(g, i) : rest(g, i, count, -1.0);
        beyond |= ~(values <= 0.0);
        product *= slack(values, least, most);
        if (++factors == FACTORS) {
            exponents += (mask)((bits)product >> MANTISSA_BITS) - EXPONENT_ONE;
            product = (lane)(((bits)product & MANTISSA) | (bits)all(1.0));
            factors = 0;
        }
    }
    if (any(beyond)) {
        return -INFINITY;
    }
    for (l = 0; l < WIDTH; l++) {
        sum += log(product[l]) + (double)exponents[l] * 0x1.62e42fefa39efp-1;
    }
    return sum;
}

/* Lists the metrics that vary and that a step within reach can bring to zero: g + reach sqrt(square) + bend L > -error.
 * Returns how many, or -1 where a square is not finite. */
long kernel_within_reach(const double *g, const double *squares, const double *L, const unsigned char *varies,
                         long count, double reach, double bend, double error, int64_t *rows)
{
    mask infinite = {0};
    long i, l, found = 0;
    for (i = 0; i < count; i += WIDTH) {
        const int whole = i + WIDTH <= count;
        const lane square = whole ? at(squares, i) : rest(squares, i, count, 0.0);
        const lane start = whole ? at(g, i) : rest(g, i, count, -INFINITY);
        const lane bends = bend * (whole ? at(L, i) : rest(L, i, count, 0.0));
        const mask near = (start + reach * lane_sqrt(square)) + bends > -error;
        infinite |= ~(square < INFINITY);
        if (any(near)) {
            for (l = 0; l < WIDTH && i + l < count; l++) {
                rows[found] = i + l;
                found += near[l] && varies[i + l];
            }
        }
    }
    return any(infinite) ? -1 : found;
}
