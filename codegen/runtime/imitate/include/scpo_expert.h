/* scpo-ctrl runtime: what an expert does, as examples of states and commands, in a ring.
 *
 * The objective is the mean squared error of the command, before saturation, over the last SCPO_EXAMPLES examples that
 * were taken in. They are taken in between steps, so that a step sees the same ones from its beginning to its end.
 * SPDX-License-Identifier: MIT
 */
#ifndef SCPO_EXPERT_H
#define SCPO_EXPERT_H

#include "scpo.h"
#include "scpo_adapt_config.h" /* generated: sizes */

#include <stdint.h>

#if SCPO_EXAMPLES < 1 || SCPO_FRESH < 1
#error "SCPO_EXAMPLES and SCPO_FRESH are 1 or more"
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define SCPO_EXPERT_PLACES (SCPO_EXAMPLES + SCPO_FRESH + 1) /* of the ring: one stays empty */

typedef struct {
    scpo_real x[SCPO_EXPERT_PLACES][SCPO_NX];
    scpo_real u[SCPO_EXPERT_PLACES][SCPO_NU];
    volatile int written;   /* place of the next example; of the one that observes */
    volatile int first;     /* place of the oldest in the objective; of the adaptation, as are count and next */
    int count;              /* examples in the objective; those behind them are fresh */
    int next;               /* example that the present pass over them has come to */
    volatile uint32_t lost; /* examples that found the ring full */
} scpo_expert;

#ifdef __cplusplus
}
#endif

#endif /* SCPO_EXPERT_H */
