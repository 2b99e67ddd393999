/* Rollouts of the model with a policy, their metrics, and derivatives of both by theta. SPDX-License-Identifier: MIT */
#ifndef SCPO_ROLLOUT_H
#define SCPO_ROLLOUT_H

#include "scpo_adapt.h"
#include "scpo_model.h"
#include "scpo_policy.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A metric has a number: of rollouts (rollout * (SCPO_HORIZON + 1) + time) * SCPO_NSIGNALS + signal; behind them come
 * those of local stability, one for each vertex. */
#define SCPO_KEYS ((uint32_t)SCPO_NALL * (SCPO_HORIZON + 1) * SCPO_NSIGNALS)

#define SCPO_NCOSTED (SCPO_IMITATION ? 0 : SCPO_NSCENARIOS) /* rollouts that the objective is about, the first ones */

#define SCPO_STATE_AT(run, t) ((run)->x + (t) * SCPO_NX)
#define SCPO_COMMAND_AT(run, t) ((run)->v + (t) * SCPO_NU)
#define SCPO_REFERENCE_AT(adapter, t) ((adapter)->reference + (SCPO_TRACKING ? (t) * (SCPO_NX + SCPO_NU) : 0))

/* The objective has become another one: steps begin anew at the committed parameters. */
void scpo_seek_another(scpo_adapter *adapter);

/* How many steps a rollout has: those of the cloud, between scenarios and guards, have one (E13). */
static inline int scpo_horizon(int rollout)
{
    return rollout < SCPO_NSCENARIOS || rollout >= SCPO_NROLLOUTS ? SCPO_HORIZON : 1;
}

/* half = P z / rho with z = x - rest; returns V(x) / rho. */
scpo_real scpo_level(const scpo_real *x, const scpo_real *rest, scpo_real *half);

#if SCPO_AUDIT
/* A metric that is kept clear of zero: with its back-off, which (E11) has none of. */
static inline scpo_real scpo_kept_clear(const scpo_adapter *adapter, int rollout, int signal, scpo_real metric)
{
    const unsigned char part = adapter->audit.back_off[rollout * SCPO_NSIGNALS + signal];
    return metric + SCPO_BACK_OFF * part / 255;
}
#else
#define scpo_kept_clear(adapter, rollout, signal, metric) (metric)
#endif

/* Rolls out; rollout SCPO_NALL is the point of an audit. The trajectory holds all that metrics and derivatives need. 0 where something is not finite. */
int scpo_roll(const scpo_adapter *adapter, const scpo_parameters *with, int rollout, scpo_trajectory *run);

#if !SCPO_IMITATION
/* The cost of a rollout, summed over its steps. */
scpo_real scpo_cost(const scpo_adapter *adapter, const scpo_trajectory *run);
#endif

/* Whether a signal has a metric at this time. */
int scpo_has_metric(int rollout, int time, int signal);

/* A metric of a rollout, safe at or below zero: (E6), (E7), (E8), (E13). */
scpo_real scpo_metric(int rollout, const scpo_trajectory *run, int time, int signal);

#if SCPO_SAMPLED
/* The same of a signal of the state x or the command v. */
scpo_real scpo_metric_of(int rollout, const scpo_trajectory *run, const scpo_real *x, const scpo_real *v, int signal);

/* A step from x on the plant of `run`, which receives the hidden layers: v before saturation, u after it, and next. */
void scpo_roll_step(const scpo_adapter *adapter, const scpo_parameters *with, int rollout, int t, scpo_trajectory *run,
                    const scpo_real *x, scpo_real *v, scpo_real *u, scpo_real *next);
#else
#if !SCPO_IMITATION
/* row [SCPO_NTHETA] = the derivative of that cost. */
void scpo_cost_row(const scpo_adapter *adapter, const scpo_parameters *with, int rollout, const scpo_trajectory *run,
                   scpo_real *row);
#endif

/* row [SCPO_NTHETA] = the derivative of a metric. */
void scpo_metric_row(const scpo_parameters *with, int rollout, const scpo_trajectory *run, int time, int signal,
                     scpo_real *row);

/* Through the policy at x, where its hidden layers are a: from derivatives by the command to those by theta, added to
 * row, and by x, added to by_x. What goes to the hidden layers at the equilibrium is taken from at_zero, for
 * scpo_backward_at_zero at the end. */
void scpo_policy_backward(const scpo_parameters *with, const scpo_real *x, const scpo_real *a, const scpo_real *by_v,
                          scpo_real *by_x, scpo_real *at_zero, scpo_real *row);

/* row += what moves the hidden layers at the equilibrium: moved [SCPO_HIDDEN + 1], which it overwrites. */
void scpo_backward_at_zero(const scpo_parameters *with, scpo_real *moved, scpo_real *row);
#endif

#if SCPO_NVERTICES
/* The metric of local stability at a vertex (E11); and, of exact gradients, its derivative, where row is not NULL. */
scpo_real scpo_stability(const scpo_parameters *with, int vertex, scpo_powers *powers, scpo_real *row);
#endif

#ifdef __cplusplus
}
#endif

#endif /* SCPO_ROLLOUT_H */
