/* Gradients of the Lagrangian, the summed cost plus a linear and a quadratic term of every metric, with respect to theta;
 * and of each scenario's weighted metrics with respect to the scenario itself. Each block of scenarios forwards, then
 * backwards. SPDX-License-Identifier: MIT */
#include "adjoint.h"
#include "pack.h"
#include "threads.h"

long engine_gradient_size(const engine_batch *batch)
{
    return batch->horizon * (NX + NU + ACTIVATIONS) + NX + 3 * ACTIVATIONS + STEPS_KEPT * (ACTIVATIONS + NU) +
           SUMMED / WIDTH * NTHETA;
}

static adjoint_work divide(const adjoint *job, long k, lane *work)
{
    const long N = job->batch->horizon;
    adjoint_work parts;
    parts.theta = job->theta + k * NTHETA;
    parts.cost = job->cost ? job->cost + k * job->batch->scenarios : NULL;
    parts.x = work;
    parts.u = parts.x + (N + 1) * NX;
    parts.layers = parts.u + N * NU;
    parts.net = (network *)(parts.layers + N * ACTIVATIONS);
    parts.deltas = (lane *)(parts.net + 1);
    parts.command_deltas = parts.deltas + STEPS_KEPT * ACTIVATIONS;
    parts.zero_deltas = parts.command_deltas + STEPS_KEPT * NU;
    parts.gradient = parts.zero_deltas + ACTIVATIONS;
    parts.terms = parts.gradient + SUMMED / WIDTH * NTHETA;
    return parts;
}

static inline void apply(const adjoint *job, const lane *command, lane *u)
{
    int i;
    for (i = 0; i < NU; i++) {
        u[i] = command[i];
    }
    if (job->saturated) {
        saturate(job->batch, command, u);
    }
}

static void go_forward(const adjoint *job, long first, lane *p, const adjoint_work *parts)
{
    const engine_batch *batch = job->batch;
    const long N = batch->horizon;
    const int used = lanes_used(batch, first);
    lane x[NX], v[NU] = {{0}}, sum = all(0.0);
    long t;
    int i;
    load(batch->x0, first, used, NX, NX, x);
    hoist(parts->theta, parts->net);
    for (t = 0; t < N; t++) {
        lane *command = parts->u + t * NU;
        lane u[NU], next[NX];
        vary(batch, first, used, t, p);
        forward(batch, parts->theta, x, p, job->saturated, parts->net, command);
        apply(job, command, u);
        first_input(t, u, v);
        if (parts->cost) {
            sum += stage_cost(batch, x, u, v, p);
        }
        keep_input(u, v);
        plant(x, u, p, next);
        disturb(batch, first, used, t, next);
        for (i = 0; i < NX; i++) {
            parts->x[t * NX + i] = x[i];
            x[i] = next[i];
        }
        for (i = 0; i < ACTIVATIONS; i++) {
            parts->layers[t * ACTIVATIONS + i] = parts->net->layers[i];
        }
    }
    for (i = 0; i < NX; i++) {
        parts->x[N * NX + i] = x[i];
    }
    vary(batch, first, used, N, p);
    if (parts->cost) {
        add_end_cost(x, p, &sum);
    }
    for (i = 0; parts->cost && i < used; i++) {
        parts->cost[first + i] = sum[i] / (double)N;
    }
}

/* Adds the adjoints of the state bounds at time t (E6); `terms` are those of the block. */
static inline void add_state_rows(const engine_batch *batch, const lane *terms, long t, const lane *x, lane *x_delta)
{
    lane rows[AT_LEAST_ONE(STATE_ROWS)];
    int i;
    if (!terms || !batch->path) {
        return;
    }
    terms += 2 * t * STATE_ROWS;
    state_rows(batch, x, rows);
    for (i = 0; i < HIGH_COUNT; i++) {
        x_delta[high[i]] += slope_of(terms + 2 * i, rows[i]);
    }
    for (i = 0; i < LOW_COUNT; i++) {
        x_delta[low[i]] -= slope_of(terms + 2 * (HIGH_COUNT + i), rows[HIGH_COUNT + i]);
    }
}

