/* Derivatives of the metrics along directions. SPDX-License-Identifier: MIT */
#include "sensitivity.h"

typedef struct {
    const engine_batch *batch;
    const double *theta;
    long directions;
    const double *D; /* [directions][NTHETA]; NULL for the full basis */
    long saturated;
    double *jacobian; /* [directions][scenarios][rows] */
} forward_job;

static inline void store_states(const engine_batch *batch, long t, int used, const lane *dx, double *rows)
{
    int i, l;
    rows += t * STATE_ROWS;
    for (l = 0; batch->path && l < used; l++) {
        for (i = 0; i < HIGH_COUNT; i++) {
            rows[l * batch->rows + i] = dx[high[i]][l];
        }
        for (i = 0; i < LOW_COUNT; i++) {
            rows[l * batch->rows + HIGH_COUNT + i] = -dx[low[i]][l];
        }
    }
}

static inline void store_commands(const engine_batch *batch, long t, int used, const lane *du, double *rows)
{
    int i, l;
    rows += (batch->horizon + 1) * STATE_ROWS + t * COMMAND_ROWS;
    for (l = 0; batch->path && batch->command && l < used; l++) {
        for (i = 0; i < NU; i++) {
            rows[l * batch->rows + i] = du[i][l];
            rows[l * batch->rows + NU + i] = -du[i][l];
        }
    }
}

static void store_level_changes(const engine_batch *batch, const lane *own_gradient, const lane *gradient, int used,
                                const lane *dx, double *rows)
{
    lane own = all(0.0), change = all(0.0);
    int i, l;
    for (i = 0; i < NX; i++) {
        own += own_gradient[i] * dx[i];
        change += gradient[i] * dx[i];
    }
    for (l = 0; l < used; l++) {
        double *end = rows + (l + 1) * batch->rows;
        if (batch->contraction) {
            *--end = own[l];
        }
        if (batch->terminal) {
            *--end = change[l] / batch->rho;
        }
    }
}

static void jacobian_of_block(const void *argument, long block, lane *work)
{
    const forward_job *job = argument;
    const engine_batch *batch = job->batch;
    const sensitivity_work parts = divide(job->directions, work);
    const long first = block * WIDTH, size = batch->scenarios * batch->rows, N = batch->horizon;
    const int used = lanes_used(batch, first);
    double *rows = job->jacobian + first * batch->rows;
    const lane *along = job->D ? parts.along : parts.policy;
    lane x[NX], p[AT_LEAST_ONE(NP)], rest[NX], own_gradient[NX], gradient[NX];
    long t, j;
    int i;
    load(batch->x0, first, used, NX, NX, x);
    load(batch->p, first, used, NP, NP, p);
    begin(job->theta, job->directions, &parts);
    for (t = 0; t < N; t++) {
        lane command[NU], u[NU], du[NU];
        linearisation loop;
        step(batch, job->theta, first, t, job->saturated, p, &parts, x, command, u, &loop);
        for (i = 0; job->D && i < NU; i++) {
            project(job->D, job->directions, parts.policy + i * NTHETA, parts.along + i * job->directions);
        }
        for (j = 0; j < job->directions; j++) {
            lane *dx = parts.S + j * NX;
            command_change(along, job->directions, j, loop.C, dx, du);
            store_states(batch, t, used, dx, rows + j * size);
            store_commands(batch, t, used, du, rows + j * size);
            for (i = 0; job->saturated && i < NU; i++) {
                du[i] = choose(within(batch, i, command[i]), du[i], all(0.0));
            }
            advance(&loop, du, dx);
        }
    }
    load_rest(batch, first, used, rest);
    level(batch, x, rest, own_gradient);
    level(batch, x, NULL, gradient);
    for (j = 0; j < job->directions; j++) {
        store_states(batch, N, used, parts.S + j * NX, rows + j * size);
        store_level_changes(batch, own_gradient, gradient, used, parts.S + j * NX, rows + j * size);
    }
}

long engine_jacobian_size(long directions)
{
    return loop_size(directions);
}

void engine_jacobian(const engine_batch *batch, const double *theta, long directions, const double *D, long saturated,
                     double *jacobian, long threads, lane *work)
{
    const forward_job job = {.batch = batch, .theta = theta, .directions = directions, .D = D, .saturated = saturated,
                             .jacobian = jacobian};
    engine_run(jacobian_of_block, &job, block_count(batch), threads, work, loop_size(directions));
}
