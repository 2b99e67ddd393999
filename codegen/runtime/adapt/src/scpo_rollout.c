/* Rollouts of the model, forwards and, for exact derivatives, backwards: an adjoint step costs about as much as a step.
 * Sums are taken term by term in a fixed order, so that another implementation can give the same bits.
 * SPDX-License-Identifier: MIT
 */
#include "scpo_rollout.h"
#if SCPO_AUDIT
#include "scpo_fresh.h"
#endif

#if SCPO_SAMPLED
#define SCPO_OF_LANES /* functions that sampled gradients call too */
#else
#define SCPO_OF_LANES static
#endif

#define SCPO_LAYERS_AT(run, t) ((run)->a + (SCPO_SAMPLED ? 0 : (t) * (SCPO_HIDDEN + 1)))

#if SCPO_NDISTURBANCES
/* The number of a rollout's first step, among those of all. */
static int scpo_first_step(int rollout)
{
    return rollout < SCPO_NSCENARIOS ? rollout * SCPO_HORIZON
                                     : SCPO_NSCENARIOS * (SCPO_HORIZON - 1) + rollout;
}
#endif

scpo_real scpo_level(const scpo_real *x, const scpo_real *rest, scpo_real *half)
{
    scpo_real z[SCPO_NX];
    int i;
    for (i = 0; i < SCPO_NX; i++) {
        z[i] = x[i] - rest[i];
    }
    for (i = 0; i < SCPO_NX; i++) {
        half[i] = scpo_inner(SCPO_NX, scpo_P[i], z);
    }
    return scpo_inner(SCPO_NX, half, z);
}

#if SCPO_UPDATABLE || SCPO_AUDIT
#define SCPO_PLANT(run, rollout) ((run)->p)
#else
#define SCPO_PLANT(run, rollout) (scpo_plant_parameters[rollout])
#endif

#if SCPO_AUDIT
#define SCPO_LIMIT(run, rollout) ((run)->limit)
#else
#define SCPO_LIMIT(run, rollout) (scpo_contraction_limits[rollout])
#endif

#if SCPO_UPDATABLE
scpo_status scpo_adapter_parameters(scpo_adapter *adapter, const scpo_real *low, const scpo_real *high)
{
    int within = scpo_largest(SCPO_NPARAMETERS, high, scpo_largest(SCPO_NPARAMETERS, low, 0)) < SCPO_INFINITY;
    int i;
    for (i = 0; i < SCPO_NPARAMETERS; i++) {
        within = within && scpo_p_min[i] <= low[i] && low[i] <= high[i] && high[i] <= scpo_p_max[i];
    }
    if (!within) {
        return SCPO_BAD_STATE;
    }
    memcpy(adapter->p_low, low, sizeof adapter->p_low);
    memcpy(adapter->p_high, high, sizeof adapter->p_high);
    adapter->replaced = 1;
    scpo_adapter_restart(adapter);
    return SCPO_OK;
}

/* Plant parameters p of the declared ranges become those that they are replaced by. */
static void scpo_replace(const scpo_adapter *adapter, scpo_real *p)
{
    int i;
    for (i = 0; i < SCPO_NPARAMETERS && adapter->replaced; i++) {
        const scpo_real width = scpo_p_max[i] - scpo_p_min[i];
        const scpo_real part = width > 0 ? (p[i] - scpo_p_min[i]) / width : 0;
        p[i] = adapter->p_low[i] + part * (adapter->p_high[i] - adapter->p_low[i]);
        p[i] = p[i] > adapter->p_high[i] ? adapter->p_high[i] : p[i];
    }
}
#else
#define scpo_replace(adapter, p) ((void)(adapter), (void)(p))
#endif

/* Initial state, plant parameters and limit of a rollout. */
static void scpo_begin_rollout(const scpo_adapter *adapter, int rollout, scpo_trajectory *run)
{
#if SCPO_AUDIT
    if (rollout >= SCPO_NROLLOUTS) {
        scpo_begin_fresh(adapter, rollout, run);
        scpo_replace(adapter, run->p);
        return;
    }
    run->limit = scpo_contraction_limits[rollout];
#endif
    memcpy(run->x, scpo_start_states[rollout], sizeof scpo_start_states[rollout]);
#if SCPO_UPDATABLE || SCPO_AUDIT
    memcpy(run->p, scpo_plant_parameters[rollout], sizeof run->p);
    scpo_replace(adapter, run->p);
#else
    (void)adapter;
#endif
}

