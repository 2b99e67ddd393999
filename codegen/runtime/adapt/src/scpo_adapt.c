/* The step of the adaptation, piece by piece.
 *
 *   gradient   of the objective and of the working set's metrics, exact or sampled; and the step to be projected
 *   project    (E5) onto the region (E4) of the working set
 *   verify     a rollout at a time at the projected step: all metrics at most -epsilon, and a lower objective, or
 *   join       metrics that it broke get a larger smoothness constant, or join the working set; then it projects again
 *   commit     the parameters that were verified become active by one write; or, where audits are asked for,
 *   audit      now and then what was committed is rolled out from fresh points (E12), and becomes active by one write
 *
 * docs/device.md says why each of these is as it is. SPDX-License-Identifier: MIT
 */
#include "scpo_audit.h"
#include "scpo_gradient.h"

enum { SCPO_BEGIN, SCPO_GRADIENT, SCPO_GUESS, SCPO_PROJECT, SCPO_VERIFY, SCPO_AUDITING, SCPO_ENDED };

#define SCPO_KEPT SCPO_R(0.5)       /* part of a metric's distance from zero that a step leaves */
#define SCPO_SUFFICIENT SCPO_R(1e-4) /* part of the predicted fall that a commit must reach */

static void scpo_begin_step(scpo_adapter *adapter)
{
    scpo_choose_rows(adapter);
    adapter->counts.steps++;
    adapter->tries = 0;
#if SCPO_AUDIT
    adapter->audit.spent = 0;
#endif
    if (scpo_objective_renew(adapter)) {
        adapter->length = 0; /* what a commit did to the gradient of another objective shows no curvature */
    }
    scpo_gradient_begin(adapter);
    adapter->phase = SCPO_GRADIENT;
}

/* What a step may use up of the distance from the bound, and curvatures in scaled coordinates. */
static void scpo_begin_projection(scpo_adapter *adapter)
{
    scpo_projection *problem = &adapter->projection;
    int row;
    for (row = 0; row < adapter->count; row++) {
        const scpo_real distance = adapter->c[row] + SCPO_METRIC_ERROR;
        adapter->room[row] = distance < 0 ? distance * (1 - SCPO_KEPT) : 0;
        adapter->curved[row] = adapter->L[row] * adapter->gamma;
        adapter->e[row] = scpo_gradient_error(adapter, row);
    }
    problem->dim = SCPO_SPAN;
    problem->count = adapter->count;
    problem->u = adapter->z;
    problem->c = adapter->room;
    problem->G = adapter->G;
    problem->e = adapter->e;
    problem->L = adapter->curved;
    problem->r = adapter->radius;
    problem->work = &adapter->work.projection;
    adapter->counts.projections++;
    adapter->tries++;
    adapter->row = 0;
    adapter->phase = scpo_project_begin(problem, adapter->alpha) == SCPO_BUSY ? SCPO_GUESS : SCPO_PROJECT;
}

/* Rows that held the last projection back are likely to do so again: one at a time. */
static void scpo_guess(scpo_adapter *adapter)
{
    while (adapter->row < adapter->count && !(adapter->multiplier[adapter->row] > 0)) {
        adapter->row++;
    }
    if (adapter->row < adapter->count) {
        scpo_project_guess(&adapter->work.projection, adapter->row, adapter->multiplier[adapter->row]);
        adapter->row++;
    } else {
        adapter->phase = SCPO_PROJECT;
    }
}

/* The adaptation ends. */
static scpo_adaptation scpo_stop(scpo_adapter *adapter, scpo_adaptation outcome)
{
    adapter->phase = SCPO_ENDED;
    adapter->outcome = outcome;
    return outcome;
}

/* Curvature, and the constants of metrics that were seen with it. */
static void scpo_learn_anew(scpo_adapter *adapter)
{
    int row;
    scpo_forget_curvature(adapter);
    for (row = 0; row < SCPO_NROWS; row++) {
        adapter->L[row] = SCPO_FIRST_SMOOTHNESS;
    }
}

