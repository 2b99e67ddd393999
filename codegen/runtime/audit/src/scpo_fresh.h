/* Points of the set that the scenarios are points of, as an audit draws them. SPDX-License-Identifier: MIT */
#ifndef SCPO_FRESH_H
#define SCPO_FRESH_H

#include "scpo_adapt.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Point `number` of an endless sequence: the initial state and the plant parameters, these in parts of their ranges.
 * Even numbers are uniform in the set, odd ones are on its edges. */
void scpo_fresh_point(const scpo_adapter *adapter, uint32_t number, scpo_real *x, scpo_real *p);

/* next += its disturbance at time t. */
void scpo_fresh_disturb(const scpo_adapter *adapter, uint32_t number, int t, scpo_real *next);

#ifdef __cplusplus
}
#endif

#endif /* SCPO_FRESH_H */
