/* The generated data of the policy, defined in scpo_data.c. SPDX-License-Identifier: MIT */
#ifndef SCPO_DATA_H
#define SCPO_DATA_H

#include "scpo.h"

#ifdef __cplusplus
extern "C" {
#endif

extern const scpo_real scpo_K[SCPO_NU][SCPO_NX];   /* backup gain */
extern const scpo_real scpo_x_eq[SCPO_NX];         /* equilibrium */
extern const scpo_real scpo_u_eq[SCPO_NU];
extern const scpo_real scpo_u_min[SCPO_NU];        /* bounds of the input */
extern const scpo_real scpo_u_max[SCPO_NU];
extern const scpo_real scpo_scale[SCPO_NX];        /* divides x - x_eq before the network */
extern const scpo_real scpo_input_scale[SCPO_NU];  /* multiplies what the network gives */
extern const int scpo_widths[SCPO_NLAYERS + 1];    /* from the state to the input */

#ifdef __cplusplus
}
#endif

#endif /* SCPO_DATA_H */
