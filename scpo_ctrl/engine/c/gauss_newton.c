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

/* A block on its way, beside the others whose numbers are summed with its own. */
typedef struct {
    sensitivity_work loop;
    lane *rows;     /* [WAITING][PADDED] of the Jacobian */
    lane *gradient; /* [NTHETA] */
    lane *before;   /* [NTHETA][NU] changes of the input before */
    long first;
    int used;
    lane x[NX], v[NU], p[AT_LEAST_ONE(NP)], cost;
} gauss_newton_block;

/* H += J' J of the waiting rows of some blocks, in tiles of 4 x 2 that stay in registers. */
static void add_products(const gauss_newton_block *blocks, int block_count, long count, double *H)
{
    long i, j, k, a, b;
    int block;
    for (i = 0; i < NTHETA; i += 4) {
        for (j = 0; j < i + 4; j += 2) {
            double total[4][2] = {{0.0}};
            for (block = 0; block < block_count; block++) {
                const lane *rows = blocks[block].rows;
                lane sum[4][2];
                zeros(&sum[0][0], 8);
                for (k = 0; k < count; k++) {
                    const lane *left = rows + k * PADDED + i, *right = rows + k * PADDED + j;
                    UNROLLED for (a = 0; a < 4; a++) {
                        UNROLLED for (b = 0; b < 2; b++) {
                            sum[a][b] += left[a] * right[b];
                        }
                    }
                }
                for (a = 0; a < 4; a++) {
                    for (b = 0; b < 2; b++) {
                        add_lanes(sum[a][b], blocks[block].used, &total[a][b]);
                    }
                }
            }
            for (a = 0; a < 4 && i + a < NTHETA; a++) {
                for (b = 0; b < 2 && j + b <= i + a; b++) {
                    H[(i + a) * NTHETA + j + b] += total[a][b];
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
                    const lane *p, const linearisation *loop, const gauss_newton_block *parts, lane *rows)
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
static void collect_end(const lane *x, const lane *p, const gauss_newton_block *parts, lane *rows)
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
                    const lane *p, const linearisation *loop, const gauss_newton_block *parts, lane *rows)
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

static void collect_end(const lane *x, const lane *p, const gauss_newton_block *parts, lane *rows)
{
    (void)x;
    (void)p;
    (void)parts;
    (void)rows;
}

#endif

static void start_block(const gauss_newton_job *job, long first, lane *work, gauss_newton_block *of)
{
    const engine_batch *batch = job->batch;
    of->loop = divide(NTHETA, work);
    of->rows = of->loop.rest;
    of->gradient = of->rows + WAITING * PADDED;
    of->before = of->gradient + NTHETA;
    of->first = first;
    of->used = lanes_used(batch, first);
    of->cost = all(0.0);
    zeros(of->v, NU);
    load(batch->x0, first, of->used, NX, NX, of->x);
    load(batch->p, first, of->used, NP, NP, of->p);
    begin(job->theta, NTHETA, &of->loop);
    zeros(of->rows, WAITING * PADDED);
    zeros(of->gradient, NTHETA);
}

/* A time step, whose rows of the Jacobian are written to `rows`. */
static void go_on(const gauss_newton_job *job, long t, gauss_newton_block *of, lane *rows)
{
    const engine_batch *batch = job->batch;
    lane command[NU], u[NU], last[NX];
    linearisation loop;
    copy(of->x, NX, last);
    vary(batch, of->first, of->used, t, of->p);
    step(batch, job->theta, of->first, t, 1, of->p, &of->loop, of->x, command, u, &loop);
    of->cost += stage_cost(batch, last, u, t ? of->v : u, of->p);
    collect(batch, t, last, command, u, t ? of->v : u, of->p, &loop, of, rows);
    keep_input(u, of->v);
}

static void finish(const gauss_newton_job *job, gauss_newton_block *of)
{
    const long N = job->batch->horizon;
    int l;
    vary(job->batch, of->first, of->used, N, of->p);
    add_end_cost(of->x, of->p, &of->cost);
    collect_end(of->x, of->p, of, of->rows);
    for (l = 0; l < of->used; l++) {
        job->cost[of->first + l] = of->cost[l] / (double)N;
    }
}

static long block_size(void)
{
    return loop_size(NTHETA) + WAITING * PADDED + NTHETA + NTHETA * NU;
}

/* The next scenarios from `first` on, at most eight. */
static void add_scenarios(const gauss_newton_job *job, long first, lane *work, double *gradient, double *H)
{
    const long N = job->batch->horizon;
    gauss_newton_block blocks[SUMMED / WIDTH];
    long t, k, waiting = 0;
    int b, count = 0;
    for (; count < SUMMED / WIDTH && first + count * WIDTH < job->batch->scenarios; count++) {
        start_block(job, first + count * WIDTH, work + count * block_size(), blocks + count);
    }
    for (t = 0; t < N; t++) {
        for (b = 0; b < count; b++) {
            go_on(job, t, blocks + b, blocks[b].rows + waiting * PADDED);
        }
        waiting += ROWS;
        if (waiting == WAITING || t == N - 1) {
            add_products(blocks, count, waiting, H);
            waiting = 0;
        }
    }
    for (b = 0; b < count; b++) {
        finish(job, blocks + b);
    }
    if (HAS_END) {
        add_products(blocks, count, ROWS, H);
    }
    for (k = 0; k < NTHETA; k++) {
        double sum = 0.0;
        for (b = 0; b < count; b++) {
            add_lanes(blocks[b].gradient[k], blocks[b].used, &sum);
        }
        gradient[k] += sum;
    }
}

static void gauss_newton_of_group(const void *argument, long group, lane *work)
{
    const gauss_newton_job *job = argument;
    const long end = group_start(job->batch, job->groups, group + 1);
    long k;
    for (k = group_start(job->batch, job->groups, group); k < end; k++) {
        add_scenarios(job, k * SUMMED, work, job->gradient + group * NTHETA, job->H + group * NTHETA * NTHETA);
    }
}

long engine_gauss_newton_size(void)
{
    return SUMMED / WIDTH * block_size();
}

void engine_gauss_newton(const engine_batch *batch, const double *theta, long groups, double *cost, double *gradient,
                         double *H, long threads, lane *work)
{
    const gauss_newton_job job = {
        .batch = batch, .theta = theta, .groups = groups, .cost = cost, .gradient = gradient, .H = H};
    engine_run(gauss_newton_of_group, &job, groups, threads, work, engine_gauss_newton_size());
}
