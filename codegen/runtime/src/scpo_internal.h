/* What the files of the scpo runtime share and its users do not need. SPDX-License-Identifier: MIT */
#ifndef SCPO_INTERNAL_H
#define SCPO_INTERNAL_H

#include <float.h>
#include <math.h>

#include "scpo.h"

#define SCPO_R(x) ((scpo_real)(x))

#if SCPO_REAL_IS_DOUBLE
#define SCPO_EPS DBL_EPSILON
#define SCPO_LARGEST_RADIUS 1e150 /* its square is still a number */
#define SCPO_GAP_TOLERANCE 1e-10  /* of the dual function before its last Newton step, relative */
#define SCPO_LOSS_TOLERANCE 1e-7  /* what the repair may take from the length of a step called optimal */
#define SCPO_SQRT(x) sqrt(x)
#define SCPO_ABS(x) fabs(x)
#else
#define SCPO_EPS FLT_EPSILON
#define SCPO_LARGEST_RADIUS 1e18f
#define SCPO_GAP_TOLERANCE 1e-5f
#define SCPO_LOSS_TOLERANCE 1e-3f
#define SCPO_SQRT(x) sqrtf(x)
#define SCPO_ABS(x) fabsf(x)
#endif

/* The scaled problem on a working set of constraints and the present point of its dual.
 *
 * In units of `length`, with u/|u| = unit, (E5) reads: minimise inertia |a|^2 - 2 unit'a over the rows of the
 * workspace, the radius among them as -1/2 + |a|^2/2 <= 0 where it matters. Its Lagrangian for multipliers lambda >= 0
 * has the minimiser a = t v,
 *     w = 2 unit - G'lambda,  n = |w|,  v = w/n,  t = max(0, n - lambda'e) / (2 inertia + lambda'L).
 */
typedef struct {
    const scpo_projection *problem;
    scpo_workspace *work;
    int size;            /* constraints in the working set */
    int budget;          /* Newton steps left */
    scpo_real radius;    /* r */
    scpo_real margin;    /* relative, by which the working set is tightened to leave room for rounding */
    scpo_real length;    /* min(|u|, r): no answer is longer */
    scpo_real inertia;   /* length / |u| */
    scpo_real t;         /* see above */
    scpo_real excess;    /* of t over its minimiser, 0 at a point of the dual function */
    scpo_real value;     /* the dual function, <= 0 */
    scpo_real across;    /* dual Hessian = across (G G' - p p') + along q q' */
    scpo_real along;
} scpo_dual;

/* Relative bound on what rounding may do to a constraint of so many terms, twice over: here and in another order. */
scpo_real scpo_rounding(int dim);

scpo_real scpo_dot(int dim, const scpo_real *x, const scpo_real *y);
scpo_real scpo_norm(int dim, const scpo_real *x);

/* Makes the radius the only constraint of the working set, at its optimal multiplier. */
void scpo_dual_add_radius(scpo_dual *dual);

/* Puts row `index` of the problem into the working set, at a slot within or just behind it. */
void scpo_dual_add(scpo_dual *dual, int slot, int index);

/* Maximises the dual function over the working set and puts the answer into delta; 0 if it met its cap first. */
int scpo_dual_maximise(scpo_dual *dual, scpo_real *delta);

#endif /* SCPO_INTERNAL_H */
