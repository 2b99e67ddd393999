/* Rollouts of many theta: metrics, differences of metrics, costs; and the trajectories of one. SPDX-License-Identifier: MIT */
#include "engine.h"
#include "pack.h"
#include "threads.h"

#define STEPS_AT_ONCE 8 /* rows wait in lanes until so many steps are done, then go to their scenarios together */
#define BLOCKS_AT_ONCE (16 / WIDTH) /* rolled out side by side */
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

static long group_count(const engine_batch *batch)
{
    return (block_count(batch) + BLOCKS_AT_ONCE - 1) / BLOCKS_AT_ONCE;
}

/* Where the metrics of a block of scenarios go. */
typedef struct {
    double *metrics;
    const lane *origin;
    double per_sigma;
    lane *squares;
    long rows;
    int used;
} sink;

/* From lanes to scenarios, as many rows at a time as fill a lane. */
static void store(const sink *to, long first_row, long count, lane *waiting)
{
    long row;
    int l, k;
    for (row = 0; to->origin && row < count; row++) {
        waiting[row] = (waiting[row] - to->origin[first_row + row]) * to->per_sigma;
        to->squares[first_row + row] += waiting[row] * waiting[row];
    }
    for (row = 0; row < count; row += WIDTH) {
        const double *values = (const double *)(waiting + row);
        double *metrics = to->metrics + first_row + row;
        const int rows = (int)(count - row < WIDTH ? count - row : WIDTH);
        for (l = 0; l < to->used; l++, metrics += to->rows) {
            if (rows == WIDTH) {
                unaligned_lane whole;
                UNROLLED for (k = 0; k < WIDTH; k++) {
                    whole[k] = values[k * WIDTH + l];
                }
                *(unaligned_lane *)metrics = whole;
            } else {
                for (k = 0; k < rows; k++) {
                    metrics[k] = values[k * WIDTH + l];
                }
            }
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

/* A block of scenarios on its way. */
typedef struct {
    long first;
    sink to;
    double *cost;
    lane x0[NX], x[NX], v[NU], p[AT_LEAST_ONE(NP)], sum;
    lane states[STEPS_AT_ONCE * AT_LEAST_ONE(STATE_ROWS)], commands[STEPS_AT_ONCE * COMMAND_ROWS];
} rollout;

/* Blocks of the same theta: while a step of one waits for its results, the next one has work. */
typedef struct {
    rollout blocks[BLOCKS_AT_ONCE];
    network net;
} rollouts;

static void start(const engine_batch *batch, rollout *of)
{
    load(batch->x0, of->first, of->to.used, NX, NX, of->x0);
    load(batch->p, of->first, of->to.used, NP, NP, of->p);
    copy(of->x0, NX, of->x);
    zeros(of->v, NU);
    of->sum = all(0.0);
}

/* Keeps the bounds' metrics of time t < N, and stores them now and then. */
static inline void keep_rows(const engine_batch *batch, long t, const lane *command, rollout *of)
{
    const long N = batch->horizon, waiting = t % STEPS_AT_ONCE, begun = t - waiting;
    state_rows(batch, of->x, of->states + waiting * STATE_ROWS);
    command_rows(batch, command, of->commands + waiting * COMMAND_ROWS);
    if (waiting == STEPS_AT_ONCE - 1 || t == N - 1) {
        store(&of->to, begun * STATE_ROWS, (waiting + 1) * STATE_ROWS, of->states);
        if (batch->command) {
            store(&of->to, (N + 1) * STATE_ROWS + begun * COMMAND_ROWS, (waiting + 1) * COMMAND_ROWS, of->commands);
        }
    }
}

static inline void step(const engine_batch *batch, const double *theta, long t, int saturated, network *net,
                        rollout *of)
{
    lane command[NU], u[NU], next[NX];
    vary(batch, of->first, of->to.used, t, of->p);
    forward(batch, theta, of->x, of->p, saturated, net, command);
    if (of->to.metrics && batch->path) {
        keep_rows(batch, t, command, of);
    }
    saturate(batch, command, u);
    first_input(t, saturated ? u : command, of->v);
    store_step(batch, &of->to, t, of->x, saturated ? u : command, of->v, of->p);
    if (of->cost) {
        of->sum += stage_cost(batch, of->x, u, of->v, of->p);
    }
    keep_input(saturated ? u : command, of->v);
    plant(of->x, saturated ? u : command, of->p, next);
    disturb(batch, of->first, of->to.used, t, next);
    copy(next, NX, of->x);
}

static void finish(const engine_batch *batch, rollout *of)
{
    const long N = batch->horizon;
    int l;
    if (of->to.metrics && batch->path) {
        state_rows(batch, of->x, of->states);
        store(&of->to, N * STATE_ROWS, STATE_ROWS, of->states);
    }
    vary(batch, of->first, of->to.used, N, of->p);
    store_step(batch, &of->to, N, of->x, of->v, of->v, of->p);
    if (of->to.metrics && (batch->terminal || batch->contraction)) {
        store_levels(batch, of->first, &of->to, of->x0, of->x);
    }
    if (of->cost) {
        add_end_cost(of->x, of->p, &of->sum);
    }
    for (l = 0; of->cost && l < of->to.used; l++) {
        of->cost[l] = of->sum[l] / (double)N;
    }
}

/* Rolls out some blocks; a constant `saturated` makes two functions of it. */
static inline void roll(const engine_batch *batch, const double *theta, int saturated, long count, rollouts *all_of)
{
    long t, k;
    hoist(theta, &all_of->net);
    for (k = 0; k < count; k++) {
        start(batch, all_of->blocks + k);
    }
    for (t = 0; t < batch->horizon; t++) {
        for (k = 0; k < count; k++) {
            step(batch, theta, t, saturated, &all_of->net, all_of->blocks + k);
        }
    }
    for (k = 0; k < count; k++) {
        finish(batch, all_of->blocks + k);
    }
}

static inline void evaluate_item(const evaluation *job, long item, int saturated, rollouts *work)
{
    const engine_batch *batch = job->batch;
    const long rows = batch->rows, size = batch->scenarios * rows, blocks = block_count(batch);
    const long groups = group_count(batch), chunk = item / groups, begin = item % groups * BLOCKS_AT_ONCE;
    const long count = blocks - begin < BLOCKS_AT_ONCE ? blocks - begin : BLOCKS_AT_ONCE;
    const long end = (chunk + 1) * THETAS_AT_ONCE < job->count ? (chunk + 1) * THETAS_AT_ONCE : job->count;
    long k, b;
    for (b = 0; b < count; b++) {
        rollout *of = work->blocks + b;
        of->first = (begin + b) * WIDTH;
        of->to = (sink){.per_sigma = job->per_sigma, .rows = rows, .used = lanes_used(batch, of->first)};
        if (job->origin) {
            of->to.origin = job->origin + (begin + b) * rows;
            of->to.squares = job->squares + (chunk * blocks + begin + b) * rows;
            zeros(of->to.squares, rows);
        }
    }
    for (k = chunk * THETAS_AT_ONCE; k < end; k++) {
        for (b = 0; b < count; b++) {
            rollout *of = work->blocks + b;
            of->to.metrics = job->metrics ? job->metrics + k * size + of->first * rows : NULL;
            of->cost = job->cost ? job->cost + k * batch->scenarios + of->first : NULL;
        }
        roll(batch, job->theta + k * NTHETA, saturated, count, work);
    }
}

static void evaluate_saturated(const void *job, long item, lane *work)
{
    evaluate_item(job, item, 1, (rollouts *)work);
}

static void evaluate_smooth(const void *job, long item, lane *work)
{
    evaluate_item(job, item, 0, (rollouts *)work);
}

/* Of a thread, in lanes. */
long engine_evaluate_size(void)
{
    return sizeof(rollouts) / sizeof(lane);
}

static void evaluate(const evaluation *job, long saturated, long threads, lane *work)
{
    const long items = (job->count + THETAS_AT_ONCE - 1) / THETAS_AT_ONCE * group_count(job->batch);
    engine_run(saturated ? evaluate_saturated : evaluate_smooth, job, items, threads, work, engine_evaluate_size());
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
    engine_pack(batch, &origin, 1, 1.0, packed, threads);
    evaluate(&job, saturated, threads, work);
    engine_run(add_squares, &job, block_count(batch), threads, NULL, 0);
}

static void trajectory(const void *argument, long block, lane *work)
{
    const evaluation *job = argument;
    const engine_batch *batch = job->batch;
    network *net = (network *)work;
    const long N = batch->horizon, first = block * WIDTH;
    const int used = lanes_used(batch, first);
    lane x[NX], p[AT_LEAST_ONE(NP)];
    long t;
    int i, l;
    load(batch->x0, first, used, NX, NX, x);
    load(batch->p, first, used, NP, NP, p);
    hoist(job->theta, net);
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
        forward(batch, job->theta, x, p, 1, net, command);
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

/* For tests: tanh, sin and cos of `count` lanes of eight. */
void engine_functions(const lane *x, long count, lane *tanh_x, lane *sin_x, lane *cos_x)
{
    long k;
    for (k = 0; k < count * (8 / WIDTH); k++) {
        tanh_x[k] = lane_tanh(x[k]);
        sin_x[k] = lane_sin(x[k]);
        cos_x[k] = lane_cos(x[k]);
    }
}
