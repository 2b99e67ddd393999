/* A piece of the adaptation, by induction: in the phase PHASE, and STAGE of it, from every
 * adapter that the invariant allows, a piece leads to one that it allows; and so does what a user asks for in between.
 * The projection is analysed by projection.c; here anything may come of it. SPDX-License-Identifier: MIT
 */
#include "eva.h"
#include "scpo_audit.h"

enum { START = -1, BEGIN = 0, GRADIENT = 1, VERIFY = 4, AUDITING = 5, ENDED = 6, REQUEST = 7, VERIFICATION = 8 };
enum { ROLL = 0, COST = 1, ROW = 2, JOIN = 8, LAST_STAGE = 9 };

#define IS_ROW ((PHASE == GRADIENT && STAGE == ROW) || PHASE == REQUEST)
#define PIECES (SCPO_NROLLOUTS + SCPO_NVERTICES) /* of a verification, before guards */
#define IS_OF_ROLLOUT (PHASE == GRADIENT && STAGE <= COST)
#define MOST_BETWEEN (SCPO_AUDIT_FIRST > SCPO_AUDIT_MOST ? SCPO_AUDIT_FIRST : SCPO_AUDIT_MOST) /* audits, in commits */

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

#if defined(IN_ITS_PLACE) /* of a verification, which PHASE 8 analyses: anything may come of it, too */
static int any_verification(scpo_adapter *of, const scpo_parameters *with)
{
    int row;
    (void)with;
    any_reals(&of->sum, 1);
    any_reals(&of->worst, 1);
    any_reals(of->peak, SCPO_NROWS);
    any_reals(of->tried, SCPO_NROWS);
    of->found = Frama_C_interval(0, SCPO_NROWS);
    of->rollout = Frama_C_interval(0, SCPO_NALL + SCPO_NVERTICES);
    of->audit.spent = Frama_C_interval(0, SCPO_STEP_ROLLOUTS);
    for (row = 0; row < SCPO_NROWS; row++) {
        of->peak_key[row] = Frama_C_unsigned_int_interval(0, SCPO_KEYS + SCPO_NVERTICES - 1);
    }
    return any();
}
#define scpo_verify any_verification
#include "scpo_adapt.c"
#endif

/* Guards and audits: S of one or two points in either order, whatever points these are. */
static void any_audit(scpo_audit *audit)
{
    /* one; two; two, the second first */
    const int which = Frama_C_interval(PHASE == VERIFICATION && STAGE == PIECES + 1, 2);
    /*@ split which; */
    audit->guards = which > 0 ? 2 : 1;
    audit->order[0] = which > 1 ? 1 : 0;
    audit->order[1] = which > 1 ? 0 : 1;
    audit->oldest = Frama_C_interval(0, SCPO_GUARDS - 1);
    audit->left = Frama_C_interval(1, SCPO_AUDIT_POINTS);
    audit->interval = Frama_C_interval(1, MOST_BETWEEN);
    audit->unaudited = Frama_C_interval(0, MOST_BETWEEN);
    audit->spent = Frama_C_interval(0, SCPO_STEP_ROLLOUTS);
    audit->halvings = Frama_C_interval(0, SCPO_HALVINGS);
    audit->joining = 0;
    if (adapter.phase == AUDITING && STAGE == 1) { /* counterexamples have joined S */
        audit->joining = Frama_C_interval(1, audit->guards);
    }
    /*@ split audit->joining; */
    if (PHASE == AUDITING) {
        /*@ split audit->oldest; */
        /*@ split audit->left; */
        ;
    }
}

/* An adapter of the invariant, with a state of the analysis for each count. */
static void any_adapter(void)
{
    int row;
    Frama_C_make_unknown((char *)&adapter, sizeof adapter);
    adapter.controller = &controller;
    adapter.projection.work = &adapter.work.projection;
    adapter.phase = PHASE == REQUEST ? Frama_C_interval(BEGIN, ENDED) : (PHASE == VERIFICATION ? VERIFY : PHASE);
    /*@ split adapter.phase; */
    any_audit(&adapter.audit);
    adapter.stage = PHASE == GRADIENT ? STAGE : Frama_C_interval(0, LAST_STAGE);
    adapter.outcome = (scpo_adaptation)Frama_C_interval(SCPO_CONVERGED, SCPO_START_BAD);
    adapter.rollout = Frama_C_interval(0, SCPO_NALL - 1);
    if (PHASE == VERIFICATION) {
        adapter.rollout = STAGE;
    } else if (PHASE == GRADIENT && STAGE == JOIN) {
        adapter.rollout = Frama_C_interval(-1, SCPO_NALL - 1);
    }
    adapter.count = Frama_C_interval(IS_ROW ? 1 : 0, SCPO_NROWS);
    if (PHASE != AUDITING) {
        /*@ split adapter.count; */
        ;
    }
    adapter.row = Frama_C_interval(0, IS_ROW ? adapter.count - 1 : (IS_OF_ROLLOUT ? adapter.count : SCPO_NROWS));
    adapter.found = Frama_C_interval(0, SCPO_NROWS);
    adapter.pairs = Frama_C_interval(0, SCPO_MEMORY);
    adapter.tries = Frama_C_interval(0, adapter.phase == GRADIENT ? SCPO_TRIES - 1 : SCPO_TRIES);
    adapter.stalled = Frama_C_interval(0, adapter.phase < AUDITING ? SCPO_PATIENCE - 1 : SCPO_PATIENCE + 1);
    for (row = 0; row < SCPO_NROWS; row++) {
        adapter.key[row] = Frama_C_unsigned_int_interval(0, SCPO_KEYS + SCPO_NVERTICES - 1);
        adapter.peak_key[row] = Frama_C_unsigned_int_interval(0, SCPO_KEYS + SCPO_NVERTICES - 1);
    }
}

