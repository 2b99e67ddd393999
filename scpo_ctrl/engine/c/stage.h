/* Metrics and costs of one time step that are expressions of the user's. SPDX-License-Identifier: MIT
 *
 * They are of the state, the applied input u, the one before, v, and p. At t = 0 nothing was applied before, and v is u.
 */
#ifndef STAGE_H
#define STAGE_H

#include "engine.h"

#if defined(CONSTRAINTS) || defined(COST)
#define INPUT_BEFORE /* what is done at a step depends on the input before */
#endif

/* The input before, where something depends on it: at t = 0 what is applied then. */
static inline void first_input(long t, const lane *u, lane *v)
{
#ifdef INPUT_BEFORE
    int i;
    for (i = 0; t == 0 && i < NU; i++) {
        v[i] = u[i];
    }
#else
    (void)t;
    (void)u;
    (void)v;
#endif
}

static inline void keep_input(const lane *u, lane *v)
{
#ifdef INPUT_BEFORE
    int i;
    for (i = 0; i < NU; i++) {
        v[i] = u[i];
    }
#else
    (void)u;
    (void)v;
#endif
}

/* out += M in, of the nonzeros of a matrix. */
static inline void add_product(int count, const int *row, const int *column, const lane *M, const lane *in, lane *out)
{
    int k;
    for (k = 0; k < count; k++) {
        out[row[k]] += M[k] * in[column[k]];
    }
}

#ifdef CONSTRAINTS
#define STEP_ROWS (END_ROWS + INPUT_ROWS + CHANGE_ROWS)

/* Where the metrics of time t begin among those of a scenario: behind the bounds, and without a change at t = 0. */
static inline long step_start(const engine_batch *batch, long t)
{
    const long N = batch->horizon;
    const long bounds = batch->path ? (N + 1) * STATE_ROWS + (batch->command ? N * COMMAND_ROWS : 0) : 0;
    return bounds + t * STEP_ROWS - (t > 0 ? CHANGE_ROWS : 0);
}

static inline long step_count(const engine_batch *batch, long t)
{
    return t == batch->horizon ? END_ROWS : t == 0 ? END_ROWS + INPUT_ROWS : STEP_ROWS;
}
#endif

#ifdef COST

static inline lane stage_cost(const engine_batch *batch, const lane *x, const lane *u, const lane *v, const lane *p)
{
    lane cost;
    (void)batch;
    step_cost(x, u, v, p, &cost);
    return cost;
}

static inline void add_end_cost(const lane *x, const lane *p, lane *sum)
{
    lane cost;
    end_cost(x, p, &cost);
    *sum += cost;
}

/* Sets the derivatives of the stage cost. */
static inline void cost_slopes(const engine_batch *batch, const lane *x, const lane *u, const lane *v, const lane *p,
                               lane *x_delta, lane *u_delta, lane *v_delta)
{
    (void)batch;
    step_cost_gradient(x, u, v, p, x_delta, u_delta, v_delta);
}

static inline void add_end_slopes(const lane *x, const lane *p, lane *x_delta)
{
    lane gradient[NX];
    int i;
    end_cost_gradient(x, p, gradient);
    for (i = 0; i < NX; i++) {
        x_delta[i] += gradient[i];
    }
}

#else

static inline lane stage_cost(const engine_batch *batch, const lane *x, const lane *u, const lane *v, const lane *p)
{
    lane cost = all(0.0);
    int i;
    (void)v;
    (void)p;
    for (i = 0; i < NX; i++) {
        const lane z = x[i] - batch->x_eq[i];
        cost += batch->Q[i] * (z * z);
    }
    for (i = 0; i < NU; i++) {
        const lane w = u[i] - batch->u_eq[i];
        cost += batch->R[i] * (w * w);
    }
    return cost;
}

static inline void add_end_cost(const lane *x, const lane *p, lane *sum)
{
    (void)x;
    (void)p;
    (void)sum;
}

static inline void cost_slopes(const engine_batch *batch, const lane *x, const lane *u, const lane *v, const lane *p,
                               lane *x_delta, lane *u_delta, lane *v_delta)
{
    int i;
    (void)v;
    (void)p;
    for (i = 0; i < NX; i++) {
        x_delta[i] = 2.0 * batch->Q[i] * (x[i] - batch->x_eq[i]);
    }
    for (i = 0; i < NU; i++) {
        u_delta[i] = 2.0 * batch->R[i] * (u[i] - batch->u_eq[i]);
    }
    zeros(v_delta, NU);
}

static inline void add_end_slopes(const lane *x, const lane *p, lane *x_delta)
{
    (void)x;
    (void)p;
    (void)x_delta;
}

#endif

#endif /* STAGE_H */
