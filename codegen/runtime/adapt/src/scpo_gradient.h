/* What a step is planned from, exact or sampled: one of scpo_exact.c and scpo_sampled.c is compiled.
 * SPDX-License-Identifier: MIT
 */
#ifndef SCPO_GRADIENT_H
#define SCPO_GRADIENT_H

#include "scpo_objective.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SCPO_LONGEST 10 /* step before its projection, in radii */

/* Begins the gradients of a step: of the objective, and of the working set's metrics with their values. */
void scpo_gradient_begin(scpo_adapter *adapter);

/* Begins those of metrics that a try broke and that are to be computed. */
void scpo_join_begin(scpo_adapter *adapter);

/* One piece. Returns whether it was the last: then z, radius and rows are there, in scaled coordinates. */
int scpo_gradient_poll(scpo_adapter *adapter);

/* vector [SCPO_SPAN] <- S' vector, with S from scaled coordinates to those in which gradients are taken. */
void scpo_scaling_transposed(const scpo_adapter *adapter, scpo_real *vector);

/* step = alpha in the space of theta. Returns the fall of the objective there, to first order. */
scpo_real scpo_unscale(scpo_adapter *adapter);

#if SCPO_SAMPLED
/* e of (E4) for a row. */
scpo_real scpo_gradient_error(const scpo_adapter *adapter, int row);

/* Nothing of a step outlives its span. */
#define scpo_remember(adapter) ((void)(adapter))
#define scpo_forget_curvature(adapter) ((void)(adapter))
#else
#define scpo_gradient_error(adapter, row) SCPO_R(0.0)

/* What is to be known of the step that is committed. */
void scpo_remember(scpo_adapter *adapter);

/* Curvature is learnt anew. */
#define scpo_forget_curvature(adapter) ((adapter)->pairs = 0)
#endif

/* z, no longer than SCPO_LONGEST radii. */
void scpo_limit(scpo_adapter *adapter);

#ifdef __cplusplus
}
#endif

#endif /* SCPO_GRADIENT_H */
