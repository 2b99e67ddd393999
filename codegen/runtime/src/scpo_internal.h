/* What the files of the scpo runtime share and its users do not need. SPDX-License-Identifier: MIT */
#ifndef SCPO_INTERNAL_H
#define SCPO_INTERNAL_H

#include <float.h>
#include <math.h>

#include "scpo.h"

#define SCPO_R(x) ((scpo_real)(x))

static inline scpo_real scpo_max(scpo_real a, scpo_real b)
{
    return a > b ? a : b;
}

#define SCPO_MAX_NEWTON 300 /* steps in all rounds together */

#if SCPO_REAL_IS_DOUBLE
#define SCPO_EPS DBL_EPSILON
#define SCPO_LEAST 1e-280        /* a shorter step is none; parts of longer ones are normal numbers where it matters */
#define SCPO_UNDERFLOW DBL_MIN   /* more than underflow adds to a constraint */
#define SCPO_GAP_TOLERANCE 3e-13  /* of the dual function before its last Newton step, relative */
#define SCPO_LOSS_TOLERANCE 1e-7  /* what the repair may take from the length of a step called optimal */
#define SCPO_SQRT(x) sqrt(x)
#define SCPO_ABS(x) fabs(x)
#else
#define SCPO_EPS FLT_EPSILON
#define SCPO_LEAST 1e-22f
#define SCPO_UNDERFLOW FLT_MIN
#define SCPO_GAP_TOLERANCE 1e-5f
#define SCPO_LOSS_TOLERANCE 1e-3f
#define SCPO_SQRT(x) sqrtf(x)
#define SCPO_ABS(x) fabsf(x)
#endif

scpo_real scpo_dot(int dim, const scpo_real *x, const scpo_real *y);
scpo_real scpo_largest(int dim, const scpo_real *x); /* the largest absolute value */

/* Makes the radius the only constraint of the working set, at its optimal multiplier. */
void scpo_dual_add_radius(scpo_workspace *work);

/* Puts row `index` of the problem into the working set, at a slot within or just behind it. */
void scpo_dual_add(scpo_workspace *work, int slot, int index);

/* Maximises the dual function over the working set and puts the answer into delta; 0 if it met its cap first. */
int scpo_dual_maximise(scpo_workspace *work);

#endif /* SCPO_INTERNAL_H */
