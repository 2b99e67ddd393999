/* The Gauss-Newton matrix of the summed cost, and its gradient. SPDX-License-Identifier: MIT */
#include "sensitivity.h"

#define ROWS (NX + NU)                     /* of the Jacobian in one time step */
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

/* The next ROWS rows of the Jacobian, weighted by the roots of Q and R, and the gradient. */
static void collect(const engine_batch *batch, const lane *z, const lane *command, const lane *u,
                    const linearisation *loop, const gauss_newton_work *parts, lane *rows)
{
    long j;
    int i;
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

static void gauss_newton_of_block(const gauss_newton_job *job, long block, const gauss_newton_work *parts, double *H)
{
    const engine_batch *batch = job->batch;
    const long first = block * WIDTH, N = batch->horizon;
    const int used = lanes_used(batch, first);
    lane x[NX], p[AT_LEAST_ONE(NP)], cost = all(0.0);
    long t, count = 0;
    int i;
    load(batch->x0, first, used, NX, NX, x);
    load(batch->p, first, used, NP, NP, p);
    begin(job->theta, NTHETA, &parts->loop);
    zeros(parts->rows, WAITING * PADDED);
    zeros(parts->gradient, NTHETA);
    for (t = 0; t < N; t++) {
        lane z[NX], command[NU], u[NU], last[NX];
        linearisation loop;
        for (i = 0; i < NX; i++) {
            last[i] = x[i];
            z[i] = x[i] - batch->x_eq[i];
        }
        step(batch, job->theta, first, t, 1, p, &parts->loop, x, command, u, &loop);
        cost += stage_cost(batch, last, u);
        collect(batch, z, command, u, &loop, parts, parts->rows + count * PADDED);
        count += ROWS;
        if (count == WAITING || t == N - 1) {
            add_products(parts->rows, count, used, H);
            count = 0;
        }
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
    for (block = group_start(job->batch, job->groups, group); block < end; block++) {
        gauss_newton_of_block(job, block, &parts, job->H + group * NTHETA * NTHETA);
        for (k = 0; k < NTHETA; k++) {
            gradient[k] += sum_lanes(parts.gradient[k], lanes_used(job->batch, block * WIDTH));
        }
    }
}

long engine_gauss_newton_size(void)
{
    return loop_size(NTHETA) + WAITING * PADDED + NTHETA;
}

void engine_gauss_newton(const engine_batch *batch, const double *theta, long groups, double *cost, double *gradient,
                         double *H, long threads, lane *work)
{
    const gauss_newton_job job = {
        .batch = batch, .theta = theta, .groups = groups, .cost = cost, .gradient = gradient, .H = H};
    engine_run(gauss_newton_of_group, &job, groups, threads, work, engine_gauss_newton_size());
}
