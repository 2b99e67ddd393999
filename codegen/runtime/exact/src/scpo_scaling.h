/* The scaling in which steps are measured: S S' is the inverse of the BFGS matrix. SPDX-License-Identifier: MIT */
#ifndef SCPO_SCALING_H
#define SCPO_SCALING_H

#include "scpo_gradient.h"

#ifdef __cplusplus
extern "C" {
#endif

void scpo_scaling(const scpo_adapter *adapter, scpo_real *vector); /* <- S vector */

/* The same of the inverse, with the first `pairs` pairs. */
void scpo_inverse_scaling(const scpo_adapter *adapter, int pairs, scpo_real *vector);
void scpo_inverse_transposed(const scpo_adapter *adapter, int pairs, scpo_real *vector);

/* Takes in the change adapter->step and what it did to the gradient of the Lagrangian, y, which it may move to keep the
 * matrix positive definite (Powell's damping). Returns whether it did; then every pair is to be completed, from the
 * oldest on. scratch [SCPO_NTHETA] is overwritten. */
int scpo_learn_curvature(scpo_adapter *adapter, scpo_real *y, scpo_real *scratch);

/* w of pair k, from those before it. Bs [SCPO_NTHETA] is overwritten. */
void scpo_complete_pair(scpo_adapter *adapter, int k, scpo_real *Bs);

#ifdef __cplusplus
}
#endif

#endif /* SCPO_SCALING_H */