SCPO_OF_LANES void scpo_roll_step(const scpo_adapter *adapter, const scpo_parameters *with, int rollout, int t,
                                  scpo_trajectory *run, const scpo_real *x, scpo_real *v, scpo_real *u,
                                  scpo_real *next)
{
    int i;
    (void)adapter; /* where no points are drawn */
    scpo_command(with->theta, with->at_zero, x, SCPO_LAYERS_AT(run, t), v);
    for (i = 0; i < SCPO_NU; i++) {
        u[i] = scpo_saturate(i, v[i]);
    }
    scpo_model_step(x, u, SCPO_PLANT(run, rollout), next);
#if SCPO_NDISTURBANCES
#if SCPO_AUDIT
    if (rollout >= SCPO_NROLLOUTS) {
        scpo_fresh_disturb(adapter, run->number, t, next);
        return;
    }
#endif
    for (i = 0; i < SCPO_NX; i++) {
        next[i] += scpo_disturbances[scpo_first_step(rollout) + t][i];
    }
#else
    (void)t;
    (void)rollout; /* where the trajectory has its plant parameters */
#endif
}

int scpo_roll(const scpo_adapter *adapter, const scpo_parameters *with, int rollout, scpo_trajectory *run)
{
    scpo_bits largest = 0;
    int t;
    scpo_begin_rollout(adapter, rollout, run);
    for (t = 0; t < scpo_horizon(rollout); t++) {
        scpo_real *next = SCPO_STATE_AT(run, t + 1);
        scpo_real u[SCPO_NU];
        scpo_roll_step(adapter, with, rollout, t, run, SCPO_STATE_AT(run, t), SCPO_COMMAND_AT(run, t), u, next);
        largest = scpo_largest(SCPO_NU, SCPO_COMMAND_AT(run, t), scpo_largest(SCPO_NX, next, largest));
    }
    return largest < SCPO_INFINITY;
}

#if !SCPO_IMITATION
scpo_status scpo_adapter_refer(scpo_adapter *adapter, const scpo_real *reference)
{
    if (scpo_largest(SCPO_NREFERENCE, reference, 0) >= SCPO_INFINITY) {
        return SCPO_BAD_STATE;
    }
    memcpy(adapter->reference, reference, sizeof adapter->reference);
    scpo_seek_another(adapter);
    return SCPO_OK;
}

scpo_real scpo_cost(const scpo_adapter *adapter, const scpo_trajectory *run)
{
    scpo_real sum = 0;
    int t;
    for (t = 0; t < SCPO_HORIZON; t++) {
        scpo_real u[SCPO_NU];
        int i;
        for (i = 0; i < SCPO_NU; i++) {
            u[i] = scpo_saturate(i, SCPO_COMMAND_AT(run, t)[i]);
        }
        sum += scpo_stage(SCPO_STATE_AT(run, t), u, SCPO_REFERENCE_AT(adapter, t));
    }
    return sum;
}
#endif

#if !SCPO_SAMPLED
/* What of the command's derivative gets through saturation: all of it where the command itself has bounds. */
static void scpo_unsaturated(const scpo_real *v, scpo_real *by_u)
{
    int i;
    for (i = 0; i < SCPO_NU; i++) {
        if (SCPO_SATURATES && (v[i] > scpo_u_max[i] || v[i] < scpo_u_min[i])) {
            by_u[i] = 0;
        }
    }
}

/* moved *= 1 - a a, the derivative of tanh where it is a. */
static void scpo_through_tanh(int count, const scpo_real *a, scpo_real *moved)
{
    int j;
    for (j = 0; j < count; j++) {
        moved[j] *= 1 - a[j] * a[j];
    }
}

/* Through the hidden layer whose weights are at W, from its `out` sums to what it is fed with, y: row gets the parts of
 * W and b, by_y the others. y or by_y may be NULL: zero, or not asked for. */
static void scpo_layer_backward(int in, int out, const scpo_real *W, const scpo_real *moved, const scpo_real *y,
                                scpo_real *by_y, scpo_real *row)
{
    int j;
    int k;
    for (k = 0; k < in && by_y; k++) {
        scpo_real sum = 0;
        for (j = 0; j < out; j++) {
            sum += moved[j] * W[j * in + k];
        }
        by_y[k] = sum;
    }
    for (j = 0; j < out; j++) {
        for (k = 0; k < in && y; k++) {
            row[j * in + k] += moved[j] * y[k];
        }
        row[in * out + j] += moved[j];
    }
}

