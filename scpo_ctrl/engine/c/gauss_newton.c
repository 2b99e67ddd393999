/* The Gauss-Newton matrix of the summed cost, and its gradient. SPDX-License-Identifier: MIT */
#include "sensitivity.h"
#include "threads.h"

#ifdef COST
#define ROWS AT_LEAST_ONE(RESIDUALS > END_RESIDUALS ? RESIDUALS : END_RESIDUALS)
#define HAS_END 1
#else
#define ROWS (NX + NU)                     /* of the Jacobian in one time step */
#define HAS_END 0
#endif
#define PADDED ((NTHETA + 3) / 4 * 4)      /* columns of the Jacobian */
#define MOST (AT_LEAST_ONE(4096 / PADDED)) /* rows that wait, for them to stay in the cache */
#define WAITING (MOST > ROWS ? MOST / ROWS * ROWS : ROWS)

typedef struct {
    const engine_batch *batch;
    const double *theta;
    long groups;
    double *cost;     /* [scenarios] mean over the steps */
    double *gradient; /* [groups][NTHETA] of the sum over scenarios and steps, zero at first */
    double *H;        /* [groups][NTHETA][NTHETA] lower triangle of the sum of J' J, zero at first */
} gauss_newton_job;

typedef struct {
    sensitivity_work loop;
    lane *rows;     /* [WAITING][PADDED] of the Jacobian */
    lane *gradient; /* [NTHETA] */
    lane *before;   /* [NTHETA][NU] changes of the input before */
} gauss_newton_work;

/* H += J' J of the waiting rows, in tiles of 4 x 4 that stay in registers. */
static void add_products(const lane *rows, long count, int used, double *H)
{
    long i, j, k, a, b;
    for (i = 0; i < NTHETA; i += 4) {
        for (j = 0; j <= i; j += 4) {
            lane sum[4][4];
            zeros(&sum[0][0], 16);
            for (k = 0; k < count; k++) {
                const lane *left = rows + k * PADDED + i, *right = rows + k * PADDED + j;
#pragma GCC unroll 4
                for (a = 0; a < 4; a++) {
#pragma GCC unroll 4
                    for (b = 0; b < 4; b++) {
                        sum[a][b] += left[a] * right[b];
                    }
                }
            }
            for (a = 0; a < 4 && i + a < NTHETA; a++) {
                for (b = 0; b < 4 && j + b <= i + a; b++) {
                    H[(i + a) * NTHETA + j + b] += sum_lanes(sum[a][b], used);
                }
            }
        }
    }
}

#ifdef COST

/* Puts `count` rows of one direction behind each other into the Jacobian. */
static inline void put(const lane *values, int count, long j, lane *rows)
{
    int i;
    for (i = 0; i < count; i++) {
        rows[i * PADDED + j] = values[i];
    }
}

static inline lane along(const lane *gradient, const lane *change, int count)
{
    lane sum = all(0.0);
    int i;
    for (i = 0; i < count; i++) {
        sum += gradient[i] * change[i];
    }
    return sum;
}

/* The next ROWS rows of the Jacobian, those of the residuals of a step, and the gradient. */
static void collect(const engine_batch *batch, long t, const lane *x, const lane *command, const lane *u, const lane *v,
                    const lane *p, const linearisation *loop, const gauss_newton_work *parts, lane *rows)
{
    lane by_x[AT_LEAST_ONE(STEP_RESIDUAL_BY_X_COUNT)], by_u[AT_LEAST_ONE(STEP_RESIDUAL_BY_U_COUNT)];
    lane by_v[AT_LEAST_ONE(STEP_RESIDUAL_BY_V_COUNT)], x_slope[NX], u_slope[NU], v_slope[NU];
    long j;
    int i;
    step_residual_slopes(x, u, v, p, by_x, by_u, by_v);
    step_cost_gradient(x, u, v, p, x_slope, u_slope, v_slope);
    zeros(rows, ROWS * PADDED);
    for (j = 0; j < NTHETA; j++) {
        lane *dx = parts->loop.S + j * NX, *dv = parts->before + j * NU;
        lane du[NU], change[AT_LEAST_ONE(RESIDUALS)];
        command_change(parts->loop.policy, NTHETA, j, loop->C, dx, du);
        for (i = 0; i < NU; i++) {
            du[i] = choose(within(batch, i, command[i]), du[i], all(0.0));
            dv[i] = t ? dv[i] : du[i];
        }
        zeros(change, RESIDUALS);
        add_product(STEP_RESIDUAL_BY_X_COUNT, step_residual_by_x_row, step_residual_by_x_column, by_x, dx, change);
        add_product(STEP_RESIDUAL_BY_U_COUNT, step_residual_by_u_row, step_residual_by_u_column, by_u, du, change);
        add_product(STEP_RESIDUAL_BY_V_COUNT, step_residual_by_v_row, step_residual_by_v_column, by_v, dv, change);
        put(change, RESIDUALS, j, rows);
        parts->gradient[j] += along(x_slope, dx, NX) + along(u_slope, du, NU) + along(v_slope, dv, NU);
        for (i = 0; i < NU; i++) {
            dv[i] = du[i];
        }
        advance(loop, du, dx);
    }
}

