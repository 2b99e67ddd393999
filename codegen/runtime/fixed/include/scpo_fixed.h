/* The same policy in integers, for processors without a floating-point unit: states and inputs are what converters and
 * timers count, x_i = SCPO_FIXED_X_ZERO + SCPO_FIXED_X_STEP * count, and the other way round for inputs.
 *
 * Sums of products of 32 bits are exact in 64; nothing overflows, whatever the counts are. The same bits with every
 * compiler. SPDX-License-Identifier: MIT
 */
#ifndef SCPO_FIXED_H
#define SCPO_FIXED_H

#include <stdint.h>

#include "scpo.h"
#include "scpo_fixed_config.h" /* generated: counts, sizes, and how far the inputs are off */

#ifdef __cplusplus
extern "C" {
#endif

/* Parameters as integers: for each unit and each input a row of weights with its bias behind it, in 2^-e, where sums of
 * their products in 2^-(e + 30) are shifted by `shift` to be in 2^-27 before tanh, or counts. */
typedef struct {
    int32_t weights[SCPO_FIXED_WEIGHTS];
    unsigned char shift[SCPO_HIDDEN + SCPO_NU];
    int32_t at_zero[SCPO_HIDDEN + 1]; /* the hidden layers at the equilibrium, in 2^-30 */
} scpo_fixed_parameters;

/* Two sets, of which one is active: the rules of a scpo_controller hold. */
typedef struct {
    scpo_fixed_parameters set[2];
    volatile unsigned char active; /* 0 or 1; always written last */
} scpo_fixed;

/* scpo_theta_initial as integers, computed at export: who needs no other parameters links no floating point. */
extern const scpo_fixed_parameters scpo_fixed_initial;

/* The inputs at a state, within their bounds. States beyond the range [SCPO_FIXED_X_LOW, SCPO_FIXED_X_HIGH] count as
 * its ends. Off by at most SCPO_FIXED_ERROR from scpo_control in exact arithmetic, where the parameters are
 * scpo_fixed_initial. */
void scpo_fixed_command(const scpo_fixed_parameters *parameters, const int32_t *x /* [SCPO_NX] */,
                        int32_t *u /* [SCPO_NU] */);

/* The same with the active parameters. */
void scpo_fixed_control(const scpo_fixed *controller, const int32_t *x /* [SCPO_NX] */, int32_t *u /* [SCPO_NU] */);

/* Makes theta the active parameters. SCPO_BAD_THETA where it is not finite or too large: then the backup's are. */
scpo_status scpo_fixed_begin(scpo_fixed *controller, const scpo_real *theta /* [SCPO_NTHETA] */);

/* Makes theta the active parameters while inputs are asked for by an interrupt, such as after a commit of the
 * adaptation. SCPO_BAD_THETA where it is not finite or too large: then nothing changes. */
scpo_status scpo_fixed_commit(scpo_fixed *controller, const scpo_real *theta /* [SCPO_NTHETA] */);

/* Parameters as integers. SCPO_BAD_THETA where theta is not finite or too large: then they are not to be used. */
scpo_status scpo_fixed_prepare(scpo_fixed_parameters *parameters, const scpo_real *theta /* [SCPO_NTHETA] */);

/* The counts nearest to a state. SCPO_BAD_STATE where it is not finite: then they are the equilibrium's. */
scpo_status scpo_fixed_counts(const scpo_real *x /* [SCPO_NX] */, int32_t *counts /* [SCPO_NX] */);

#ifdef __cplusplus
}
#endif

#endif /* SCPO_FIXED_H */
