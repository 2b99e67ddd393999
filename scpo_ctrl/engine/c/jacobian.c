/* Derivatives of the metrics along directions. SPDX-License-Identifier: MIT */
#include "sensitivity.h"
#include "threads.h"

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

/* The same for metrics that are expressions: their slopes at a step, and what they make of a direction. */
typedef struct {
#ifdef CONSTRAINTS
    lane by_x[AT_LEAST_ONE(STEP_METRICS_BY_X_COUNT)];
    lane by_u[AT_LEAST_ONE(STEP_METRICS_BY_U_COUNT)];
    lane by_v[AT_LEAST_ONE(STEP_METRICS_BY_V_COUNT)];
    lane end_by_x[AT_LEAST_ONE(END_METRICS_BY_X_COUNT)];
#else
    lane none;
#endif
} step_slopes;

static inline void slopes_of_step(const engine_batch *batch, long t, const lane *x, const lane *u, const lane *v,
                                  const lane *p, step_slopes *slopes)
{
#ifdef CONSTRAINTS
    if (t == batch->horizon) {
        end_metrics_slopes(x, p, slopes->end_by_x);
    } else {
        step_metrics_slopes(x, u, v, p, slopes->by_x, slopes->by_u, slopes->by_v);
    }
#else
    (void)batch;
    (void)t;
    (void)x;
    (void)u;
    (void)v;
    (void)p;
    (void)slopes;
#endif
}

/* `before` [NU] holds the change of the input before, and then that of this one. */
static inline void store_step(const engine_batch *batch, long t, int used, const step_slopes *slopes, const lane *dx,
                              const lane *du, lane *before, double *rows)
{
#ifdef CONSTRAINTS
    const long count = step_count(batch, t);
    lane change[AT_LEAST_ONE(STEP_ROWS)];
    long r;
    int i, l;
    rows += step_start(batch, t);
    zeros(change, STEP_ROWS);
    if (t == batch->horizon) {
        add_product(END_METRICS_BY_X_COUNT, end_metrics_by_x_row, end_metrics_by_x_column, slopes->end_by_x, dx, change);
    } else {
        add_product(STEP_METRICS_BY_X_COUNT, step_metrics_by_x_row, step_metrics_by_x_column, slopes->by_x, dx, change);
        add_product(STEP_METRICS_BY_U_COUNT, step_metrics_by_u_row, step_metrics_by_u_column, slopes->by_u, du, change);
        add_product(STEP_METRICS_BY_V_COUNT, step_metrics_by_v_row, step_metrics_by_v_column, slopes->by_v,
                    t ? before : du, change);
        for (i = 0; i < NU; i++) {
            before[i] = du[i];
        }
    }
    for (l = 0; l < used; l++) {
        for (r = 0; r < count; r++) {
            rows[l * batch->rows + r] = change[r][l];
        }
    }
#else
    (void)batch;
    (void)t;
    (void)used;
    (void)slopes;
    (void)dx;
    (void)du;
    (void)before;
    (void)rows;
#endif
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
    lane x[NX], v[NU] = {{0}}, p[AT_LEAST_ONE(NP)], rest[NX], own_gradient[NX], gradient[NX];
    lane *before = parts.rest; /* [directions][NU] */
    step_slopes slopes;
    long t, j;
    int i;
    load(batch->x0, first, used, NX, NX, x);
    load(batch->p, first, used, NP, NP, p);
    begin(job->theta, job->directions, &parts);
    for (t = 0; t < N; t++) {
        lane command[NU], u[NU], du[NU], last[NX];
        linearisation loop;
        for (i = 0; i < NX; i++) {
            last[i] = x[i];
        }
        vary(batch, first, used, t, p);
        step(batch, job->theta, first, t, job->saturated, p, &parts, x, command, u, &loop);
        slopes_of_step(batch, t, last, u, t ? v : u, p, &slopes);
        keep_input(u, v);
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
            store_step(batch, t, used, &slopes, dx, du, before + j * NU, rows + j * size);
            advance(&loop, du, dx);
        }
    }
    vary(batch, first, used, N, p);
    slopes_of_step(batch, N, x, NULL, NULL, p, &slopes);
    load_rest(batch, first, used, rest);
    level(batch, x, rest, own_gradient);
    level(batch, x, NULL, gradient);
    for (j = 0; j < job->directions; j++) {
        store_states(batch, N, used, parts.S + j * NX, rows + j * size);
        store_step(batch, N, used, &slopes, parts.S + j * NX, NULL, NULL, rows + j * size);
        store_level_changes(batch, own_gradient, gradient, used, parts.S + j * NX, rows + j * size);
    }
}

long engine_jacobian_size(long directions)
{
    return loop_size(directions) + directions * NU;
}

void engine_jacobian(const engine_batch *batch, const double *theta, long directions, const double *D, long saturated,
                     double *jacobian, long threads, lane *work)
{
    const forward_job job = {.batch = batch, .theta = theta, .directions = directions, .D = D, .saturated = saturated,
                             .jacobian = jacobian};
    engine_run(jacobian_of_block, &job, block_count(batch), threads, work, engine_jacobian_size(directions));
}
