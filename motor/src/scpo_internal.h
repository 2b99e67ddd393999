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
#define SCPO_UNDERFLOW DBL_MIN   /* more than underflow adds to a constraint */
#define SCPO_GAP_TOLERANCE 3e-13  /* of the dual function before its last Newton step, relative */
#define SCPO_GAIN_TOLERANCE 1e-11 /* of the objective: what is not worth a step, relative to |u| min(|u|, r) */
#define SCPO_MORE 1e8             /* inertia with which the homotopy begins */
#define SCPO_MARGIN 4             /* first tightening of a constraint, in units of its rounding errors */
#define SCPO_LOSS_TOLERANCE 2.5e-10 /* of the length, what rounding may take from it at once, where u is far away */
#define SCPO_SQRT(x) sqrt(x)
#define SCPO_ABS(x) fabs(x)
#define SCPO_INFINITY ((uint64_t)0x7ff << 52)
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
#define SCPO_ABS(x) fabsf(x)
#define SCPO_INFINITY ((uint32_t)0xff << 23)
typedef uint32_t scpo_bits;
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

/* Puts row `index` of the problem into the working set, at a slot within or just behind it. */
void scpo_dual_add(scpo_workspace *work, int slot, int index);

/* Maximises the dual function over the working set and puts the answer into delta. SCPO_CAPPED if it met its cap
 * first. */
scpo_status scpo_dual_maximise(scpo_workspace *work);

#endif /* SCPO_INTERNAL_H */
