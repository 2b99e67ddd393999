/* Rollouts of many theta: metrics, differences of metrics, costs; and the trajectories of one. SPDX-License-Identifier: MIT */
#include "engine.h"
#include "pack.h"
#include "threads.h"

#define STEPS_AT_ONCE 8 /* rows wait in lanes until so many steps are done, then go to their scenarios together */
#define THETAS_AT_ONCE 8 /* rolled out by one thread after each other, their squares summed up in this order */

typedef struct {
    const engine_batch *batch;
    long count;
    const double *theta;   /* [count][NTHETA] */
    const lane *origin;    /* [blocks][rows]; where given, (metrics - origin) / sigma is stored */
    double per_sigma;      /* 1 / sigma */
    lane *squares;         /* [chunks of theta][blocks][rows] sums of the differences squared */
    double *sums;          /* [scenarios][rows] the same of all theta */
    double *metrics;       /* [count][scenarios][rows], or NULL */
    double *cost;          /* [count][scenarios] mean over the steps, or NULL */
    double *X;             /* [scenarios][horizon + 1][NX], or NULL */
    double *U;             /* [scenarios][horizon][NU] */
} evaluation;

/* Where the metrics of a block of scenarios go. */
typedef struct {
    double *metrics;
    const lane *origin;
    double per_sigma;
    lane *squares;
    long rows;
    int used;
} sink;

static void store(const sink *to, long first_row, long count, lane *waiting)
{
    const double *values = (const double *)waiting;
    int l;
    long k;
    for (k = 0; to->origin && k < count; k++) {
        waiting[k] = (waiting[k] - to->origin[first_row + k]) * to->per_sigma;
        to->squares[first_row + k] += waiting[k] * waiting[k];
    }
    for (l = 0; l < to->used; l++) {
        double *metrics = to->metrics + l * to->rows + first_row;
        for (k = 0; k < count; k++) {
            metrics[k] = values[k * WIDTH + l];
        }
    }
}

/* The last rows of each scenario: (E7) and (E8). */
static void store_levels(const engine_batch *batch, long first, const sink *to, const lane *start, const lane *end)
{
    lane rows[2], rest[NX];
    long count = 0;
    if (batch->terminal) {
        rows[count++] = level(batch, end, NULL, NULL) / batch->rho - 1.0;
    }
    if (batch->contraction) {
        load_rest(batch, first, to->used, rest);
        rows[count++] = level(batch, end, rest, NULL) - contraction_limit(batch, start, rest);
    }
    store(to, batch->rows - count, count, rows);
}

/* The metrics of a time step that are expressions. */
static inline void store_step(const engine_batch *batch, const sink *to, long t, const lane *x, const lane *u,
                              const lane *v, const lane *p)
{
#ifdef CONSTRAINTS
    lane rows[AT_LEAST_ONE(STEP_ROWS)];
    if (!to->metrics) {
        return;
    }
    if (t == batch->horizon) {
        end_metrics(x, p, rows);
    } else {
        step_metrics(x, u, v, p, rows);
    }
    store(to, step_start(batch, t), step_count(batch, t), rows);
#else
    (void)batch;
    (void)to;
    (void)t;
    (void)x;
    (void)u;
    (void)v;
    (void)p;
#endif
}

/* Rolls out one block; a constant `saturated` makes two functions of it. */
static inline void roll(const engine_batch *batch, const double *theta, long first, int saturated, const sink *to,
                        double *cost, network *net)
{
    lane states[STEPS_AT_ONCE * AT_LEAST_ONE(STATE_ROWS)], commands[STEPS_AT_ONCE * COMMAND_ROWS];
    lane x0[NX], x[NX], v[NU] = {{0}}, p[AT_LEAST_ONE(NP)], sum = all(0.0);
    const long N = batch->horizon, command_start = (N + 1) * STATE_ROWS;
    const int used = lanes_used(batch, first), path = to->metrics && batch->path;
    long t;
    int i;
    load(batch->x0, first, used, NX, NX, x0);
    load(batch->p, first, used, NP, NP, p);
    hoist(theta, net);
    for (i = 0; i < NX; i++) {
        x[i] = x0[i];
    }
    for (t = 0; t < N; t++) {
        const long waiting = t % STEPS_AT_ONCE;
        lane command[NU], u[NU], next[NX];
        vary(batch, first, used, t, p);
        forward(batch, theta, x, p, saturated, net, command);
        if (path) {
            state_rows(batch, x, states + waiting * STATE_ROWS);
            command_rows(batch, command, commands + waiting * COMMAND_ROWS);
            if (waiting == STEPS_AT_ONCE - 1 || t == N - 1) {
                store(to, (t - waiting) * STATE_ROWS, (waiting + 1) * STATE_ROWS, states);
                if (batch->command) {
                    store(to, command_start + (t - waiting) * COMMAND_ROWS, (waiting + 1) * COMMAND_ROWS, commands);
                }
            }
        }
        saturate(batch, command, u);
        first_input(t, saturated ? u : command, v);
        store_step(batch, to, t, x, saturated ? u : command, v, p);
        if (cost) {
            sum += stage_cost(batch, x, u, v, p);
        }
        keep_input(saturated ? u : command, v);
        plant(x, saturated ? u : command, p, next);
        disturb(batch, first, used, t, next);
        for (i = 0; i < NX; i++) {
            x[i] = next[i];
        }
    }
    if (path) {
        state_rows(batch, x, states);
        store(to, N * STATE_ROWS, STATE_ROWS, states);
    }
    vary(batch, first, used, N, p);
    store_step(batch, to, N, x, v, v, p);
    if (to->metrics && (batch->terminal || batch->contraction)) {
        store_levels(batch, first, to, x0, x);
    }
    if (cost) {
        add_end_cost(x, p, &sum);
    }
    for (i = 0; cost && i < used; i++) {
        cost[i] = sum[i] / (double)N;
    }
}

