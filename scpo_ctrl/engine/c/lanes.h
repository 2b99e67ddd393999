/* Eight doubles at a time: what C lacks for them. SPDX-License-Identifier: MIT
 *
 * The compiler lowers the vectors to what the machine has. Every operation is an IEEE one of a single lane and nothing is
 * contracted, so that the numbers depend neither on the machine nor on a lane's neighbours; only functions that come
 * from the C library (all but tanh, sin, cos and sqrt) may differ in the last bit between libraries.
 */
#ifndef LANES_H
#define LANES_H

#include <math.h>
#include <stdint.h>

#define WIDTH 8

typedef double lane __attribute__((vector_size(8 * WIDTH)));
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

/* tanh(x) = E / (E + 2), E = exp(2|x|) - 1 = 2^n (exp(r) - 1) + (2^n - 1), with the sign of x: within 3 units in the last
 * place. The polynomial interpolates (exp(r) - 1 - r - r^2/2) / r^3 on |r| <= log(2) / 2; its error is below 3e-18. */
static inline lane lane_tanh(lane x)
{
    const bits sign = (bits)x & ((bits){0} + SIGN_BIT);
    const lane size = lane_abs(x);
    const lane y = 2.0 * choose(size > 22.0, all(22.0), size); /* tanh(22) rounds to 1; NaN stays */
    const lane shifted = y * 0x1.71547652b82fep+0 + ROUNDING;
    const lane n = shifted - ROUNDING;
    const lane r = (y - n * 0x1.62e42feep-1) - n * 0x1.a39ef35793c76p-33;
    const lane power = (lane)(((bits)shifted << 52) + (bits)all(1.0));
    const lane square = r * r;
    const lane fourth = square * square; /* the polynomial in pairs: its terms need not wait for each other */
    const lane q0 = r * 0x1.5555555555555p-5 + 0x1.5555555555556p-3;
    const lane q2 = r * 0x1.6c16c16c167e1p-10 + 0x1.11111111109b3p-7;
    const lane q4 = r * 0x1.a01a01a47b054p-16 + 0x1.a01a01a7c41d5p-13;
    const lane q6 = r * 0x1.27e4e1f48534fp-22 + 0x1.71de0dae63bb3p-19;
    const lane q8 = r * 0x1.1f66df7fca49fp-29 + 0x1.af38a9b0ec855p-26;
    const lane q = (q0 + square * q2) + fourth * ((q4 + square * q6) + fourth * q8);
    const lane E = power * (r + square * (0.5 + r * q)) + (power - 1.0);
    return (lane)((bits)(E / (E + 2.0)) | sign);
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