/* The next step, or the end of them: that the next call says, so that no commit goes unsaid. */
static void scpo_go_on(scpo_adapter *adapter)
{
    if (adapter->stalled >= SCPO_PATIENCE) {
        (void)scpo_stop(adapter, SCPO_CONVERGED);
    } else {
        scpo_begin_step(adapter);
    }
}

static scpo_adaptation scpo_end_step(scpo_adapter *adapter, scpo_adaptation outcome)
{
#if SCPO_AUDIT
    if (adapter->audit.unaudited >= (adapter->stalled >= SCPO_PATIENCE ? 1 : adapter->audit.interval)) {
        scpo_audit_begin(adapter);
        adapter->phase = SCPO_AUDITING;
        return outcome;
    }
#endif
    scpo_go_on(adapter);
    return outcome;
}

/* The step ends without a commit: theta stays. Metrics that it met are known from now on; where it met none, curvature
 * is learnt anew. */
static scpo_adaptation scpo_give_up(scpo_adapter *adapter, int met)
{
    if (!met) {
        scpo_learn_anew(adapter);
    }
    adapter->stalled += 2 - met;
    adapter->length = 0;
    return scpo_end_step(adapter, SCPO_REJECTED);
}

/* The steepest descent takes the step's place, half as long. */
static scpo_adaptation scpo_descend(scpo_adapter *adapter)
{
    scpo_real size;
    if (adapter->tries >= SCPO_TRIES || scpo_has_spent(adapter)) {
        return scpo_give_up(adapter, 0);
    }
    scpo_multiply(SCPO_SPAN, -1, adapter->gradient, adapter->z);
    scpo_scaling_transposed(adapter, adapter->z);
    size = SCPO_SQRT(scpo_inner(SCPO_SPAN, adapter->z, adapter->z));
    scpo_multiply(SCPO_SPAN, (size > adapter->length ? adapter->length / size : 1) / 2, adapter->z, adapter->z);
    scpo_begin_projection(adapter);
    return SCPO_ADAPTING;
}

/* From the projection to the try: the step in the space of theta, and the parameters to be verified. */
static scpo_adaptation scpo_begin_try(scpo_adapter *adapter)
{
    scpo_parameters *spare = scpo_controller_spare(adapter->controller);
    const scpo_real *theta = scpo_committed(adapter)->theta;
    int row;
    int i;
    adapter->length = SCPO_SQRT(scpo_inner(SCPO_SPAN, adapter->alpha, adapter->alpha));
    for (row = 0; row < adapter->count; row++) {
        adapter->multiplier[row] = scpo_project_multiplier(adapter->projection.work, row);
    }
    if (!(adapter->length > 0)) {
        return scpo_give_up(adapter, 0);
    }
    adapter->predicted = scpo_unscale(adapter);
    if (!(adapter->predicted > 0)) { /* the projection turned a shortened step into one of ascent */
        return scpo_descend(adapter);
    }
    for (i = 0; i < SCPO_NTHETA; i++) {
        spare->theta[i] = theta[i] + adapter->step[i];
    }
    scpo_parameters_prepare(spare);
    adapter->rollout = 0;
    adapter->phase = SCPO_VERIFY;
    return SCPO_ADAPTING;
}

/* The step to be projected becomes a part of the last one; the next try projects it. */
static scpo_adaptation scpo_shorten(scpo_adapter *adapter, scpo_real part)
{
    scpo_multiply(SCPO_SPAN, part, adapter->alpha, adapter->z);
    scpo_begin_projection(adapter);
    return SCPO_ADAPTING;
}

static scpo_adaptation scpo_commit(scpo_adapter *adapter, scpo_real objective)
{
    const scpo_real fall = adapter->objective - objective;
    int row;
    if (!scpo_take_over(adapter)) {
        return scpo_give_up(adapter, 0);
    }
    scpo_remember(adapter);
    for (row = 0; row < adapter->count; row++) {
        const scpo_real shown = SCPO_GROWTH * scpo_shown(adapter, row);
        adapter->L[row] = scpo_max(scpo_max(shown, SCPO_DECAY * adapter->L[row]), SCPO_LEAST_SMOOTHNESS);
    }
    adapter->stalled = fall < SCPO_WORTH * SCPO_ABS(adapter->objective) ? adapter->stalled + 1 : 0;
    adapter->objective = objective;
    adapter->margin = -adapter->worst;
    adapter->counts.commits++;
    return scpo_end_step(adapter, SCPO_COMMITTED);
}