/* The same for the bounds of the command, before saturation. */
static inline void add_command_rows(const engine_batch *batch, const lane *terms, long t, const lane *command,
                                    lane *command_delta)
{
    lane rows[COMMAND_ROWS];
    int i;
    if (!terms || !batch->path || !batch->command) {
        return;
    }
    terms += 2 * ((batch->horizon + 1) * STATE_ROWS + t * COMMAND_ROWS);
    command_rows(batch, command, rows);
    for (i = 0; i < NU; i++) {
        command_delta[i] += slope_of(terms + 2 * i, rows[i]) - slope_of(terms + 2 * (NU + i), rows[NU + i]);
    }
}

static inline void add_weighted(lane weight, const lane *values, lane *sum)
{
    int i;
    for (i = 0; i < NX; i++) {
        sum[i] += weight * values[i];
    }
}

/* The adjoint of the last state: its bounds, (E7) and (E8). */
static void start_backward(const engine_batch *batch, long first, const lane *terms, const lane *x0, const lane *x,
                           lane *lambda)
{
    lane gradient[NX], rest[NX], V, weight = all(0.0);
    zeros(lambda, NX);
    add_state_rows(batch, terms, batch->horizon, x, lambda);
    if (!terms || !(batch->terminal || batch->contraction)) {
        return;
    }
    terms += 2 * batch->rows;
    if (batch->contraction) {
        terms -= 2;
        load_rest(batch, first, lanes_used(batch, first), rest);
        V = level(batch, x, rest, gradient);
        weight = slope_of(terms, V - contraction_limit(batch, x0, rest));
        if (batch->x_rest) { /* otherwise both are of the same gradient */
            add_weighted(weight, gradient, lambda);
            weight = all(0.0);
        }
    }
    if (batch->terminal) {
        terms -= 2;
        V = level(batch, x, NULL, gradient);
        weight += slope_of(terms, V / batch->rho - 1.0) / batch->rho;
    }
    if (batch->terminal || !batch->x_rest) {
        add_weighted(weight, gradient, lambda);
    }
}

/* Puts lanes into rows `first` + l of a matrix with `stride` columns, from column 0 to `size` - 1. */
static inline void unload(const lane *values, long first, int used, long stride, int size, double *rows)
{
    int i, l;
    for (l = 0; l < used; l++) {
        for (i = 0; i < size; i++) {
            rows[(first + l) * stride + i] = values[i][l];
        }
    }
}

/* What the disturbance before the state whose adjoint is lambda, and the parameters at this step, have to do with it. */
static inline void step_of_scenarios(const adjoint *job, long first, long t, const lane *x, const lane *u, const lane *p,
                                     const lane *lambda, lane *p_delta)
{
    const long N = job->batch->horizon;
    lane now[AT_LEAST_ONE(NP)];
    int i;
    if (job->w_gradient) {
        unload(lambda, first, lanes_used(job->batch, first), N * NX, NX, job->w_gradient + t * NX);
    }
    plant_parameters(x, u, p, lambda, now);
    for (i = 0; i < NP; i++) {
        p_delta[i] += now[i];
    }
}

/* Of the entries of p that vary, each time has its own adjoint. */
static inline void step_of_signals(const adjoint *job, long first, long t, lane *p_delta)
{
#if SIGNALS
    if (job->signals_gradient) {
        lane *last = p_delta + NP - SIGNALS;
        unload(last, first, lanes_used(job->batch, first), (job->batch->horizon + 1) * SIGNALS, SIGNALS,
               job->signals_gradient + t * SIGNALS);
        zeros(last, SIGNALS);
    }
#else
    (void)job;
    (void)first;
    (void)t;
    (void)p_delta;
#endif
}

