/* Sampled gradients (E2), (E3): no derivative of the model is needed. A step is searched in the span of SCPO_SPAN
 * orthonormal directions d_j, drawn anew for each: every parameter belongs to one of them, with a sign. Rollouts at
 * theta + sigma d_j go side by side with that at theta, some steps at a time. Their differences give the objective's
 * gradient and its Gauss-Newton matrix C C' in the span, without room for trajectories, and the rows of the working
 * set; in the coordinates C'alpha a step is planned and projected. SPDX-License-Identifier: MIT
 */
#include "scpo_gradient.h"

enum { SCPO_DRAW, SCPO_BASE, SCPO_LANE, SCPO_AT_REST, SCPO_PLAN, SCPO_TRANSFORM };

#define SCPO_SIGMA SCPO_SAMPLING_RADIUS
#define SCPO_ROUNDING (SCPO_METRIC_ERROR / 4) /* of a metric, as it was seen at export */
#define SCPO_DAMPING SCPO_R(0.1) /* added to the Gauss-Newton matrix, in parts of its mean curvature */
#define SCPO_BOTH (SCPO_NX + SCPO_NU)
#define SCPO_CURVATURE(row) (adapter->curvature + (row) * ((row) + 1) / 2)

/* xorshift (G. Marsaglia, "Xorshift RNGs", J. Statistical Software 8, 2003), which never is zero. */
static uint32_t scpo_random(scpo_adapter *adapter)
{
    uint32_t x = adapter->random ? adapter->random : 2463534242U;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    adapter->random = x;
    return x;
}

/* Draws the directions: parameters are dealt out evenly, in random order. */
static void scpo_draw(scpo_adapter *adapter)
{
    int i;
    for (i = 0; i < SCPO_NTHETA; i++) {
        adapter->group[i] = (unsigned char)(i % SCPO_SPAN);
    }
    for (i = SCPO_NTHETA - 1; i >= 0; i--) {
        const uint32_t drawn = scpo_random(adapter);
        const uint32_t other = (drawn >> 8) % ((uint32_t)i + 1U);
        const unsigned char group = adapter->group[other];
        const int size = (SCPO_NTHETA + SCPO_SPAN - 1 - group) / SCPO_SPAN;
        adapter->group[other] = adapter->group[i];
        adapter->group[i] = group;
        adapter->along[i] = ((drawn & 128U) ? 1 : -1) / SCPO_SQRT((scpo_real)size);
    }
}

/* The spare parameters become theta + sigma d of a lane. */
static const scpo_parameters *scpo_disturbed(scpo_adapter *adapter)
{
    scpo_parameters *spare = scpo_controller_spare(adapter->controller);
    const scpo_real *theta = scpo_committed(adapter)->theta;
    int i;
    for (i = 0; i < SCPO_NTHETA; i++) {
        spare->theta[i] = theta[i];
        if (adapter->group[i] == adapter->lane) {
            spare->theta[i] += SCPO_SIGMA * adapter->along[i];
        }
    }
    scpo_parameters_prepare(spare);
    return spare;
}

/* Whether a row is to be computed: all at the beginning of a step, later those that joined. */
static int scpo_is_wanted(const scpo_adapter *adapter, int row)
{
    return adapter->tries == 0 || adapter->joined[row] == SCPO_TO_COMPUTE;
}

/* The first row from `row` on that is wanted and of a rollout, or, where that is SCPO_NALL, at rest; or count. */
static int scpo_wanted_row(const scpo_adapter *adapter, int rollout, int row)
{
    while (row < adapter->count && !(scpo_is_wanted(adapter, row) &&
                                     (rollout < SCPO_NALL ? SCPO_ROLLOUT_OF(adapter->key[row]) == rollout
                                                          : adapter->key[row] >= SCPO_KEYS))) {
        row++;
    }
    return row;
}

/* Whether the objective's part of a rollout is asked for. */
static int scpo_has_cost(const scpo_adapter *adapter)
{
    return adapter->tries == 0 && adapter->rollout < SCPO_NSCENARIOS;
}

