/* The objective, as the step of the adaptation uses it: the cost of scenarios, which their rollouts give, or the mean
 * squared error over examples of an expert, which has pieces of its own. SPDX-License-Identifier: MIT
 */
#ifndef SCPO_OBJECTIVE_H
#define SCPO_OBJECTIVE_H

#include "scpo_rollout.h"
#include "scpo_working_set.h"

#ifdef __cplusplus
extern "C" {
#endif

#if !SCPO_SAMPLED
/* gradient += what adapter->alpha holds. */
static inline void scpo_add_to_gradient(scpo_adapter *adapter)
{
    int i;
    for (i = 0; i < SCPO_NTHETA; i++) {
        adapter->gradient[i] += adapter->alpha[i];
    }
}
#endif

#if SCPO_IMITATION

/* Of the error of an example in the objective. */
#define SCPO_WEIGHT(adapter) (SCPO_R(1.0) / SCPO_R((adapter)->expert.count))

/* What an export begins with. */
void scpo_objective_begin(scpo_adapter *adapter);

/* Whether there is anything to imitate; what is fresh is taken in. */
int scpo_objective_is_there(scpo_adapter *adapter);

/* Whether fresh examples are worth another step: half of SCPO_FRESH, or any where there are none. */
int scpo_objective_has_news(const scpo_adapter *adapter);

/* A step begins: after one without a commit, or where there is news, fresh examples are taken in. Returns whether the
 * objective has become another one. */
int scpo_objective_renew(scpo_adapter *adapter);

/* One piece of gradient and sum at the active parameters. Returns whether it was the last. */
int scpo_objective_slice(scpo_adapter *adapter);

/* One piece of the sum at others, behind the rollouts of a verification. Returns whether it was the last. */
int scpo_objective_error(scpo_adapter *adapter, const scpo_parameters *with);

#else

#define SCPO_WEIGHT(adapter) (SCPO_R(1.0) / (SCPO_R(SCPO_NSCENARIOS) * SCPO_HORIZON)) /* of a step's cost */

static inline void scpo_objective_begin(scpo_adapter *adapter)
{
    int i;
    for (i = 0; i < SCPO_NREFERENCE; i++) {
        const int entry = i % (SCPO_NX + SCPO_NU);
        adapter->reference[i] = entry < SCPO_NX ? scpo_x_eq[entry] : scpo_u_eq[entry - SCPO_NX];
    }
}

static inline int scpo_objective_is_there(scpo_adapter *adapter)
{
    (void)adapter;
    return 1;
}

static inline int scpo_objective_has_news(const scpo_adapter *adapter)
{
    (void)adapter;
    return 0;
}

static inline int scpo_objective_renew(scpo_adapter *adapter)
{
    (void)adapter;
    return 0;
}

#if !SCPO_SAMPLED
/* gradient += the part of a rollout. */
static inline void scpo_objective_of_rollout(scpo_adapter *adapter)
{
    scpo_cost_row(adapter, scpo_committed(adapter), adapter->rollout, &adapter->work.run, adapter->alpha);
    scpo_add_to_gradient(adapter);
}
#endif

#endif

#ifdef __cplusplus
}
#endif

#endif /* SCPO_OBJECTIVE_H */