/* In (E8) the initial state, above the floor, and where the loop is at rest count by themselves too. */
static inline void end_of_scenarios(const adjoint *job, long first, const lane *terms, const lane *x, lane *lambda,
                                    const lane *p_delta)
{
    const engine_batch *batch = job->batch;
    const int used = lanes_used(batch, first);
    lane rest[NX], gradient[NX], rest_delta[NX];
    zeros(rest_delta, NX);
    if (batch->contraction) {
        const lane term = terms[2 * (batch->rows - 1)];
        mask below;
        lane weight;
        load_rest(batch, first, used, rest);
        level(batch, x + batch->horizon * NX, rest, gradient);
        add_weighted(-term, gradient, rest_delta);
        below = batch->gamma * level(batch, x, rest, gradient) < batch->floor;
        weight = choose(below, all(0.0), batch->gamma * term);
        add_weighted(weight, gradient, rest_delta);
        add_weighted(-weight, gradient, lambda);
    }
    if (job->rest_gradient) {
        unload(rest_delta, first, used, NX, NX, job->rest_gradient);
    }
    unload(lambda, first, used, NX, NX, job->x0_gradient);
    unload(p_delta, first, used, NP, NP, job->p_gradient);
}

/* A constant `of_scenarios` makes two functions of it: gradients of scenarios are without cost and parameters of the policy. */
static inline void go_backward(const adjoint *job, long first, lane *p, const lane *terms, const adjoint_work *parts,
                               int of_scenarios)
{
    const engine_batch *batch = job->batch;
    lane lambda[NX], p_delta[AT_LEAST_ONE(NP)], later[NU];
    const lane *end = parts->x + batch->horizon * NX;
    long t;
    int i, k;
    start_backward(batch, first, terms, parts->x, end, lambda);
    zeros(p_delta, NP);
    zeros(later, NU);
    add_step_rows(batch, terms, batch->horizon, end, NULL, NULL, p, lambda, NULL, NULL, p_delta);
    step_of_signals(job, first, batch->horizon, p_delta);
    if (!of_scenarios) {
        add_end_slopes(end, p, lambda);
        zeros(parts->zero_deltas, ACTIVATIONS);
        zeros(parts->gradient, NTHETA);
    }
    for (t = batch->horizon - 1; t >= 0; t--) {
        const lane *x = parts->x + t * NX, *command = parts->u + t * NU;
        lane u[NU], v[NU], u_delta[NU], v_delta[NU], x_delta[NX], A[AT_LEAST_ONE(A_COUNT)], B[AT_LEAST_ONE(B_COUNT)];
        apply(job, command, u);
        apply(job, t ? command - NU : command, v);
        vary(batch, first, lanes_used(batch, first), t, p);
        plant_jacobians(x, u, p, A, B);
        if (of_scenarios) {
            step_of_scenarios(job, first, t, x, u, p, lambda, p_delta);
            zeros(x_delta, NX);
            zeros(u_delta, NU);
            zeros(v_delta, NU);
        } else {
            cost_slopes(batch, x, u, v, p, x_delta, u_delta, v_delta);
        }
        for (k = 0; k < A_COUNT; k++) {
            x_delta[A_column[k]] += A[k] * lambda[A_row[k]];
        }
        for (k = 0; k < B_COUNT; k++) {
            u_delta[B_column[k]] += B[k] * lambda[B_row[k]];
        }
        add_linear_adjoint(lambda, x_delta, u_delta);
        add_step_rows(batch, terms, t, x, u, v, p, x_delta, u_delta, v_delta, p_delta);
        pass_before(t, u_delta, v_delta, later);
        for (i = 0; job->saturated && i < NU; i++) {
            u_delta[i] = choose(within(batch, i, command[i]), u_delta[i], all(0.0));
        }
        add_state_rows(batch, terms, t, x, x_delta);
        add_command_rows(batch, terms, t, command, u_delta);
        backward_policy(job, parts, t, p, u_delta, x_delta, of_scenarios, p_delta);
        step_of_signals(job, first, t, p_delta);
        for (i = 0; i < NX; i++) {
            lambda[i] = x_delta[i];
        }
    }
    if (of_scenarios) {
        end_of_scenarios(job, first, terms, parts->x, lambda, p_delta);
    } else {
        backward_hidden(parts->theta, parts->net->zero, parts->zero_deltas);
        add_hidden(1, parts->net->zero, parts->zero_deltas, parts->gradient);
    }
}

