/* The policy as its files share it. SPDX-License-Identifier: MIT */
#ifndef SCPO_POLICY_H
#define SCPO_POLICY_H

#include "scpo_data.h"
#include "scpo_internal.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The width of what feeds the output layer. */
#define SCPO_LAST (SCPO_NLAYERS > 1 ? scpo_widths[SCPO_NLAYERS - 1] : SCPO_NX)

/* The hidden layers, one behind the other, of the network at y = z / scale; at the equilibrium where y is NULL. */
void scpo_activations(const scpo_real *theta, const scpo_real *y /* [SCPO_NX] */, scpo_real *a /* [SCPO_HIDDEN + 1] */);

/* command = u_eq - K z + residual(z; theta), before saturation. a [SCPO_HIDDEN + 1] receives the hidden layers. */
void scpo_command(const scpo_real *theta, const scpo_real *at_zero, const scpo_real *x, scpo_real *a,
                  scpo_real *command);

/* The command within its bounds; where it is NaN, the equilibrium input within its bounds. */
scpo_real scpo_saturate(int i, scpo_real command);

#ifdef __cplusplus
}
#endif

#endif /* SCPO_POLICY_H */
