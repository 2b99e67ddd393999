/* Exact gradients, backwards through the rollouts, and the curvature that commits show of the Lagrangian.
 * SPDX-License-Identifier: MIT
 */
#include "scpo_scaling.h"

enum {
    SCPO_ROLL, SCPO_COST, SCPO_ROW, SCPO_AT_REST, SCPO_LEARN, SCPO_COMPLETE, SCPO_PLAN, SCPO_TRANSFORM, SCPO_JOIN,
    SCPO_EXAMPLE
};

#define SCPO_FIRST_STEP SCPO_R(0.1) /* length of the first one, and after curvature was forgotten, in radii */

void scpo_gradient_begin(scpo_adapter *adapter)
{
    memset(adapter->gradient, 0, sizeof adapter->gradient);
    adapter->rollout = 0;
    adapter->row = 0;
    adapter->stage = SCPO_IMITATION ? SCPO_EXAMPLE : SCPO_ROLL;
}

void scpo_join_begin(scpo_adapter *adapter)
{
    adapter->rollout = -1; /* none is at hand */
    adapter->stage = SCPO_JOIN;
}

/* The next row of a rollout, from adapter->row on, or count. */
static int scpo_next_row(const scpo_adapter *adapter, int rollout)
{
    int row = adapter->row;
    while (row < adapter->count && SCPO_ROLLOUT_OF(adapter->key[row]) != rollout) {
        row++;
    }
    return row;
}

/* Computes a row at the active parameters, from the rollout at hand. */
static void scpo_compute_row(scpo_adapter *adapter, int row)
{
    const uint32_t key = adapter->key[row];
#if SCPO_NVERTICES
    if (SCPO_IS_AT_REST(key)) {
        adapter->c[row] = scpo_stability(scpo_committed(adapter), (int)(key - SCPO_KEYS), &adapter->work.powers,
                                         scpo_row(adapter, row));
        return;
    }
#endif
    {
        const int rollout = SCPO_ROLLOUT_OF(key);
        adapter->c[row] = scpo_kept_clear(
            adapter, rollout, SCPO_SIGNAL_OF(key),
            scpo_metric(rollout, &adapter->work.run, SCPO_TIME_OF(key), SCPO_SIGNAL_OF(key)));
        scpo_metric_row(scpo_committed(adapter), rollout, &adapter->work.run, SCPO_TIME_OF(key), SCPO_SIGNAL_OF(key),
                        scpo_row(adapter, row));
    }
}

/* Behind the rows of one rollout comes the next that has a cost or a row. */
static void scpo_next_rollout(scpo_adapter *adapter)
{
    adapter->row = 0;
    do {
        adapter->rollout++;
    } while (adapter->rollout >= SCPO_NCOSTED && adapter->rollout < SCPO_NALL &&
             scpo_next_row(adapter, adapter->rollout) == adapter->count);
    adapter->stage = adapter->rollout < SCPO_NALL ? SCPO_ROLL : (SCPO_NVERTICES ? SCPO_AT_REST : SCPO_LEARN);
}

#if SCPO_IMITATION
/* Behind the last examples comes the first rollout that has a row. */
static void scpo_add_examples(scpo_adapter *adapter)
{
    if (scpo_objective_slice(adapter)) {
        adapter->objective = adapter->sum * SCPO_WEIGHT(adapter);
        adapter->rollout = -1;
        scpo_next_rollout(adapter);
    }
}
#endif

/* One piece of the gradient's part of a step. */
static void scpo_differentiate(scpo_adapter *adapter)
{
    if (adapter->stage == SCPO_ROLL) {
        (void)scpo_roll(adapter, scpo_committed(adapter), adapter->rollout, &adapter->work.run);
        adapter->stage = adapter->rollout < SCPO_NCOSTED ? SCPO_COST : SCPO_ROW;
    }
#if !SCPO_IMITATION
    else if (adapter->stage == SCPO_COST) {
        scpo_objective_of_rollout(adapter);
        adapter->stage = SCPO_ROW;
    }
#endif
    else {
        scpo_compute_row(adapter, adapter->row++);
    }
    adapter->row = scpo_next_row(adapter, adapter->rollout);
    if (adapter->stage == SCPO_ROW && adapter->row == adapter->count) {
        scpo_next_rollout(adapter);
    }
}

/* One piece of taking in what a try broke: a rollout, or a row of it. Returns whether nothing was left. */
static int scpo_join(scpo_adapter *adapter)
{
    int row = 0;
    while (row < adapter->count && adapter->joined[row] != SCPO_TO_COMPUTE) {
        row++;
    }
    if (row == adapter->count) {
        return 1;
    }
    if (!SCPO_IS_AT_REST(adapter->key[row]) && adapter->rollout != SCPO_ROLLOUT_OF(adapter->key[row])) {
        adapter->rollout = SCPO_ROLLOUT_OF(adapter->key[row]);
        (void)scpo_roll(adapter, scpo_committed(adapter), adapter->rollout, &adapter->work.run);
    } else {
        scpo_compute_row(adapter, row);
        scpo_scaling_transposed(adapter, scpo_row(adapter, row));
        adapter->joined[row] = SCPO_KNOWN;
        if (SCPO_IS_AT_REST(adapter->key[row])) {
            adapter->rollout = -1; /* its work took the rollout's place */
        }
    }
    return 0;
}

