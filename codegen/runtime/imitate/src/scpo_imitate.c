/* Imitation of an expert: the ring of examples, and the mean squared error of the command over them.
 *
 * The ring has one writer, scpo_adapter_observe, and one reader, the adaptation: the writer moves `written`, the reader
 * `first` and `count`, and neither waits for the other. SPDX-License-Identifier: MIT
 */
#include "scpo_objective.h"

#define SCPO_FARTHEST SCPO_R(1e12) /* entry of an example: squares of errors stay numbers in float */
#define SCPO_SLICE ((SCPO_HORIZON + 1) / 2) /* examples of a piece, which is no longer than others are */

/* The place that is `count` behind another one. */
static int scpo_place_behind(int place, int count)
{
    place += count;
    return place < SCPO_EXPERT_PLACES ? place : place - SCPO_EXPERT_PLACES;
}

/* How many examples the ring has, fresh ones among them. */
static int scpo_filled(const scpo_expert *expert)
{
    const int filled = expert->written - expert->first;
    return filled < 0 ? filled + SCPO_EXPERT_PLACES : filled;
}

static int scpo_is_far(int count, const scpo_real *values)
{
    const scpo_real most = SCPO_FARTHEST;
    return scpo_largest(count, values, 0) > scpo_raw(&most);
}

scpo_status scpo_adapter_observe(scpo_adapter *adapter, const scpo_real *x, const scpo_real *u)
{
    scpo_expert *expert = &adapter->expert;
    const int place = expert->written;
    if (scpo_is_far(SCPO_NX, x) || scpo_is_far(SCPO_NU, u)) {
        return SCPO_BAD_STATE;
    }
    if (scpo_filled(expert) == SCPO_EXPERT_PLACES - 1) {
        expert->lost = expert->lost + 1;
        return SCPO_BUSY;
    }
    memcpy(expert->x[place], x, sizeof expert->x[place]);
    memcpy(expert->u[place], u, sizeof expert->u[place]);
    SCPO_BARRIER();
    expert->written = scpo_place_behind(place, 1);
    return SCPO_OK;
}

void scpo_objective_begin(scpo_adapter *adapter)
{
    scpo_expert *expert = &adapter->expert;
    memcpy(expert->x, scpo_examples_x, sizeof(scpo_real) * SCPO_NGIVEN * SCPO_NX);
    memcpy(expert->u, scpo_examples_u, sizeof(scpo_real) * SCPO_NGIVEN * SCPO_NU);
    expert->written = SCPO_NGIVEN;
}

void scpo_adapter_forget(scpo_adapter *adapter)
{
    adapter->expert.first = adapter->expert.written;
    adapter->expert.count = 0;
    scpo_seek_another(adapter);
}

int scpo_objective_has_news(const scpo_adapter *adapter)
{
    const int fresh = scpo_filled(&adapter->expert) - adapter->expert.count;
    return fresh >= (SCPO_FRESH + 1) / 2 || (adapter->expert.count == 0 && fresh > 0);
}

/* Fresh examples become a part of the objective, the oldest leave it. Returns whether there were any. */
static int scpo_take_in(scpo_expert *expert)
{
    const int filled = scpo_filled(expert);
    const int is_new = filled > expert->count;
    const int leave = filled > SCPO_EXAMPLES ? filled - SCPO_EXAMPLES : 0;
    SCPO_BARRIER();
    expert->count = filled - leave;
    expert->first = scpo_place_behind(expert->first, leave);
    return is_new;
}

int scpo_objective_is_there(scpo_adapter *adapter)
{
    (void)scpo_take_in(&adapter->expert);
    return adapter->expert.count > 0;
}

int scpo_objective_renew(scpo_adapter *adapter)
{
    adapter->sum = 0;
    adapter->expert.next = 0;
    return (!(adapter->length > 0) || scpo_objective_has_news(adapter)) && scpo_take_in(&adapter->expert);
}

/* error = command - u of an example, with its layers in a; returns the place. */
static int scpo_example_error(const scpo_expert *expert, const scpo_parameters *with, scpo_real *a, scpo_real *error)
{
    const int place = scpo_place_behind(expert->first, expert->next);
    int i;
    scpo_command(with->theta, with->at_zero, expert->x[place], a, error);
    for (i = 0; i < SCPO_NU; i++) {
        error[i] -= expert->u[place][i];
    }
    return place;
}

int scpo_objective_error(scpo_adapter *adapter, const scpo_parameters *with)
{
    scpo_expert *expert = &adapter->expert;
    int left = SCPO_SLICE;
    while (left-- > 0 && expert->next < expert->count) {
        scpo_real error[SCPO_NU];
        (void)scpo_example_error(expert, with, adapter->work.run.a, error);
        adapter->sum += scpo_inner(SCPO_NU, error, error);
        expert->next++;
    }
    return expert->next == expert->count;
}

int scpo_objective_slice(scpo_adapter *adapter)
{
    scpo_expert *expert = &adapter->expert;
    const scpo_parameters *with = scpo_committed(adapter);
    scpo_real at_zero[SCPO_HIDDEN + 1];
    int left = SCPO_SLICE;
    int i;
    memset(adapter->alpha, 0, sizeof adapter->alpha);
    for (i = 0; i <= SCPO_HIDDEN; i++) {
        at_zero[i] = 0;
    }
    while (left-- > 0 && expert->next < expert->count) {
        scpo_real error[SCPO_NU];
        scpo_real by_x[SCPO_NX]; /* which nothing asks for */
        const int place = scpo_example_error(expert, with, adapter->work.run.a, error);
        adapter->sum += scpo_inner(SCPO_NU, error, error);
        for (i = 0; i < SCPO_NU; i++) {
            error[i] *= 2;
        }
        for (i = 0; i < SCPO_NX; i++) {
            by_x[i] = 0;
        }
        scpo_policy_backward(with, expert->x[place], adapter->work.run.a, error, by_x, at_zero, adapter->alpha);
        expert->next++;
    }
    scpo_backward_at_zero(with, at_zero, adapter->alpha);
    scpo_add_to_gradient(adapter);
    return expert->next == expert->count;
}