/* From adapter->rollout on to what is to be rolled out. */
static void scpo_seek(scpo_adapter *adapter)
{
    while (adapter->rollout < SCPO_NALL && !scpo_has_cost(adapter) &&
           scpo_wanted_row(adapter, adapter->rollout, 0) == adapter->count) {
        adapter->rollout++;
    }
    adapter->lane = 0;
    adapter->row = 0;
    adapter->stage = SCPO_BASE;
    if (adapter->rollout == SCPO_NALL) {
        adapter->row = scpo_wanted_row(adapter, SCPO_NALL, 0);
        adapter->stage = adapter->row < adapter->count ? SCPO_AT_REST : SCPO_PLAN;
    }
}

void scpo_gradient_begin(scpo_adapter *adapter)
{
    memset(adapter->gradient, 0, sizeof adapter->gradient);
    memset(adapter->curvature, 0, sizeof adapter->curvature);
    adapter->stage = SCPO_DRAW;
}

void scpo_join_begin(scpo_adapter *adapter)
{
    adapter->rollout = 0;
    scpo_seek(adapter);
}

/* The rollout at theta, and the metrics there. */
static void scpo_roll_base(scpo_adapter *adapter)
{
    scpo_lanes *lanes = &adapter->work.lanes;
    int row;
    int lane;
    (void)scpo_roll(adapter, scpo_committed(adapter), adapter->rollout, &lanes->run);
    for (row = scpo_wanted_row(adapter, adapter->rollout, 0); row < adapter->count;
         row = scpo_wanted_row(adapter, adapter->rollout, row + 1)) {
        const uint32_t key = adapter->key[row];
        adapter->c[row] = scpo_kept_clear(
            adapter, adapter->rollout, SCPO_SIGNAL_OF(key),
            scpo_metric(adapter->rollout, &lanes->run, SCPO_TIME_OF(key), SCPO_SIGNAL_OF(key)));
    }
    for (lane = 0; lane < SCPO_SPAN; lane++) {
        memcpy(lanes->x + lane * SCPO_NX, lanes->run.x, SCPO_NX * sizeof *lanes->x);
    }
    adapter->time = 0;
    adapter->stage = SCPO_LANE;
}

/* The wanted rows whose metric is about a step: of its command, or of the state behind it (E2). */
static void scpo_sample_rows(scpo_adapter *adapter, int t, const scpo_real *v, const scpo_real *next)
{
    int row;
    for (row = scpo_wanted_row(adapter, adapter->rollout, 0); row < adapter->count;
         row = scpo_wanted_row(adapter, adapter->rollout, row + 1)) {
        const int signal = SCPO_SIGNAL_OF(adapter->key[row]);
        const int is_command = signal >= SCPO_NBOUNDS_X && signal < SCPO_NBOUNDS;
        if (SCPO_TIME_OF(adapter->key[row]) == (is_command ? t : t + 1)) {
            const scpo_real value = scpo_metric_of(adapter->rollout, &adapter->work.lanes.run, next, v, signal);
            const scpo_real clear = scpo_kept_clear(adapter, adapter->rollout, signal, value);
            scpo_row(adapter, row)[adapter->lane] = (clear - adapter->c[row]) / SCPO_SIGMA;
        }
    }
}

