/* A piece of the adaptation, by induction: in the phase PHASE and, of gradients, the stage STAGE, from every adapter that the invariant allows, a piece leads to
 * one that it allows. The projection is analysed by projection.c; here anything may come of it. SPDX-License-Identifier: MIT
 */
#include "eva.h"
#include "scpo_working_set.h"

enum { BEGIN = 0, GRADIENT = 1, VERIFY = 4, LAST_PHASE = 6 };
enum { ROLL = 0, ROW = 2, JOIN = 8, LAST_STAGE = 9 };

#define IS_ROW (PHASE == GRADIENT && STAGE == ROW)

static scpo_controller controller;
static scpo_adapter adapter;

scpo_status scpo_project_begin(const scpo_projection *problem, scpo_real *delta)
{
    any_reals(delta, problem->dim);
    return any() ? SCPO_OK : SCPO_BUSY;
}

scpo_status scpo_project_poll(scpo_workspace *work)
{
    any_reals(adapter.alpha, SCPO_NTHETA);
    any_reals(work->pull, SCPO_MAX_DIM);
    return any() ? SCPO_OK : SCPO_BUSY;
}

void scpo_project_guess(scpo_workspace *work, int index, scpo_real multiplier)
{
    /*@ assert row: 0 <= index < SCPO_NROWS; */
    work->lambda[0] = multiplier;
}

scpo_real scpo_project_multiplier(const scpo_workspace *work, int index)
{
    scpo_real multiplier;
    (void)work;
    /*@ assert row: 0 <= index < SCPO_NROWS; */
    any_reals(&multiplier, 1);
    return multiplier;
}

int main(void)
{
    static scpo_real theta[SCPO_NTHETA];
    int row;
    any_reals(theta, SCPO_NTHETA);
    (void)scpo_controller_begin(&controller, theta);
    if (PHASE < 0) {
        scpo_adapter_begin(&adapter, &controller);
    } else {
        any_reals(controller.set[0].theta, SCPO_NTHETA);
        any_reals(controller.set[0].at_zero, SCPO_HIDDEN + 1);
        any_reals(controller.set[1].theta, SCPO_NTHETA);
        any_reals(controller.set[1].at_zero, SCPO_HIDDEN + 1);
        /* an adapter of the invariant, with a state of the analysis for each count */
        Frama_C_make_unknown((char *)&adapter, sizeof adapter);
        adapter.controller = &controller;
        adapter.projection.work = &adapter.work.projection;
        adapter.phase = PHASE;
        adapter.stage = STAGE;
        adapter.outcome = (scpo_adaptation)Frama_C_interval(SCPO_CONVERGED, SCPO_START_BAD);
        adapter.rollout = Frama_C_interval(0, SCPO_NROLLOUTS - 1);
        if (adapter.phase == BEGIN || adapter.phase == VERIFY) {
            adapter.rollout = Frama_C_interval(0, SCPO_NROLLOUTS + SCPO_NVERTICES - 1);
        } else if (adapter.phase == GRADIENT && adapter.stage == JOIN) {
            adapter.rollout = Frama_C_interval(-1, SCPO_NROLLOUTS - 1);
        }
        adapter.count = Frama_C_interval_split(IS_ROW ? 1 : 0, SCPO_NROWS);
        adapter.row = Frama_C_interval(0, IS_ROW ? adapter.count - 1 : SCPO_NROWS);
        adapter.found = Frama_C_interval_split(0, SCPO_NROWS);
        adapter.pairs = Frama_C_interval(0, SCPO_MEMORY);
        adapter.tries = Frama_C_interval(0, SCPO_TRIES);
        adapter.stalled = Frama_C_interval(0, SCPO_PATIENCE + 1);
        for (row = 0; row < SCPO_NROWS; row++) {
            adapter.key[row] = Frama_C_unsigned_int_interval(0, SCPO_KEYS + SCPO_NVERTICES - 1);
            adapter.peak_key[row] = Frama_C_unsigned_int_interval(0, SCPO_KEYS + SCPO_NVERTICES - 1);
        }
        (void)scpo_adapter_poll(&adapter, 1);
    }
    /*@ assert phase: 0 <= adapter.phase <= LAST_PHASE; */
    /*@ assert stage: 0 <= adapter.stage <= LAST_STAGE; */
    /*@ assert count: 0 <= adapter.count <= SCPO_NROWS; */
    /*@ assert found: 0 <= adapter.found <= SCPO_NROWS; */
    /*@ assert pairs: 0 <= adapter.pairs <= SCPO_MEMORY; */
    /*@ assert rollout: adapter.phase == GRADIENT && ROLL <= adapter.stage <= ROW ==> 0 <= adapter.rollout < SCPO_NROLLOUTS; */
    /*@ assert vertex: -1 <= adapter.rollout <= SCPO_NROLLOUTS + SCPO_NVERTICES; */
    /*@ assert row: 0 <= adapter.row <= SCPO_NROWS; */
    /*@ assert next: adapter.phase == GRADIENT && adapter.stage == ROW ==> adapter.row < adapter.count; */
    /*@ assert keys: \forall integer k; 0 <= k < SCPO_NROWS ==> adapter.key[k] < SCPO_KEYS + SCPO_NVERTICES; */
    return 0;
}
