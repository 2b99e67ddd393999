/* Several doubles at a time: what C lacks for them. SPDX-License-Identifier: MIT
 *
 * As many as a register of the machine holds: compilers handle these better than vectors that they have to lower. Every
 * operation is an IEEE one of a single lane and nothing is contracted, so that the numbers depend neither on the
 * machine nor on a lane's neighbours; only functions that come from the C library (all but tanh, sin, cos and sqrt) may
 * differ in the last bit between libraries.
 */
#ifndef LANES_H
#define LANES_H

#include <math.h>
#include <stdint.h>

#ifdef WIDTH /* a file asks for an order of its sums */
#elif defined(__AVX512F__)
#define WIDTH 8
#elif defined(__AVX2__)
#define WIDTH 4
#else
#define WIDTH 2
#endif

/* Loops over so few lanes that they stay in registers: their counts are constants where they are inlined. */
#define INLINED static inline __attribute__((always_inline))
#define UNROLLED _Pragma("GCC unroll 16")

typedef double lane __attribute__((vector_size(8 * WIDTH)));
typedef lane unaligned_lane __attribute__((aligned(8), may_alias));
typedef int64_t mask __attribute__((vector_size(8 * WIDTH))); /* all bits or none, as comparisons give */

typedef uint64_t bits __attribute__((vector_size(8 * WIDTH)));

#define SIGN_BIT ((uint64_t)1 << 63)

static inline lane all(double value)
{
    return value - (lane){0};
}

static inline lane choose(mask which, lane yes, lane no)
{
    return (lane)(((mask)yes & which) | ((mask)no & ~which));
}

static inline lane lane_abs(lane x)
{
    return (lane)((bits)x & ~((bits){0} + SIGN_BIT));
}

/* Integers n of t = n + 1.5 * 2^52, as they stand in the low bits of t. */
#define ROUNDING 0x1.8p52

/* tanh(x) = E / (E + 2), E = exp(2|x|) - 1 = 2^n (exp(r) - 1) + (2^n - 1), with the sign of x: within 3 units in the
 * last place. The polynomial interpolates (exp(r) - 1 - r - r^2/2) / r^3 on |r| <= log(2) / 2; its error is below 3e-18. An
 * operation waits for the one before, so several lanes go through them side by side. */
#define TOGETHER 6

INLINED void tanh_together(int count, lane *x)
{
    lane y[TOGETHER], shifted[TOGETHER], r[TOGETHER], square[TOGETHER], fourth[TOGETHER], q[TOGETHER];
    int k;
    UNROLLED for (k = 0; k < count; k++) {
        const lane size = lane_abs(x[k]);
        y[k] = 2.0 * choose(size > 22.0, all(22.0), size); /* tanh(22) rounds to 1; NaN stays */
        shifted[k] = y[k] * 0x1.71547652b82fep+0 + ROUNDING;
    }
    UNROLLED for (k = 0; k < count; k++) {
        const lane n = shifted[k] - ROUNDING;
        r[k] = (y[k] - n * 0x1.62e42feep-1) - n * 0x1.a39ef35793c76p-33;
        square[k] = r[k] * r[k];
        fourth[k] = square[k] * square[k]; /* the polynomial in pairs: its terms need not wait for each other */
    }
    UNROLLED for (k = 0; k < count; k++) {
        const lane q4 = r[k] * 0x1.a01a01a47b054p-16 + 0x1.a01a01a7c41d5p-13;
        const lane q6 = r[k] * 0x1.27e4e1f48534fp-22 + 0x1.71de0dae63bb3p-19;
        const lane q8 = r[k] * 0x1.1f66df7fca49fp-29 + 0x1.af38a9b0ec855p-26;
        q[k] = (q4 + square[k] * q6) + fourth[k] * q8;
    }
    UNROLLED for (k = 0; k < count; k++) {
        const lane q0 = r[k] * 0x1.5555555555555p-5 + 0x1.5555555555556p-3;
        const lane q2 = r[k] * 0x1.6c16c16c167e1p-10 + 0x1.11111111109b3p-7;
        q[k] = (q0 + square[k] * q2) + fourth[k] * q[k];
    }
    UNROLLED for (k = 0; k < count; k++) {
        const lane power = (lane)(((bits)shifted[k] << 52) + (bits)all(1.0));
        const lane E = power * (r[k] + square[k] * (0.5 + r[k] * q[k])) + (power - 1.0);
        x[k] = (lane)((bits)(E / (E + 2.0)) | ((bits)x[k] & ((bits){0} + SIGN_BIT)));
    }
}

static inline lane lane_tanh(lane x)
{
    tanh_together(1, &x);
    return x;
}