/* After the last rollout of a try. */
static scpo_adaptation scpo_judge(scpo_adapter *adapter)
{
    const scpo_real objective = adapter->sum * SCPO_WEIGHT(adapter);
    const scpo_real fall = adapter->objective - objective;
    const int safe = adapter->worst <= -SCPO_METRIC_ERROR;
    adapter->counts.tries++;
    if (safe && adapter->predicted > 0 && fall >= SCPO_SUFFICIENT * adapter->predicted && fall > 0) {
        return scpo_commit(adapter, objective);
    }
    if (adapter->tries >= SCPO_TRIES || scpo_has_spent(adapter)) {
        return scpo_give_up(adapter, !safe);
    }
    if (!(adapter->worst < SCPO_LARGEST)) {
        return scpo_shorten(adapter, SCPO_R(0.25));
    }
    if (!safe) {
        adapter->counts.unsafe++;
        if (!scpo_take_in_broken(adapter)) {
            return scpo_shorten(adapter, SCPO_R(0.5));
        }
        scpo_join_begin(adapter);
        adapter->phase = SCPO_GRADIENT;
        return SCPO_ADAPTING;
    }
    {
        scpo_real part = SCPO_R(0.5);
        if (adapter->predicted > fall) { /* the least point of the parabola */
            part = adapter->predicted / (2 * (adapter->predicted - fall));
            part = part < SCPO_R(0.1) ? SCPO_R(0.1) : (part > SCPO_R(0.5) ? SCPO_R(0.5) : part);
        }
        return scpo_shorten(adapter, part);
    }
}

/* Steps begin anew at the committed parameters; curvature and the working set are what they were. */
static void scpo_begin_anew(scpo_adapter *adapter)
{
    adapter->phase = SCPO_BEGIN;
    adapter->rollout = 0;
    adapter->length = 0;
    adapter->stalled = 0;
}

void scpo_seek_another(scpo_adapter *adapter)
{
    scpo_begin_anew(adapter);
    scpo_forget_curvature(adapter);
    adapter->count = 0;
#if SCPO_AUDIT
    adapter->audit.halvings = 0;
    if (adapter->audit.joining > 0) { /* in the middle of an audit that failed */
        const unsigned char own = adapter->audit.own;
        scpo_audit_restart(adapter);
        adapter->audit.own = own;
    }
#endif
}

void scpo_adapter_restart(scpo_adapter *adapter)
{
    scpo_seek_another(adapter);
#if SCPO_AUDIT
    scpo_audit_restart(adapter);
#endif
}

/* The active parameters break a metric. What the user gave stays, and the adaptation ends so; where they were adapted
 * here, the safe start takes their place, and what was committed goes back towards it. */
static scpo_adaptation scpo_refuse(scpo_adapter *adapter, scpo_adaptation outcome)
{
#if SCPO_AUDIT
    if (adapter->audit.own) {
        scpo_begin_anew(adapter);
        scpo_withdraw(adapter);
        return SCPO_WITHDRAWN;
    }
    scpo_audit_restart(adapter);
#endif
    return scpo_stop(adapter, outcome);
}