/* A lane's part of a step in the gradient and the Gauss-Newton matrix; the lanes before it have come there too. */
static void scpo_add_step(scpo_adapter *adapter, int t)
{
    static const scpo_real zero[SCPO_BOTH] = {0};
    const scpo_trajectory *run = &adapter->work.lanes.run;
    const scpo_real *moved = adapter->work.lanes.moved + (t - adapter->time) * SCPO_BOTH;
    const scpo_real *mine = moved + adapter->lane * SCPO_CHUNK * SCPO_BOTH;
    scpo_real slope[SCPO_BOTH];
    scpo_real bend[SCPO_BOTH];
    scpo_real u[SCPO_NU];
    int i;
    for (i = 0; i < SCPO_BOTH; i++) {
        slope[i] = 0;
        bend[i] = 0;
    }
    for (i = 0; i < SCPO_NU; i++) {
        u[i] = scpo_saturate(i, SCPO_COMMAND_AT(run, t)[i]);
    }
    scpo_stage_adjoint(SCPO_STATE_AT(run, t), u, SCPO_REFERENCE_AT(adapter, t), slope, slope + SCPO_NX);
    adapter->gradient[adapter->lane] += scpo_inner(SCPO_BOTH, slope, mine);
    scpo_stage_adjoint(mine, mine + SCPO_NX, zero, bend, bend + SCPO_NX);
    for (i = 0; i <= adapter->lane; i++) {
        SCPO_CURVATURE(adapter->lane)[i] += scpo_inner(SCPO_BOTH, bend, moved + i * SCPO_CHUNK * SCPO_BOTH);
    }
}

/* Some steps of a lane; behind the last lane comes the next part of the horizon, or the next rollout. */
static void scpo_sample(scpo_adapter *adapter)
{
    scpo_lanes *lanes = &adapter->work.lanes;
    const scpo_parameters *with = scpo_disturbed(adapter);
    const int horizon = scpo_horizon(adapter->rollout);
    const int end = horizon - adapter->time > SCPO_CHUNK ? adapter->time + SCPO_CHUNK : horizon;
    scpo_real *x = lanes->x + adapter->lane * SCPO_NX;
    scpo_real *moved = lanes->moved + adapter->lane * SCPO_CHUNK * SCPO_BOTH;
    int t;
    int i;
    for (t = adapter->time; t < end; t++) {
        scpo_real v[SCPO_NU];
        scpo_real u[SCPO_NU];
        scpo_real next[SCPO_NX];
        scpo_roll_step(adapter, with, adapter->rollout, t, &lanes->run, x, v, u, next);
        scpo_sample_rows(adapter, t, v, next);
        for (i = 0; i < SCPO_NX; i++) {
            *moved++ = x[i] - SCPO_STATE_AT(&lanes->run, t)[i];
            x[i] = next[i];
        }
        for (i = 0; i < SCPO_NU; i++) {
            *moved++ = u[i] - scpo_saturate(i, SCPO_COMMAND_AT(&lanes->run, t)[i]);
        }
        if (scpo_has_cost(adapter)) {
            scpo_add_step(adapter, t);
        }
    }
    if (++adapter->lane == SCPO_SPAN) {
        adapter->lane = 0;
        adapter->time = end;
        if (end == horizon) {
            adapter->rollout++;
            scpo_seek(adapter);
        }
    }
}

#if SCPO_NVERTICES
/* Local stability of a row at rest, in one lane. */
static void scpo_sample_at_rest(scpo_adapter *adapter)
{
    const int vertex = (int)(adapter->key[adapter->row] - SCPO_KEYS);
    scpo_powers *powers = &adapter->work.powers;
    if (adapter->lane == 0) {
        adapter->c[adapter->row] = scpo_stability(scpo_committed(adapter), vertex, powers, NULL);
    }
    scpo_row(adapter, adapter->row)[adapter->lane] =
        (scpo_stability(scpo_disturbed(adapter), vertex, powers, NULL) - adapter->c[adapter->row]) / SCPO_SIGMA;
    if (++adapter->lane == SCPO_SPAN) {
        adapter->lane = 0;
        adapter->row = scpo_wanted_row(adapter, SCPO_NALL, adapter->row + 1);
        adapter->stage = adapter->row < adapter->count ? SCPO_AT_REST : SCPO_PLAN;
    }
}
#endif