static inline void tanh_all(int count, lane *x)
{
    int i = 0;
    for (; i + TOGETHER <= count; i += TOGETHER) {
        tanh_together(TOGETHER, x + i);
    }
    for (; i < count; i++) {
        tanh_together(1, x + i);
    }
}

/* Functions of the C library, lane by lane. */
#define LANE_WISE(NAME, FUNCTION)                 \
    static inline lane NAME(lane x)               \
    {                                             \
        int l;                                    \
        for (l = 0; l < WIDTH; l++) {             \
            x[l] = FUNCTION(x[l]);                \
        }                                         \
        return x;                                 \
    }
#define LANE_WISE_2(NAME, FUNCTION)               \
    static inline lane NAME(lane x, lane y)       \
    {                                             \
        int l;                                    \
        for (l = 0; l < WIDTH; l++) {             \
            x[l] = FUNCTION(x[l], y[l]);          \
        }                                         \
        return x;                                 \
    }
LANE_WISE(lane_sqrt, sqrt)
LANE_WISE(lane_exp, exp)
LANE_WISE(lane_expm1, expm1)
LANE_WISE(lane_log, log)
LANE_WISE(lane_log1p, log1p)
LANE_WISE(lane_tan, tan)
LANE_WISE(lane_asin, asin)
LANE_WISE(lane_acos, acos)
LANE_WISE(lane_atan, atan)
LANE_WISE(lane_sinh, sinh)
LANE_WISE(lane_cosh, cosh)
LANE_WISE(lane_asinh, asinh)
LANE_WISE(lane_acosh, acosh)
LANE_WISE(lane_atanh, atanh)
LANE_WISE(lane_erf, erf)
LANE_WISE(lane_floor, floor)
LANE_WISE(lane_ceil, ceil)
LANE_WISE_2(lane_pow, pow)
LANE_WISE_2(lane_atan2, atan2)
LANE_WISE_2(lane_fmod, fmod)
LANE_WISE_2(lane_hypot, hypot)
LANE_WISE_2(lane_copysign, copysign)

/* Unlike the C library's, these hand NaN on: a rollout that is lost must not look safe. */
static inline lane lane_min(lane x, lane y)
{
    return choose((x < y) | (x != x), x, y);
}

static inline lane lane_max(lane x, lane y)
{
    return choose((x > y) | (x != x), x, y);
}

static inline lane lane_sign(lane x)
{
    return choose(x > 0.0, all(1.0), choose(x < 0.0, all(-1.0), x));
}

/* sin(x + quarter * pi/2), quarter = 0 or 1. The argument is reduced to |r| <= pi/4 by three parts of pi/2; beyond 2^20
 * the C library answers. Errors of the polynomials are below 2e-17. */
static inline lane lane_sine(lane x, int quarter)
{
    const lane shifted = x * 0x1.45f306dc9c883p-1 + ROUNDING;
    const lane n = shifted - ROUNDING;
    const lane r = ((x - n * 0x1.921fb544p+0) - n * 0x1.0b4611a6p-34) - n * 0x1.3198a2e037073p-69;
    const bits turn = (bits)shifted + (uint64_t)quarter;
    const bits sign = (turn & 2) << 62;
    const mask odd = (mask)((bits){0} - (turn & 1));
    const mask far = ~(mask)(lane_abs(x) < 0x1p20);
    const lane s = r * r;
    lane sine = s * 0x1.5e0af186af739p-33 - 0x1.ae600a926c89ap-26;
    lane cosine = s * -0x1.907d7aebd5e3dp-37 + 0x1.1eeb68b109173p-29;
    lane result;
    int l, lost = 0;
    sine = sine * s + 0x1.71de37961e4c6p-19;
    sine = sine * s - 0x1.a01a019e8357dp-13;
    sine = sine * s + 0x1.1111111110bb1p-7;
    sine = sine * s - 0x1.5555555555555p-3;
    sine = r + r * (s * sine);
    cosine = cosine * s - 0x1.27e4fa17a41b4p-22;
    cosine = cosine * s + 0x1.a01a019f4e867p-16;
    cosine = cosine * s - 0x1.6c16c16c16966p-10;
    cosine = cosine * s + 0x1.5555555555555p-5;
    cosine = 1.0 - (0.5 * s - s * s * cosine);
    result = (lane)((bits)choose(odd, cosine, sine) ^ sign);
    for (l = 0; l < WIDTH; l++) {
        lost |= (int)far[l];
    }
    if (lost) {
        for (l = 0; l < WIDTH; l++) {
            result[l] = far[l] ? (quarter ? cos(x[l]) : sin(x[l])) : result[l];
        }
    }
    return result;
}

static inline lane lane_sin(lane x)
{
    return lane_sine(x, 0);
}

static inline lane lane_cos(lane x)
{
    return lane_sine(x, 1);
}

#endif /* LANES_H */