static inline void evaluate_item(const evaluation *job, long item, int saturated, network *net)
{
    const engine_batch *batch = job->batch;
    const long blocks = block_count(batch), chunk = item / blocks, block = item % blocks, first = block * WIDTH;
    const long size = batch->scenarios * batch->rows, start = chunk * THETAS_AT_ONCE;
    const long end = start + THETAS_AT_ONCE < job->count ? start + THETAS_AT_ONCE : job->count;
    sink to = {.per_sigma = job->per_sigma, .rows = batch->rows, .used = lanes_used(batch, first)};
    long k;
    if (job->origin) {
        to.origin = job->origin + block * batch->rows;
        to.squares = job->squares + item * batch->rows;
        zeros(to.squares, batch->rows);
    }
    for (k = start; k < end; k++) {
        to.metrics = job->metrics ? job->metrics + k * size + first * batch->rows : NULL;
        roll(batch, job->theta + k * NTHETA, first, saturated, &to,
             job->cost ? job->cost + k * batch->scenarios + first : NULL, net);
    }
}

static void evaluate_saturated(const void *job, long item, lane *work)
{
    evaluate_item(job, item, 1, (network *)work);
}

static void evaluate_smooth(const void *job, long item, lane *work)
{
    evaluate_item(job, item, 0, (network *)work);
}

long engine_evaluate_size(void)
{
    return sizeof(network) / sizeof(lane);
}

static void evaluate(const evaluation *job, long saturated, long threads, lane *work)
{
    engine_run(saturated ? evaluate_saturated : evaluate_smooth, job,
               (job->count + THETAS_AT_ONCE - 1) / THETAS_AT_ONCE * block_count(job->batch), threads, work,
               engine_evaluate_size());
}

void engine_evaluate(const engine_batch *batch, long count, const double *theta, long saturated, double *metrics,
                     double *cost, long threads, lane *work)
{
    const evaluation job = {.batch = batch, .count = count, .theta = theta, .metrics = metrics, .cost = cost};
    evaluate(&job, saturated, threads, work);
}

/* Adds up the squares of the chunks, for one block. */
static void add_squares(const void *argument, long block, lane *work)
{
    const evaluation *job = argument;
    const long rows = job->batch->rows, stride = block_count(job->batch) * rows;
    const long chunks = (job->count + THETAS_AT_ONCE - 1) / THETAS_AT_ONCE, first = block * WIDTH;
    const int used = lanes_used(job->batch, first);
    long row, chunk;
    int l;
    (void)work;
    for (row = 0; row < rows; row++) {
        const lane *squares = job->squares + block * rows + row;
        lane sum = all(0.0);
        for (chunk = 0; chunk < chunks; chunk++) {
            sum += squares[chunk * stride];
        }
        for (l = 0; l < used; l++) {
            job->sums[(first + l) * rows + row] = sum[l];
        }
    }
}

/* The sampled gradients (E2), and for each metric the sum of their squares. */
void engine_differences(const engine_batch *batch, long count, const double *theta, long saturated, const double *origin,
                        double sigma, double *differences, double *squares, lane *packed, long threads, lane *work)
{
    const evaluation job = {.batch = batch, .count = count, .theta = theta, .origin = packed, .per_sigma = 1.0 / sigma,
                            .squares = packed + block_count(batch) * batch->rows, .sums = squares,
                            .metrics = differences};
    engine_pack(batch, &origin, 1, packed, threads);
    evaluate(&job, saturated, threads, work);
    engine_run(add_squares, &job, block_count(batch), threads, NULL, 0);
}

static void trajectory(const void *argument, long block, lane *work)
{
    const evaluation *job = argument;
    const engine_batch *batch = job->batch;
    const long N = batch->horizon, first = block * WIDTH;
    const int used = lanes_used(batch, first);
    lane x[NX], p[AT_LEAST_ONE(NP)];
    long t;
    int i, l;
    load(batch->x0, first, used, NX, NX, x);
    load(batch->p, first, used, NP, NP, p);
    hoist(job->theta, (network *)work);
    for (t = 0; t <= N; t++) {
        lane command[NU], u[NU], next[NX];
        for (l = 0; l < used; l++) {
            for (i = 0; i < NX; i++) {
                job->X[((first + l) * (N + 1) + t) * NX + i] = x[i][l];
            }
        }
        if (t == N) {
            break;
        }
        vary(batch, first, used, t, p);
        forward(batch, job->theta, x, p, 1, (network *)work, command);
        for (l = 0; l < used; l++) {
            for (i = 0; i < NU; i++) {
                job->U[((first + l) * N + t) * NU + i] = command[i][l];
            }
        }
        saturate(batch, command, u);
        plant(x, u, p, next);
        disturb(batch, first, used, t, next);
        for (i = 0; i < NX; i++) {
            x[i] = next[i];
        }
    }
}

void engine_trajectories(const engine_batch *batch, const double *theta, double *X, double *U, long threads, lane *work)
{
    const evaluation job = {.batch = batch, .theta = theta, .X = X, .U = U};
    engine_run(trajectory, &job, block_count(batch), threads, work, engine_evaluate_size());
}

/* For tests: tanh, sin and cos of `count` lanes. */
void engine_functions(const lane *x, long count, lane *tanh_x, lane *sin_x, lane *cos_x)
{
    long k;
    for (k = 0; k < count; k++) {
        tanh_x[k] = lane_tanh(x[k]);
        sin_x[k] = lane_sin(x[k]);
        cos_x[k] = lane_cos(x[k]);
    }
}
