/* What the files of the scpo runtime share and its users do not need. SPDX-License-Identifier: MIT */
#ifndef SCPO_INTERNAL_H
#define SCPO_INTERNAL_H

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "scpo.h"

#define SCPO_R(x) ((scpo_real)(x))

static inline scpo_real scpo_max(scpo_real a, scpo_real b)
{
    return a > b ? a : b;
}

#define SCPO_MAX_NEWTON 400 /* Newton steps, and rounds of the working set, together */
#ifndef SCPO_BUDGET
#define SCPO_BUDGET(count) SCPO_MAX_NEWTON /* of a problem with so many constraints */
#endif

#if SCPO_REAL_IS_DOUBLE
#define SCPO_EPS DBL_EPSILON
#define SCPO_LEAST 1e-280        /* a shorter step is none; parts of longer ones are normal numbers where it matters */
#define SCPO_UNDERFLOW DBL_MIN   /* more than underflow takes from a sum or a product, flushed to zero or not */
#define SCPO_GAP_TOLERANCE 3e-13  /* of the dual function before its last Newton step, relative */
#define SCPO_GAIN_TOLERANCE 1e-11 /* of the objective: what is not worth a step, relative to |u| min(|u|, r) */
#define SCPO_MORE 1e8             /* inertia with which the homotopy begins */
#define SCPO_MARGIN 4             /* first tightening of a constraint, in units of its rounding errors */
#define SCPO_LOSS_TOLERANCE 2.5e-10 /* of the length, what rounding may take from it at once, where u is far away */
#define SCPO_SQRT(x) sqrt(x)
#define SCPO_LOG(x) log(x)
#define SCPO_ABS(x) fabs(x)
#define SCPO_INFINITY ((uint64_t)0x7ff << 52)
#define SCPO_LEAST_BITS ((uint64_t)1 << 52) /* bits of the least normal number */
typedef uint64_t scpo_bits;
#else
#define SCPO_EPS FLT_EPSILON
#define SCPO_LEAST 1e-22f
#define SCPO_UNDERFLOW FLT_MIN
#define SCPO_GAP_TOLERANCE 1e-5f
#define SCPO_GAIN_TOLERANCE 1e-6f
#define SCPO_MORE 1e5f
#define SCPO_MARGIN 1 /* no more, as it costs most of the gap */
#define SCPO_LOSS_TOLERANCE 2.5e-4f
#define SCPO_SQRT(x) sqrtf(x)
#define SCPO_LOG(x) logf(x)
#define SCPO_ABS(x) fabsf(x)
#define SCPO_INFINITY ((uint32_t)0xff << 23)
#define SCPO_LEAST_BITS ((uint32_t)1 << 23)
typedef uint32_t scpo_bits;
#endif

/* Sums are taken in fours, one by one within them, what is over first; unrolled or not they have the same bits. */
#ifdef __OPTIMIZE_SIZE__
#define SCPO_IN_LOOP(dim) ((dim) > 0)
#else
#define SCPO_IN_LOOP(dim) (((dim) & 3) != 0)
#endif

#ifndef SCPO_CHANGES
#define SCPO_CHANGES (6 * SCPO_SLOTS) /* of the basis of a Newton step in a piece, at most; fewer make pieces shorter */
#endif
#ifndef SCPO_JOINING
#define SCPO_JOINING SCPO_SLOTS /* constraints that join in a sweep, at most; fewer make pieces shorter */
#endif
#ifndef SCPO_PLACES
#define SCPO_PLACES(dim) SCPO_SLOTS /* how many of the slots a problem of this dimension uses */
#endif

/* Two triangles share a rectangle. Its row k begins with row k of the lower Cholesky factor, k + 1 entries; behind them
 * come entries k, k + 1, ... of row k of the Gram matrix, so that entry i is SCPO_GRAM(work, k)[i]. */