/* One piece of the first verification, that of the parameters to begin with. */
static scpo_adaptation scpo_first(scpo_adapter *adapter)
{
    int is_bad;
    if (adapter->rollout == 0 && !scpo_objective_is_there(adapter)) {
        return scpo_stop(adapter, SCPO_NO_DATA);
    }
    if (!scpo_verify(adapter, scpo_committed(adapter))) {
        return SCPO_ADAPTING;
    }
    adapter->objective = adapter->sum * SCPO_WEIGHT(adapter);
    adapter->margin = -adapter->worst;
#if SCPO_AUDIT
    if (adapter->audit.unaudited > 0 && adapter->worst > -SCPO_METRIC_ERROR) {
        scpo_retreat(adapter);
        if (scpo_measures(adapter)) { /* all of the way back, to a start that is to be audited itself */
            scpo_adapter_restart(adapter);
        }
        adapter->rollout = 0;
        return SCPO_ADAPTING;
    }
#endif
    is_bad = !(adapter->worst < SCPO_LARGEST) || !(SCPO_ABS(adapter->objective) < SCPO_LARGEST);
    if (adapter->worst > -SCPO_METRIC_ERROR) {
        return scpo_refuse(adapter, is_bad ? SCPO_START_BAD : SCPO_START_UNSAFE);
    }
    if (is_bad) {
        return scpo_stop(adapter, SCPO_START_BAD);
    }
#if SCPO_AUDIT
    if (scpo_measures(adapter)) {
        adapter->start_objective = adapter->objective;
    }
    if (!adapter->audit.trusted) {
        scpo_audit_begin(adapter);
        adapter->phase = SCPO_AUDITING;
        return SCPO_ADAPTING;
    }
#else
    adapter->start_objective = adapter->objective;
#endif
    scpo_begin_step(adapter);
    return SCPO_ADAPTING;
}

#if SCPO_AUDIT
static scpo_adaptation scpo_piece_of_audit(scpo_adapter *adapter)
{
    int changed;
    switch (scpo_audit_poll(adapter)) {
    case SCPO_AUDIT_PASSED:
        changed = scpo_activate(adapter);
        scpo_go_on(adapter);
        return changed ? SCPO_AUDITED : SCPO_ADAPTING;
    case SCPO_AUDIT_BROKEN:
        return scpo_refuse(adapter, SCPO_START_UNSAFE);
    case SCPO_AUDIT_FAILED:
        scpo_begin_anew(adapter);
        scpo_retreat(adapter);
        return SCPO_ADAPTING;
    default:
        return SCPO_ADAPTING;
    }
}
#endif

static scpo_adaptation scpo_piece_of_step(scpo_adapter *adapter)
{
    switch (adapter->phase) {
    case SCPO_BEGIN:
        return scpo_first(adapter);
    case SCPO_GRADIENT:
        if (scpo_gradient_poll(adapter)) {
            scpo_begin_projection(adapter);
        }
        return SCPO_ADAPTING;
    case SCPO_GUESS:
        adapter->counts.projecting++;
        scpo_guess(adapter);
        return SCPO_ADAPTING;
    case SCPO_PROJECT:
        adapter->counts.projecting++;
        if (scpo_project_poll(&adapter->work.projection) == SCPO_BUSY) {
            return SCPO_ADAPTING;
        }
        return scpo_begin_try(adapter);
#if SCPO_AUDIT
    case SCPO_AUDITING:
        return scpo_piece_of_audit(adapter);
#endif
    default:
        return scpo_verify(adapter, scpo_controller_spare(adapter->controller)) ? scpo_judge(adapter) : SCPO_ADAPTING;
    }
}

scpo_adaptation scpo_adapter_poll(scpo_adapter *adapter, int pieces)
{
    scpo_adaptation outcome;
    if (scpo_objective_has_news(adapter) && adapter->phase == SCPO_ENDED &&
        (adapter->outcome == SCPO_CONVERGED || adapter->outcome == SCPO_NO_DATA)) {
        scpo_seek_another(adapter);
    }
    outcome = adapter->phase == SCPO_ENDED ? adapter->outcome : SCPO_ADAPTING;
    while (pieces-- > 0 && outcome == SCPO_ADAPTING) {
        adapter->counts.pieces++;
        outcome = scpo_piece_of_step(adapter);
    }
    return outcome;
}

void scpo_adapter_begin(scpo_adapter *adapter, scpo_controller *controller)
{
    memset(adapter, 0, sizeof *adapter);
    adapter->controller = controller;
    scpo_objective_begin(adapter);
#if SCPO_AUDIT
    scpo_guards_begin(adapter);
#endif
    scpo_adapter_restart(adapter);
}
