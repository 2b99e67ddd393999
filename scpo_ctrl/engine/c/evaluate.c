/* Rollouts of many theta: metrics, differences of metrics, costs; and the trajectories of one. SPDX-License-Identifier: MIT */
#include "engine.h"

#define STEPS_AT_ONCE 8 /* rows wait in lanes until so many steps are done, then go to their scenarios together */

typedef struct {
    const engine_batch *batch;
    const double *theta;   /* [count][NTHETA] */
    const double *origin;  /* [scenarios][rows]; where given, (metrics - origin) / sigma is stored */
    double sigma;
    double *metrics;       /* [count][scenarios][rows], or NULL */
    double *cost;          /* [count][scenarios] mean over the steps, or NULL */
    double *X;             /* [scenarios][horizon + 1][NX], or NULL */
    double *U;             /* [scenarios][horizon][NU] */
} evaluation;

/* Where the metrics of a block of scenarios go. */
typedef struct {
    double *metrics;
    const double *origin;
    double sigma;
    long rows;
    int used;
} sink;

static void store(const sink *to, long first_row, long count, const lane *waiting)
{
    const double *values = (const double *)waiting;
    int l;
    long k;
    for (l = 0; l < to->used; l++) {
        double *metrics = to->metrics + l * to->rows + first_row;
        if (to->origin) {
            const double *origin = to->origin + l * to->rows + first_row;
            for (k = 0; k < count; k++) {
                metrics[k] = (values[k * WIDTH + l] - origin[k]) / to->sigma;
            }
        } else {
            for (k = 0; k < count; k++) {
                metrics[k] = values[k * WIDTH + l];
            }
        }
    }
}

/* The last rows of each scenario: (E7) and (E8). */
static void store_levels(const engine_batch *batch, const sink *to, const lane *start, const lane *end)
{
    lane rows[2];
    const lane V = level(batch, end, NULL);
    long count = 0;
    if (batch->terminal) {
        rows[count++] = V / batch->rho - 1.0;
    }
    if (batch->contraction) {
        rows[count++] = V - batch->gamma * level(batch, start, NULL);
    }
    store(to, batch->rows - count, count, rows);
}

/* Rolls out one block; a constant `saturated` makes two functions of it. */
static inline void roll(const engine_batch *batch, const double *theta, long first, int saturated, const sink *to,
                        double *cost, network *net)
{
    lane states[STEPS_AT_ONCE * AT_LEAST_ONE(STATE_ROWS)], commands[STEPS_AT_ONCE * COMMAND_ROWS];
    lane x0[NX], x[NX], p[AT_LEAST_ONE(NP)], sum = all(0.0);
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
        forward(batch, theta, x, net, command);
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
        if (cost) {
            sum += stage_cost(batch, x, u);
        }
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
    if (to->metrics && (batch->terminal || batch->contraction)) {
        store_levels(batch, to, x0, x);
    }
    for (i = 0; cost && i < used; i++) {
        cost[i] = sum[i] / (double)N;
    }
}

static inline void evaluate_item(const evaluation *job, long item, int saturated, network *net)
{
    const engine_batch *batch = job->batch;
    const long blocks = block_count(batch), k = item / blocks, first = (item % blocks) * WIDTH;
    const long size = batch->scenarios * batch->rows;
    const sink to = {
        .metrics = job->metrics ? job->metrics + k * size + first * batch->rows : NULL,
        .origin = job->origin ? job->origin + first * batch->rows : NULL,
        .sigma = job->sigma,
        .rows = batch->rows,
        .used = lanes_used(batch, first),
    };
    double *cost = job->cost ? job->cost + k * batch->scenarios + first : NULL;
    roll(batch, job->theta + k * NTHETA, first, saturated, &to, cost, net);
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

void engine_evaluate(const engine_batch *batch, long count, const double *theta, long saturated, const double *origin,
                     double sigma, double *metrics, double *cost, long threads, lane *work)
{
    const evaluation job = {.batch = batch, .theta = theta, .origin = origin, .sigma = sigma, .metrics = metrics,
                            .cost = cost};
    engine_run(saturated ? evaluate_saturated : evaluate_smooth, &job, count * block_count(batch), threads, work,
               engine_evaluate_size());
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
        forward(batch, job->theta, x, (network *)work, command);
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

/* squares[k] = sum over the rows of a matrix of their k-th entries squared, always in the order of the rows. */
typedef struct {
    const double *rows; /* [count][size] */
    long count, size;
    double *squares; /* [size] */
} columns;

#define COLUMNS_AT_ONCE 512

static void sum_squares(const void *argument, long item, lane *work)
{
    const columns *job = argument;
    const long start = item * COLUMNS_AT_ONCE;
    const long count = job->size - start < COLUMNS_AT_ONCE ? job->size - start : COLUMNS_AT_ONCE;
    long i, k;
    (void)work;
    for (k = 0; k < count; k++) {
        job->squares[start + k] = 0.0;
    }
    for (i = 0; i < job->count; i++) {
        const double *row = job->rows + i * job->size + start;
        for (k = 0; k < count; k++) {
            job->squares[start + k] += row[k] * row[k];
        }
    }
}

void engine_squares(const double *rows, long count, long size, double *squares, long threads)
{
    const columns job = {.rows = rows, .count = count, .size = size, .squares = squares};
    engine_run(sum_squares, &job, (size + COLUMNS_AT_ONCE - 1) / COLUMNS_AT_ONCE, threads, NULL, 0);
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
