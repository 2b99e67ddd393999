/* Points of the set that the scenarios are points of, as an audit draws them. SPDX-License-Identifier: MIT */
#ifndef SCPO_FRESH_H
#define SCPO_FRESH_H

#include "scpo_adapt.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Begins the rollout of a guard, or, SCPO_NALL, of an audit: number, initial state, plant parameters within the declared
 * ranges, and limit. Even points of the endless sequence are uniform in the set, odd ones are on its edges. */
void scpo_begin_fresh(const scpo_adapter *adapter, int rollout, scpo_trajectory *run);

/* next += its disturbance at time t. */
void scpo_fresh_disturb(const scpo_adapter *adapter, uint32_t number, int t, scpo_real *next);

#ifdef __cplusplus
}
#endif

#endif /* SCPO_FRESH_H */