void scpo_backward_at_zero(const scpo_parameters *with, scpo_real *moved, scpo_real *row)
{
    int layer = SCPO_NLAYERS - 1;
    int place = SCPO_HIDDEN;
    long start = SCPO_NTHETA - SCPO_NU * SCPO_LAST;
    while (layer-- > 0) {
        const int in = scpo_widths[layer];
        const int out = scpo_widths[layer + 1];
        scpo_real below[SCPO_MAX_WIDTH];
        int k;
        place -= out;
        start -= (in + 1) * out;
        scpo_through_tanh(out, with->at_zero + place, moved + place);
        scpo_layer_backward(in, out, with->theta + start, moved + place, layer ? with->at_zero + place - in : NULL,
                            layer ? below : NULL, row + start);
        for (k = 0; k < in && layer; k++) {
            moved[place - in + k] += below[k];
        }
    }
}

void scpo_policy_backward(const scpo_parameters *with, const scpo_real *x, const scpo_real *a, const scpo_real *by_v,
                          scpo_real *by_x, scpo_real *at_zero, scpo_real *row)
{
    const int width = SCPO_LAST;
    long start = SCPO_NTHETA - SCPO_NU * width;
    int place = SCPO_HIDDEN - width;
    scpo_real y[SCPO_NX];
    scpo_real moved[SCPO_MAX_WIDTH];
    scpo_real below[SCPO_MAX_WIDTH];
    int layer;
    int i;
    int j;
    for (i = 0; i < SCPO_NX; i++) {
        y[i] = (x[i] - scpo_x_eq[i]) / scpo_scale[i];
        for (j = 0; j < SCPO_NU; j++) {
            by_x[i] -= scpo_K[j][i] * by_v[j];
        }
    }
    for (j = 0; j < width; j++) {
        const scpo_real feature = SCPO_NLAYERS > 1 ? a[place + j] - with->at_zero[place + j] : y[j];
        moved[j] = 0;
        for (i = 0; i < SCPO_NU; i++) {
            const scpo_real by = by_v[i] * scpo_input_scale[i];
            row[start + i * width + j] += by * feature;
            moved[j] += by * with->theta[start + i * width + j];
        }
        at_zero[SCPO_NLAYERS > 1 ? place + j : 0] -= moved[j];
    }
    for (layer = SCPO_NLAYERS - 2; layer >= 0; layer--) {
        const int in = scpo_widths[layer];
        const int out = scpo_widths[layer + 1];
        start -= (in + 1) * out;
        scpo_through_tanh(out, a + place, moved);
        scpo_layer_backward(in, out, with->theta + start, moved, layer ? a + place - in : y, below, row + start);
        place -= in;
        memcpy(moved, below, (size_t)in * sizeof *moved);
    }
    for (i = 0; i < SCPO_NX; i++) {
        by_x[i] += moved[i] / scpo_scale[i];
    }
}

/* Backwards from time t, where a sum has derivatives by_x and, where by_v is not NULL, by_v by the command of that
 * time; with the cost's own on the way where `adapter` is not NULL. */
static void scpo_backward(const scpo_adapter *adapter, const scpo_parameters *with, int rollout,
                          const scpo_trajectory *run, int t, scpo_real *by_x, scpo_real *by_v, scpo_real *row)
{
    scpo_real at_zero[SCPO_HIDDEN + 1];
    scpo_real by_u[SCPO_NU];
    int i;
    (void)rollout; /* where the trajectory has its plant parameters */
    memset(row, 0, SCPO_NTHETA * sizeof *row);
    for (i = 0; i <= SCPO_HIDDEN; i++) {
        at_zero[i] = 0;
    }
    if (by_v) {
        scpo_policy_backward(with, SCPO_STATE_AT(run, t), SCPO_LAYERS_AT(run, t), by_v, by_x, at_zero, row);
    }
    while (t-- > 0) {
        const scpo_real *x = SCPO_STATE_AT(run, t);
        scpo_real after[SCPO_NX];
        scpo_real u[SCPO_NU];
        for (i = 0; i < SCPO_NX; i++) {
            after[i] = by_x[i];
        }
        for (i = 0; i < SCPO_NU; i++) {
            u[i] = scpo_saturate(i, SCPO_COMMAND_AT(run, t)[i]);
        }
        scpo_model_adjoint(x, u, SCPO_PLANT(run, rollout), after, by_x, by_u);
#if SCPO_IMITATION
        (void)adapter;
#else
        if (adapter) {
            scpo_stage_adjoint(x, u, SCPO_REFERENCE_AT(adapter, t), by_x, by_u);
        }
#endif
        scpo_unsaturated(SCPO_COMMAND_AT(run, t), by_u);
        scpo_policy_backward(with, x, SCPO_LAYERS_AT(run, t), by_u, by_x, at_zero, row);
    }
    scpo_backward_at_zero(with, at_zero, row);
}