/* The same of the terminal residuals. */
static void collect_end(const lane *x, const lane *p, const gauss_newton_work *parts, lane *rows)
{
    lane by_x[AT_LEAST_ONE(END_RESIDUAL_BY_X_COUNT)], slope[NX];
    long j;
    end_residual_slopes(x, p, by_x);
    end_cost_gradient(x, p, slope);
    zeros(rows, ROWS * PADDED);
    for (j = 0; j < NTHETA; j++) {
        const lane *dx = parts->loop.S + j * NX;
        lane change[AT_LEAST_ONE(END_RESIDUALS)];
        zeros(change, END_RESIDUALS);
        add_product(END_RESIDUAL_BY_X_COUNT, end_residual_by_x_row, end_residual_by_x_column, by_x, dx, change);
        put(change, END_RESIDUALS, j, rows);
        parts->gradient[j] += along(slope, dx, NX);
    }
}

#else

/* The next ROWS rows of the Jacobian, weighted by the roots of Q and R, and the gradient. */
static void collect(const engine_batch *batch, long t, const lane *x, const lane *command, const lane *u, const lane *v,
                    const lane *p, const linearisation *loop, const gauss_newton_work *parts, lane *rows)
{
    lane z[NX];
    long j;
    int i;
    (void)t;
    (void)v;
    (void)p;
    for (i = 0; i < NX; i++) {
        z[i] = x[i] - batch->x_eq[i];
    }
    for (j = 0; j < NTHETA; j++) {
        lane *dx = parts->loop.S + j * NX;
        lane du[NU], sum = parts->gradient[j];
        command_change(parts->loop.policy, NTHETA, j, loop->C, dx, du);
        for (i = 0; i < NX; i++) {
            rows[i * PADDED + j] = sqrt(batch->Q[i]) * dx[i];
            sum += 2.0 * batch->Q[i] * z[i] * dx[i];
        }
        for (i = 0; i < NU; i++) {
            du[i] = choose(within(batch, i, command[i]), du[i], all(0.0));
            rows[(NX + i) * PADDED + j] = sqrt(batch->R[i]) * du[i];
            sum += 2.0 * batch->R[i] * (u[i] - batch->u_eq[i]) * du[i];
        }
        parts->gradient[j] = sum;
        advance(loop, du, dx);
    }
}

static void collect_end(const lane *x, const lane *p, const gauss_newton_work *parts, lane *rows)
{
    (void)x;
    (void)p;
    (void)parts;
    (void)rows;
}

#endif

static void gauss_newton_of_block(const gauss_newton_job *job, long block, const gauss_newton_work *parts, double *H)
{
    const engine_batch *batch = job->batch;
    const long first = block * WIDTH, N = batch->horizon;
    const int used = lanes_used(batch, first);
    lane x[NX], v[NU] = {{0}}, p[AT_LEAST_ONE(NP)], cost = all(0.0);
    long t, count = 0;
    int i;
    load(batch->x0, first, used, NX, NX, x);
    load(batch->p, first, used, NP, NP, p);
    begin(job->theta, NTHETA, &parts->loop);
    zeros(parts->rows, WAITING * PADDED);
    zeros(parts->gradient, NTHETA);
    for (t = 0; t < N; t++) {
        lane command[NU], u[NU], last[NX];
        linearisation loop;
        for (i = 0; i < NX; i++) {
            last[i] = x[i];
        }
        vary(batch, first, used, t, p);
        step(batch, job->theta, first, t, 1, p, &parts->loop, x, command, u, &loop);
        cost += stage_cost(batch, last, u, t ? v : u, p);
        collect(batch, t, last, command, u, t ? v : u, p, &loop, parts, parts->rows + count * PADDED);
        keep_input(u, v);
        count += ROWS;
        if (count == WAITING || t == N - 1) {
            add_products(parts->rows, count, used, H);
            count = 0;
        }
    }
    vary(batch, first, used, N, p);
    add_end_cost(x, p, &cost);
    if (HAS_END) {
        collect_end(x, p, parts, parts->rows);
        add_products(parts->rows, ROWS, used, H);
    }
    for (i = 0; i < used; i++) {
        job->cost[first + i] = cost[i] / (double)N;
    }
}

static void gauss_newton_of_group(const void *argument, long group, lane *work)
{
    const gauss_newton_job *job = argument;
    gauss_newton_work parts = {.loop = divide(NTHETA, work)};
    const long end = group_start(job->batch, job->groups, group + 1);
    double *gradient = job->gradient + group * NTHETA;
    long block, k;
    parts.rows = parts.loop.rest;
    parts.gradient = parts.rows + WAITING * PADDED;
    parts.before = parts.gradient + NTHETA;
    for (block = group_start(job->batch, job->groups, group); block < end; block++) {
        gauss_newton_of_block(job, block, &parts, job->H + group * NTHETA * NTHETA);
        for (k = 0; k < NTHETA; k++) {
            gradient[k] += sum_lanes(parts.gradient[k], lanes_used(job->batch, block * WIDTH));
        }
    }
}

long engine_gauss_newton_size(void)
{
    return loop_size(NTHETA) + WAITING * PADDED + NTHETA + NTHETA * NU;
}

void engine_gauss_newton(const engine_batch *batch, const double *theta, long groups, double *cost, double *gradient,
                         double *H, long threads, lane *work)
{
    const gauss_newton_job job = {
        .batch = batch, .theta = theta, .groups = groups, .cost = cost, .gradient = gradient, .H = H};
    engine_run(gauss_newton_of_group, &job, groups, threads, work, engine_gauss_newton_size());
}