/* What a user asks for between two pieces. */
static void request(void)
{
    scpo_real reference[SCPO_NREFERENCE];
    any_reals(reference, SCPO_NREFERENCE);
    if (any()) {
        (void)scpo_adapter_refer(&adapter, reference);
    } else {
        scpo_adapter_restart(&adapter);
    }
}

int main(void)
{
    static scpo_real theta[SCPO_NTHETA];
    static scpo_parameters theta_verified;
    any_reals(theta, SCPO_NTHETA);
    (void)scpo_controller_begin(&controller, theta);
    if (PHASE == START) {
        scpo_adapter_begin(&adapter, &controller);
    } else {
        any_reals(controller.set[0].theta, SCPO_NTHETA);
        any_reals(controller.set[0].at_zero, SCPO_HIDDEN + 1);
        any_reals(controller.set[1].theta, SCPO_NTHETA);
        any_reals(controller.set[1].at_zero, SCPO_HIDDEN + 1);
        Frama_C_make_unknown((char *)&theta_verified, sizeof theta_verified);
        any_adapter();
        if (PHASE == REQUEST) {
            request();
        } else if (PHASE == VERIFICATION) {
            (void)scpo_verify(&adapter, &theta_verified);
        } else {
            (void)scpo_adapter_poll(&adapter, 1);
        }
    }
    /*@ assert phase: 0 <= adapter.phase <= ENDED; */
    /*@ assert stage: 0 <= adapter.stage <= LAST_STAGE; */
    /*@ assert count: 0 <= adapter.count <= SCPO_NROWS; */
    /*@ assert found: 0 <= adapter.found <= SCPO_NROWS; */
    /*@ assert pairs: 0 <= adapter.pairs <= SCPO_MEMORY; */
    /*@ assert tries: 0 <= adapter.tries <= SCPO_TRIES; */
    /*@ assert again: adapter.phase == GRADIENT ==> adapter.tries < SCPO_TRIES; */
    /*@ assert stalled: 0 <= adapter.stalled <= SCPO_PATIENCE + 1; */
    /*@ assert patience: adapter.phase < AUDITING ==> adapter.stalled < SCPO_PATIENCE; */
    /*@ assert rollout: adapter.phase == GRADIENT && adapter.stage <= ROW ==> 0 <= adapter.rollout < SCPO_NALL; */
    /*@ assert vertex: -1 <= adapter.rollout <= SCPO_NALL + SCPO_NVERTICES; */
    /*@ assert row: 0 <= adapter.row <= SCPO_NROWS; */
    /*@ assert fits: adapter.phase == GRADIENT && adapter.stage <= COST ==> adapter.row <= adapter.count; */
    /*@ assert next: adapter.phase == GRADIENT && adapter.stage == ROW ==> adapter.row < adapter.count; */
    /*@ assert keys: \forall integer k; 0 <= k < SCPO_NROWS ==> adapter.key[k] < SCPO_KEYS + SCPO_NVERTICES; */
    /*@ assert peaks: \forall integer k; 0 <= k < adapter.found ==> adapter.peak_key[k] < SCPO_KEYS + SCPO_NVERTICES; */
    /*@ assert guards: 1 <= adapter.audit.guards <= SCPO_GUARDS; */
    /*@ assert order: adapter.audit.order[0] < adapter.audit.guards; */
    /*@ assert each: adapter.audit.guards == 2 ==> adapter.audit.order[0] + adapter.audit.order[1] == 1; */
    /*@ assert oldest: 0 <= adapter.audit.oldest < SCPO_GUARDS; */
    /*@ assert left: adapter.audit.left <= SCPO_AUDIT_POINTS; */
    /*@ assert draws: adapter.phase == AUDITING && adapter.audit.joining == 0 ==> 1 <= adapter.audit.left; */
    /*@ assert interval: 1 <= adapter.audit.interval <= MOST_BETWEEN; */
    /*@ assert unaudited: 0 <= adapter.audit.unaudited <= MOST_BETWEEN; */
    /*@ assert spent: 0 <= adapter.audit.spent <= SCPO_STEP_ROLLOUTS; */
    /*@ assert halvings: 0 <= adapter.audit.halvings <= SCPO_HALVINGS; */
    /*@ assert joining: 0 <= adapter.audit.joining <= adapter.audit.guards; */
    /*@ assert joins: adapter.phase != AUDITING ==> adapter.audit.joining == 0; */
    return 0;
}