/* The factor C of the damped Gauss-Newton matrix, and z = the steepest descent in the coordinates C'alpha. */
static void scpo_plan(scpo_adapter *adapter)
{
    const scpo_real scale = SCPO_WEIGHT(adapter) / SCPO_SIGMA;
    const scpo_real square = scale / SCPO_SIGMA;
    scpo_real mean = 0;
    int i;
    int j;
    scpo_multiply(SCPO_SPAN, scale, adapter->gradient, adapter->gradient);
    for (i = 0; i < SCPO_SPAN; i++) {
        mean += SCPO_CURVATURE(i)[i];
    }
    mean = mean * square / SCPO_SPAN;
    if (!(mean > SCPO_UNDERFLOW)) {
        mean = SCPO_UNDERFLOW;
    }
    for (i = 0; i < SCPO_SPAN; i++) {
        scpo_real *row = SCPO_CURVATURE(i);
        for (j = 0; j < i; j++) {
            row[j] = (row[j] * square - scpo_inner(j, row, SCPO_CURVATURE(j))) / SCPO_CURVATURE(j)[j];
        }
        row[i] = SCPO_SQRT(row[i] * square + SCPO_DAMPING * mean - scpo_inner(i, row, row));
    }
    adapter->gamma = 1 / ((1 + SCPO_DAMPING) * mean);
    adapter->radius = SCPO_RADIUS / SCPO_SQRT(adapter->gamma);
    scpo_multiply(SCPO_SPAN, -1, adapter->gradient, adapter->z);
    scpo_scaling_transposed(adapter, adapter->z);
    scpo_limit(adapter);
}

int scpo_gradient_poll(scpo_adapter *adapter)
{
    switch (adapter->stage) {
    case SCPO_DRAW:
        scpo_draw(adapter);
        adapter->rollout = 0;
        scpo_seek(adapter);
        return 0;
    case SCPO_BASE:
        scpo_roll_base(adapter);
        return 0;
    case SCPO_LANE:
        scpo_sample(adapter);
        return 0;
#if SCPO_NVERTICES
    case SCPO_AT_REST:
        scpo_sample_at_rest(adapter);
        return 0;
#endif
    case SCPO_PLAN:
        if (adapter->tries == 0) {
            scpo_plan(adapter);
        }
        adapter->row = 0;
        adapter->stage = SCPO_TRANSFORM;
        return 0;
    default:
        while (adapter->row < adapter->count && !scpo_is_wanted(adapter, adapter->row)) {
            adapter->row++;
        }
        if (adapter->row < adapter->count) {
            scpo_scaling_transposed(adapter, scpo_row(adapter, adapter->row));
            adapter->joined[adapter->row] = adapter->tries > 0 ? SCPO_KNOWN : 0;
            adapter->row++;
            return 0;
        }
        return 1;
    }
}

scpo_real scpo_gradient_error(const scpo_adapter *adapter, int row)
{
    const scpo_real error = adapter->L[row] * SCPO_SIGMA / 2 + 2 * SCPO_ROUNDING / SCPO_SIGMA;
    return SCPO_SQRT(SCPO_R(SCPO_SPAN)) * error * SCPO_SQRT(adapter->gamma);
}

void scpo_scaling_transposed(const scpo_adapter *adapter, scpo_real *vector)
{
    int i;
    for (i = 0; i < SCPO_SPAN; i++) {
        vector[i] = (vector[i] - scpo_inner(i, SCPO_CURVATURE(i), vector)) / SCPO_CURVATURE(i)[i];
    }
}

scpo_real scpo_unscale(scpo_adapter *adapter)
{
    scpo_real move[SCPO_SPAN]; /* along each direction */
    int i = SCPO_SPAN;
    int j;
    while (i-- > 0) {
        scpo_real sum = 0;
        for (j = i + 1; j < SCPO_SPAN; j++) {
            sum += SCPO_CURVATURE(j)[i] * move[j];
        }
        move[i] = (adapter->alpha[i] - sum) / SCPO_CURVATURE(i)[i];
    }
    for (i = 0; i < SCPO_NTHETA; i++) {
        adapter->step[i] = adapter->along[i] * move[adapter->group[i]];
    }
    return -scpo_inner(SCPO_SPAN, adapter->gradient, move);
}
