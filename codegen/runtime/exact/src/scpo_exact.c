/* Exact gradients, backwards through the rollouts, and the curvature that commits show of the Lagrangian.
 * SPDX-License-Identifier: MIT
 */
#include "scpo_gradient.h"
#include "scpo_plan.h"

enum {
    SCPO_ROLL, SCPO_COST, SCPO_ROW, SCPO_AT_REST, SCPO_LEARN, SCPO_COMPLETE, SCPO_PLAN, SCPO_TRANSFORM, SCPO_JOIN,
    SCPO_EXAMPLE
};

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

/* Behind the rows of one rollout comes the next that has a cost or a row. */
static void scpo_next_rollout(scpo_adapter *adapter)
{
    adapter->row = 0;
    do {
        adapter->rollout++;
    } while (adapter->rollout >= SCPO_NCOSTED && adapter->rollout < SCPO_NROLLOUTS &&
             scpo_next_row(adapter, adapter->rollout) == adapter->count);
    adapter->stage = adapter->rollout < SCPO_NROLLOUTS ? SCPO_ROLL : (SCPO_NVERTICES ? SCPO_AT_REST : SCPO_LEARN);
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
        (void)scpo_roll(adapter, scpo_active(adapter), adapter->rollout, &adapter->work.run);
        adapter->stage = adapter->rollout < SCPO_NCOSTED ? SCPO_COST : SCPO_ROW;
        adapter->row = scpo_next_row(adapter, adapter->rollout);
        return;
    }
#if !SCPO_IMITATION
    if (adapter->stage == SCPO_COST) {
        scpo_objective_of_rollout(adapter);
        adapter->stage = SCPO_ROW;
    } else
#endif
    {
        scpo_compute_row(adapter, adapter->row++);
    }
    adapter->row = scpo_next_row(adapter, adapter->rollout);
    if (adapter->row == adapter->count) {
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
    if (adapter->key[row] < SCPO_KEYS && adapter->rollout != SCPO_ROLLOUT_OF(adapter->key[row])) {
        adapter->rollout = SCPO_ROLLOUT_OF(adapter->key[row]);
        (void)scpo_roll(adapter, scpo_active(adapter), adapter->rollout, &adapter->work.run);
    } else {
        scpo_compute_row(adapter, row);
        scpo_scaling_transposed(adapter, scpo_row(adapter, row));
        adapter->joined[row] = SCPO_KNOWN;
        if (adapter->key[row] >= SCPO_KEYS) {
            adapter->rollout = -1; /* its work took the rollout's place */
        }
    }
    return 0;
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
    case SCPO_AT_REST:
        while (adapter->row < adapter->count && adapter->key[adapter->row] < SCPO_KEYS) {
            adapter->row++;
        }
        if (adapter->row < adapter->count) {
            scpo_compute_row(adapter, adapter->row++);
        } else {
            adapter->stage = SCPO_LEARN;
        }
        return 0;
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
