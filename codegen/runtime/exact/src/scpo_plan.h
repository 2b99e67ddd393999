/* The step that a projection starts from: Newton's, as far as the curvature is known. SPDX-License-Identifier: MIT */
#ifndef SCPO_PLAN_H
#define SCPO_PLAN_H

#include "scpo_scaling.h"
#include "scpo_working_set.h"

#ifdef __cplusplus
extern "C" {
#endif

/* out = gradient + sum of multiplier G, with rows in the space of theta, or, where scaled, from scaled ones. */
void scpo_lagrangian(scpo_adapter *adapter, int scaled, scpo_real *out);

/* The gradient is complete: what the last commit did to that of the Lagrangian shows curvature. adapter->row becomes
 * the first pair that is to be completed. */
void scpo_learn(scpo_adapter *adapter);

/* z = the steepest descent in scaled coordinates. */
void scpo_plan(scpo_adapter *adapter);

#ifdef __cplusplus
}
#endif

#endif /* SCPO_PLAN_H */