#if !SCPO_IMITATION
void scpo_cost_row(const scpo_adapter *adapter, const scpo_parameters *with, int rollout, const scpo_trajectory *run,
                   scpo_real *row)
{
    scpo_real by_x[SCPO_NX];
    int i;
    for (i = 0; i < SCPO_NX; i++) {
        by_x[i] = 0;
    }
    scpo_backward(adapter, with, rollout, run, SCPO_HORIZON, by_x, NULL, row);
}
#endif
#endif

int scpo_has_metric(int rollout, int time, int signal)
{
    const int last = scpo_horizon(rollout);
    if (signal < SCPO_NBOUNDS_X) {
        return time > 0;
    }
    if (signal < SCPO_NBOUNDS) {
        return time < last;
    }
    if (SCPO_TERMINAL && signal == SCPO_NBOUNDS) {
        return time == last && (rollout < SCPO_NSCENARIOS || rollout >= SCPO_NROLLOUTS);
    }
    return time == last && (SCPO_CONTRACTS || (rollout >= SCPO_NSCENARIOS && rollout < SCPO_NROLLOUTS));
}

SCPO_OF_LANES scpo_real scpo_metric_of(int rollout, const scpo_trajectory *run, const scpo_real *x, const scpo_real *v,
                                       int signal)
{
    scpo_real half[SCPO_NX];
    if (signal < SCPO_NBOUNDS) {
        const scpo_bound *bound = scpo_bounds + signal;
        return bound->weight * ((signal < SCPO_NBOUNDS_X ? x : v)[bound->entry] - bound->limit);
    }
    if (SCPO_TERMINAL && signal == SCPO_NBOUNDS) {
        return scpo_level(x, scpo_x_eq, half) - 1;
    }
    (void)run; /* where the limits are those of the scenarios */
    return scpo_level(x, scpo_rests[SCPO_RESTS > 1 ? rollout : 0], half) / SCPO_LIMIT(run, rollout) - 1;
}

scpo_real scpo_metric(int rollout, const scpo_trajectory *run, int time, int signal)
{
    return scpo_metric_of(rollout, run, SCPO_STATE_AT(run, time), SCPO_COMMAND_AT(run, time), signal);
}

#if !SCPO_SAMPLED
void scpo_metric_row(const scpo_parameters *with, int rollout, const scpo_trajectory *run, int time, int signal,
                     scpo_real *row)
{
    scpo_real by_x[SCPO_NX];
    scpo_real by_v[SCPO_NU];
    int i;
    for (i = 0; i < SCPO_NX; i++) {
        by_x[i] = 0;
    }
    if (signal < SCPO_NBOUNDS) {
        for (i = 0; i < SCPO_NU; i++) {
            by_v[i] = 0;
        }
        if (signal < SCPO_NBOUNDS_X) {
            by_x[scpo_bounds[signal].entry] = scpo_bounds[signal].weight;
        } else {
            by_v[scpo_bounds[signal].entry] = scpo_bounds[signal].weight;
        }
    } else {
        const int is_terminal = SCPO_TERMINAL && signal == SCPO_NBOUNDS;
        const scpo_real *rest = is_terminal ? scpo_x_eq : scpo_rests[SCPO_RESTS > 1 ? rollout : 0];
        const scpo_real weight = is_terminal ? 2 : 2 / SCPO_LIMIT(run, rollout);
        (void)scpo_level(SCPO_STATE_AT(run, time), rest, by_x);
        for (i = 0; i < SCPO_NX; i++) {
            by_x[i] *= weight;
        }
    }
    scpo_backward(NULL, with, rollout, run, time, by_x,
                  signal >= SCPO_NBOUNDS_X && signal < SCPO_NBOUNDS ? by_v : NULL, row);
}
#endif