/* The next scenarios from `first` on, at most eight. */
static void add_gradient(const adjoint *job, long first, const adjoint_work *parts, double *gradient)
{
    const engine_batch *batch = job->batch;
    const long end = first + SUMMED < batch->scenarios ? first + SUMMED : batch->scenarios;
    adjoint_work own = *parts;
    long begin;
    int k;
    for (begin = first; begin < end; begin += WIDTH, own.gradient += NTHETA) {
        const lane *terms = job->terms ? job->terms + begin / WIDTH * batch->rows * 2 : NULL;
        lane p[AT_LEAST_ONE(NP)];
        load(batch->p, begin, lanes_used(batch, begin), NP, NP, p);
        go_forward(job, begin, p, &own);
        go_backward(job, begin, p, terms, &own, 0);
    }
    for (k = 0; k < NTHETA; k++) {
        const lane *values = parts->gradient + k;
        double sum = 0.0;
        for (begin = first; begin < end; begin += WIDTH, values += NTHETA) {
            add_lanes(*values, lanes_used(batch, begin), &sum);
        }
        gradient[k] += sum;
    }
}

static void gradient_of_group(const void *argument, long item, lane *work)
{
    const adjoint *job = argument;
    const adjoint_work parts = divide(job, item / job->groups, work);
    const long group = item % job->groups, end = group_start(job->batch, job->groups, group + 1);
    long k;
    for (k = group_start(job->batch, job->groups, group); k < end; k++) {
        add_gradient(job, k * SUMMED, &parts, job->gradient + item * NTHETA);
    }
}

void engine_gradient(const engine_batch *batch, long count, const double *theta, const double *multipliers,
                     const double *curvatures, lane *terms, long saturated, long groups, double *cost,
                     double *gradient, long threads, lane *work)
{
    const adjoint job = {.batch = batch, .theta = theta, .terms = terms, .saturated = (int)saturated,
                         .groups = groups, .cost = cost, .gradient = gradient};
    if (terms) {
        const double *const matrices[2] = {multipliers, curvatures};
        engine_pack(batch, matrices, 2, (double)(batch->scenarios * batch->horizon), terms, threads);
    }
    engine_run(gradient_of_group, &job, count * groups, threads, work, engine_gradient_size(batch));
}

static void gradient_of_scenarios(const void *argument, long block, lane *work)
{
    const adjoint *job = argument;
    const engine_batch *batch = job->batch;
    const adjoint_work parts = divide(job, 0, work);
    const long first = block * WIDTH;
    const int used = lanes_used(batch, first);
    lane p[AT_LEAST_ONE(NP)];
    long row;
    load(batch->p, first, used, NP, NP, p);
    for (row = 0; row < batch->rows; row++) {
        load(job->multipliers + row, first, used, batch->rows, 1, parts.terms + 2 * row);
        parts.terms[2 * row + 1] = all(0.0);
    }
    go_forward(job, first, p, &parts);
    go_backward(job, first, p, parts.terms, &parts, 1);
}

long engine_scenario_gradients_size(const engine_batch *batch)
{
    return engine_gradient_size(batch) + 2 * batch->rows;
}

void engine_scenario_gradients(const engine_batch *batch, const double *theta, const double *multipliers, long saturated,
                               double *x0_gradient, double *p_gradient, double *signals_gradient, double *w_gradient,
                               double *rest_gradient, long threads, lane *work)
{
    const adjoint job = {.batch = batch, .theta = theta, .saturated = (int)saturated, .multipliers = multipliers,
                         .x0_gradient = x0_gradient, .p_gradient = p_gradient,
                         .signals_gradient = signals_gradient, .w_gradient = w_gradient,
                         .rest_gradient = rest_gradient};
    engine_run(gradient_of_scenarios, &job, block_count(batch), threads, work, engine_scenario_gradients_size(batch));
}