/* out = gradient + sum of multiplier G, with rows in the space of theta, or, where scaled, from scaled ones. */
static void scpo_lagrangian(scpo_adapter *adapter, int scaled, scpo_real *out)
{
    int row;
    int i;
    memset(out, 0, sizeof adapter->gradient);
    for (row = 0; row < adapter->count; row++) {
        if (adapter->multiplier[row] > 0) {
            scpo_subtract(SCPO_NTHETA, -adapter->multiplier[row], scpo_row(adapter, row), out);
        }
    }
    if (scaled) {
        scpo_inverse_transposed(adapter, adapter->pairs, out);
    }
    for (i = 0; i < SCPO_NTHETA; i++) {
        out[i] += adapter->gradient[i];
    }
}

/* The gradient is complete: what the last commit did to that of the Lagrangian shows curvature. adapter->row becomes
 * the first pair that is to be completed. */
static void scpo_learn(scpo_adapter *adapter)
{
    int i;
    scpo_multiply(SCPO_NTHETA, SCPO_WEIGHT(adapter), adapter->gradient, adapter->gradient);
    adapter->row = adapter->pairs; /* pairs to complete: none, or all */
    if (adapter->length > 0) { /* the last step was committed */
        scpo_lagrangian(adapter, 0, adapter->z);
        for (i = 0; i < SCPO_NTHETA; i++) {
            adapter->z[i] -= adapter->previous[i];
        }
        if (scpo_learn_curvature(adapter, adapter->z, adapter->alpha)) {
            adapter->row = 0;
        }
    }
}

/* z = the steepest descent in scaled coordinates: Newton's step, as far as the curvature is known. */
static void scpo_plan(scpo_adapter *adapter)
{
    if (adapter->pairs == 0) {
        const scpo_real size = SCPO_SQRT(scpo_inner(SCPO_NTHETA, adapter->gradient, adapter->gradient));
        adapter->gamma = SCPO_FIRST_STEP * SCPO_RADIUS / (size > SCPO_UNDERFLOW ? size : SCPO_UNDERFLOW);
    }
    adapter->radius = SCPO_RADIUS / SCPO_SQRT(adapter->gamma);
    scpo_multiply(SCPO_NTHETA, -1, adapter->gradient, adapter->z);
    scpo_scaling_transposed(adapter, adapter->z);
    scpo_limit(adapter);
}

int scpo_gradient_poll(scpo_adapter *adapter)
{
    switch (adapter->stage) {
#if SCPO_IMITATION
    case SCPO_EXAMPLE:
        scpo_add_examples(adapter);
        return 0;
#endif
    case SCPO_ROLL:
    case SCPO_COST:
    case SCPO_ROW:
        scpo_differentiate(adapter);
        return 0;
#if SCPO_NVERTICES
    case SCPO_AT_REST:
        while (adapter->row < adapter->count && !SCPO_IS_AT_REST(adapter->key[adapter->row])) {
            adapter->row++;
        }
        if (adapter->row < adapter->count) {
            scpo_compute_row(adapter, adapter->row++);
        } else {
            adapter->stage = SCPO_LEARN;
        }
        return 0;
#endif
    case SCPO_LEARN:
        scpo_learn(adapter);
        adapter->stage = SCPO_COMPLETE;
        return 0;
    case SCPO_COMPLETE:
        if (adapter->row < adapter->pairs) {
            scpo_complete_pair(adapter, adapter->row++, adapter->alpha);
        } else {
            adapter->stage = SCPO_PLAN;
        }
        return 0;
    case SCPO_PLAN:
        scpo_plan(adapter);
        adapter->row = 0;
        adapter->stage = SCPO_TRANSFORM;
        return 0;
    case SCPO_TRANSFORM:
        if (adapter->row < adapter->count) {
            scpo_scaling_transposed(adapter, scpo_row(adapter, adapter->row++));
            return 0;
        }
        return 1;
    default:
        return scpo_join(adapter);
    }
}

scpo_real scpo_unscale(scpo_adapter *adapter)
{
    memcpy(adapter->step, adapter->alpha, sizeof adapter->step);
    scpo_scaling(adapter, adapter->step);
    return -scpo_inner(SCPO_NTHETA, adapter->gradient, adapter->step);
}

void scpo_remember(scpo_adapter *adapter)
{
    scpo_lagrangian(adapter, 1, adapter->previous);
}