#define SCPO_STRIDE (SCPO_SLOTS + 1)
#define SCPO_FACTOR(work, k) ((work)->triangles + (k) * SCPO_STRIDE)
#define SCPO_GRAM(work, k) (SCPO_FACTOR(work, k) + 1)

scpo_real scpo_dot(int dim, const scpo_real *x, const scpo_real *y);

/* y -= weight x */
void scpo_subtract(int dim, scpo_real weight, const scpo_real *x, scpo_real *y);

/* y = weight x */
void scpo_multiply(int dim, scpo_real weight, const scpo_real *x, scpo_real *y);

/* The largest absolute value, if more than `largest`, as its bits. Their order is the same, and no compiler option can
 * talk them out of seeing NaN or infinity: then they are SCPO_INFINITY or more. */
scpo_bits scpo_largest(long count, const scpo_real *x, scpo_bits largest);

#define SCPO_SIGN ((scpo_bits)-1 / 2 + 1) /* the bit of the sign */

/* The bits of a number. */
static inline scpo_bits scpo_raw(const scpo_real *x)
{
    scpo_bits bits;
    memcpy(&bits, x, sizeof bits);
    return bits;
}

/* The number that has these bits. */
static inline scpo_real scpo_value(scpo_bits bits)
{
    scpo_real value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Everything written before is written before what follows, for an interrupt and for the compiler. */
#ifndef SCPO_BARRIER
#if defined(__GNUC__)
#define SCPO_BARRIER() __asm__ volatile("" ::: "memory")
#else
#define SCPO_BARRIER() ((void)0) /* the active set is volatile; define this where the compiler reorders around it */
#endif
#endif

/* tanh. In float a rational function, exact to 4e-7 as evaluated, beyond 8.2 to 1.6e-7: fitted for the least relative
 * error, it costs a third of the C library's and gives the same bits with each. */
static inline scpo_real scpo_tanh(scpo_real x)
{
#if SCPO_REAL_IS_DOUBLE
    return tanh(x);
#else
    const scpo_real y = x > SCPO_R(8.2) ? SCPO_R(8.2) : (x < SCPO_R(-8.2) ? SCPO_R(-8.2) : x);
    const scpo_real t = y * y;
    scpo_real p = SCPO_R(-1.0875283e-13);
    scpo_real q = SCPO_R(2.6000917e-4);
    p = p * t + SCPO_R(6.1358092e-11);
    p = p * t + SCPO_R(-2.1894108e-8);
    p = p * t + SCPO_R(1.15473861e-5);
    p = p * t + SCPO_R(3.14066662e-3);
    p = p * t + SCPO_R(0.131166576);
    p = p * t + SCPO_R(0.9999999976);
    q = q * t + SCPO_R(2.46406686e-2);
    q = q * t + SCPO_R(0.464499885);
    q = q * t + SCPO_R(1.0);
    return y * p / q;
#endif
}

/* x'y, term by term: the same bits whatever the compiler optimises for. */
static inline scpo_real scpo_inner(int dim, const scpo_real *x, const scpo_real *y)
{
    scpo_real sum = 0;
    while (dim-- > 0) {
        sum += *x++ * *y++;
    }
    return sum;
}

/* Puts row `index` of the problem into the working set, at a slot within or just behind it. */
void scpo_dual_add(scpo_workspace *work, int slot, int index);

/* Begins to maximise the dual function over the working set. */
void scpo_dual_begin(scpo_workspace *work);

/* Goes on by a Newton step. At the end the answer is in delta, and SCPO_CAPPED says that a cap was met first. */
scpo_status scpo_dual_poll(scpo_workspace *work);

/* Begins to look for step = argmax slope's - s'Hs/2 subject to lambda + s >= 0, by Lawson and Hanson's method, from the
 * basis of all present multipliers. */
void scpo_step_begin(scpo_workspace *work);

/* Goes on by at most SCPO_CHANGES of the basis. Returns whether the step is found. */
int scpo_step_poll(scpo_workspace *work);

#endif /* SCPO_INTERNAL_H */
