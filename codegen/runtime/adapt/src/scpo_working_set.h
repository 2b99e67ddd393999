/* The working set, as the step of the adaptation uses it. SPDX-License-Identifier: MIT */
#ifndef SCPO_WORKING_SET_H
#define SCPO_WORKING_SET_H

#include "scpo_rollout.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SCPO_SPREAD ((uint32_t)(SCPO_HORIZON + 1) * SCPO_NSIGNALS) /* keys of a rollout */
#define SCPO_ROLLOUT_OF(key) ((int)((key) / SCPO_SPREAD))
#define SCPO_TIME_OF(key) ((int)((key) % SCPO_SPREAD / SCPO_NSIGNALS))
#define SCPO_SIGNAL_OF(key) ((int)((key) % SCPO_NSIGNALS))
#define SCPO_IS_AT_REST(key) (SCPO_NVERTICES && (key) >= SCPO_KEYS) /* whether it is of local stability */

/* What a metric that is no number counts as. */
#if SCPO_REAL_IS_DOUBLE
#define SCPO_LARGEST DBL_MAX
#else
#define SCPO_LARGEST FLT_MAX
#endif

#define SCPO_FIRST_SMOOTHNESS SCPO_R(0.1) /* L of a row that is new */
#define SCPO_LEAST_SMOOTHNESS SCPO_R(1e-6)
#define SCPO_GROWTH SCPO_R(1.2) /* L is at least this times what the last step showed */
#define SCPO_DECAY SCPO_R(0.3)  /* of L at a commit, where that showed less */

enum { SCPO_KNOWN = 1, SCPO_TO_COMPUTE = 2 }; /* of rows that a try broke: adapter->joined */

static inline const scpo_parameters *scpo_active(const scpo_adapter *adapter)
{
    return &adapter->controller->set[adapter->controller->active & 1U];
}

/* What a step begins at. */
static inline const scpo_parameters *scpo_committed(const scpo_adapter *adapter)
{
#if SCPO_AUDIT
    return &adapter->audit.committed;
#else
    return scpo_active(adapter);
#endif
}

static inline scpo_real *scpo_row(scpo_adapter *adapter, int row)
{
    return adapter->G + (long)row * SCPO_SPAN;
}

/* The row of a metric, or count. */
int scpo_place(const scpo_adapter *adapter, uint32_t key);

/* The largest metric of a signal of the rollout at hand, and its time; 0 where it has none. */
int scpo_largest_of(const scpo_trajectory *run, int rollout, int signal, int *when, scpo_real *largest);

/* One piece of a verification of parameters. Returns whether it was the last; a rollout that is lost ends it, with
 * `worst` infinite. Guards come last, and no more of them once something is broken. */
int scpo_verify(scpo_adapter *adapter, const scpo_parameters *with);

/* The working set of the next step: what held the last one back or was broken by a try, then the largest metrics. */
void scpo_choose_rows(scpo_adapter *adapter);

/* Where a try broke metrics: those of the working set get larger smoothness constants, others join it instead of rows
 * that nothing depends on, to be computed. Returns whether anything changed. */
int scpo_take_in_broken(scpo_adapter *adapter);

/* What a step showed of a row's smoothness constant, in the space of theta (E4), beyond rounding: negative where it
 * bends down, and no number where the step was too short, so that it is the first operand of scpo_max. */
scpo_real scpo_shown(scpo_adapter *adapter, int row);

#ifdef __cplusplus
}
#endif

#endif /* SCPO_WORKING_SET_H */
