/* The generated data of the policy in integers, defined in scpo_fixed_data.c. SPDX-License-Identifier: MIT */
#ifndef SCPO_FIXED_DATA_H
#define SCPO_FIXED_DATA_H

#include "scpo_data.h"
#include "scpo_fixed.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SCPO_FIXED_ONE ((int32_t)1 << 30) /* of activations, and of states in parts of their reach */
#define SCPO_FIXED_ARGUMENT 27            /* bits behind the point of what tanh takes */
#define SCPO_FIXED_TABLE 321              /* up to where tanh is flat, at 10 */
#define SCPO_FIXED_LAST (SCPO_NLAYERS > 1 ? scpo_widths[SCPO_NLAYERS - 1] : SCPO_NX) /* width before the output */

extern const int32_t scpo_fixed_low[SCPO_NX];   /* range of counts */
extern const int32_t scpo_fixed_high[SCPO_NX];
extern const int32_t scpo_fixed_shift[SCPO_NX]; /* counts are multiplied by 2^this */
extern const int32_t scpo_fixed_zero[SCPO_NX];  /* equilibrium, multiplied so */
extern const int32_t scpo_fixed_least[SCPO_NU]; /* bounds of the input in counts */
extern const int32_t scpo_fixed_most[SCPO_NU];
extern const int32_t scpo_fixed_tanh_table[SCPO_FIXED_TABLE]; /* tanh(k / 32) in 2^-30 */

extern const double scpo_fixed_reach[SCPO_NX];  /* what 2^30 of a state is, in units of its scale */
extern const double scpo_fixed_gain[SCPO_NU][SCPO_NX]; /* backup: counts of the input per 2^30 of a state */
extern const double scpo_fixed_size[SCPO_NU];   /* counts of the input per unit of what the network gives */
extern const double scpo_fixed_rest[SCPO_NU];   /* counts of the input at the equilibrium */
extern const double scpo_fixed_x_step[SCPO_NX]; /* of a count */
extern const double scpo_fixed_x_zero[SCPO_NX]; /* state at count 0 */

/* The hidden layers, one behind the other, at y; at the equilibrium where y is NULL. */
void scpo_fixed_activations(const scpo_fixed_parameters *parameters, const int32_t *y /* [SCPO_NX] */,
                            int32_t *a /* [SCPO_HIDDEN + 1] */);

#ifdef __cplusplus
}
#endif

#endif /* SCPO_FIXED_DATA_H */
