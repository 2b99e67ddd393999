/* What Python hands to the engine, and the parts that its files share. SPDX-License-Identifier: MIT
 *
 * Scenarios are rolled out in blocks of WIDTH lanes that share theta; a last block is filled with copies of its first
 * scenario, which are computed and not stored.
 */
#ifndef ENGINE_H
#define ENGINE_H

#include <stddef.h>

#include "lanes.h"
#include "model.h"

#define AT_LEAST_ONE(n) ((n) > 0 ? (n) : 1)
#define STATE_ROWS (HIGH_COUNT + LOW_COUNT) /* finite state bounds: metrics of one time step */
#define COMMAND_ROWS (2 * NU)

typedef struct {
    long scenarios;
    long horizon;
    long rows;          /* metrics of one scenario */
    long path;          /* whether state bounds are metrics */
    long command;       /* whether input bounds are */
    long terminal;      /* whether V(x_N) / rho - 1 is */
    long contraction;   /* whether V(x_N) - max(gamma V(x_0), floor) is */
    double rho;
    double gamma;
    double floor;
    const double *x0;     /* [scenarios][NX] */
    const double *p;      /* [scenarios][NP] */
    const double *signals; /* [scenarios][horizon + 1][SIGNALS] the last entries of p over time */
    const double *w;      /* [scenarios][horizon][NX], or NULL without disturbances */
    const double *x_rest; /* [scenarios][NX] where contraction is about, or NULL: x_eq of all */
    const double *x_eq;   /* [NX] */
    const double *u_eq;   /* [NU] */
    const double *x_min;  /* [NX] */
    const double *x_max;  /* [NX] */
    const double *u_min;  /* [NU] */
    const double *u_max;  /* [NU] */
    const double *factor; /* [NX] multiplies z before the network */
    const double *K;      /* [NU][NX] */
    const double *P;      /* [NX][NX] */
    const double *Q;      /* [NX] diagonal of the stage cost */
    const double *R;      /* [NU] diagonal */
} engine_batch;

/* The policy at one state: layers of the network behind each other, the first one z times `factor`. */
typedef struct {
    lane layers[ACTIVATIONS];
    lane zero[ACTIVATIONS]; /* the same at z = 0 */
} network;

static inline long block_count(const engine_batch *batch)
{
    return (batch->scenarios + WIDTH - 1) / WIDTH;
}

static inline int lanes_used(const engine_batch *batch, long first)
{
    return (int)(batch->scenarios - first < WIDTH ? batch->scenarios - first : WIDTH);
}

static inline void zeros(lane *values, long count)
{
    long i;
    for (i = 0; i < count; i++) {
        values[i] = all(0.0);
    }
}

static inline void copy(const lane *from, int count, lane *to)
{
    int i;
    for (i = 0; i < count; i++) {
        to[i] = from[i];
    }
}

/* Loads row `first` + l of a matrix with `stride` columns into lane l, from column 0 to `size` - 1. */
static inline void load(const double *rows, long first, int used, long stride, int size, lane *values)
{
    int i, l;
    for (i = 0; i < size; i++) {
        lane value = all(0.0);
        UNROLLED for (l = 0; l < WIDTH; l++) {
            value[l] = rows[(first + (l < used ? l : 0)) * stride + i];
        }
        values[i] = value;
    }
}

/* Puts the entries of p that vary over time to their values at time t. */
static inline void vary(const engine_batch *batch, long first, int used, long t, lane *p)
{
#if SIGNALS
    load(batch->signals + t * SIGNALS, first, used, (batch->horizon + 1) * SIGNALS, SIGNALS, p + NP - SIGNALS);
#else
    (void)batch;
    (void)first;
    (void)used;
    (void)t;
    (void)p;
#endif
}

static inline void disturb(const engine_batch *batch, long first, int used, long t, lane *x)
{
    lane w[NX];
    int i;
    if (batch->w) {
        load(batch->w + t * NX, first, used, batch->horizon * NX, NX, w);
        for (i = 0; i < NX; i++) {
            x[i] += w[i];
        }
    }
}

#ifdef LAW
#include "law.h"
#else
#include "network.h"
#endif

#include "stage.h"

static inline mask within(const engine_batch *batch, int i, lane command)
{
    return (command >= batch->u_min[i]) & (command <= batch->u_max[i]);
}

static inline void saturate(const engine_batch *batch, const lane *command, lane *u)
{
    int i;
    for (i = 0; i < NU; i++) {
        lane low = all(batch->u_min[i]), high = all(batch->u_max[i]);
        u[i] = choose(command[i] < low, low, choose(command[i] > high, high, command[i])); /* NaN stays */
    }
}

/* Metrics of one time step (E6). */
static inline void state_rows(const engine_batch *batch, const lane *x, lane *rows)
{
    int i;
    for (i = 0; i < HIGH_COUNT; i++) {
        rows[i] = x[high[i]] - batch->x_max[high[i]];
    }
    for (i = 0; i < LOW_COUNT; i++) {
        rows[HIGH_COUNT + i] = batch->x_min[low[i]] - x[low[i]];
    }
}

static inline void command_rows(const engine_batch *batch, const lane *command, lane *rows)
{
    int i;
    for (i = 0; i < NU; i++) {
        rows[i] = command[i] - batch->u_max[i];
        rows[NU + i] = batch->u_min[i] - command[i];
    }
}

/* Where the contraction of a block is about: where the loop under the backup is at rest. */
static inline void load_rest(const engine_batch *batch, long first, int used, lane *rest)
{
    int i;
    if (batch->x_rest) {
        load(batch->x_rest, first, used, NX, NX, rest);
    } else {
        for (i = 0; i < NX; i++) {
            rest[i] = all(batch->x_eq[i]);
        }
    }
}

/* V = z' P z of deviations from `rest`, or from the nominal equilibrium if that is NULL, and its gradient 2 P z where it
 * is wanted (P is symmetric). */
static inline lane level(const engine_batch *batch, const lane *x, const lane *rest, lane *gradient)
{
    lane V = all(0.0), z[NX];
    int i, j;
    for (i = 0; i < NX; i++) {
        z[i] = x[i] - (rest ? rest[i] : all(batch->x_eq[i]));
    }
    for (i = 0; i < NX; i++) {
        lane sum = all(0.0);
        for (j = 0; j < NX; j++) {
            sum += batch->P[i * NX + j] * z[j];
        }
        V += sum * z[i];
        if (gradient) {
            gradient[i] = 2.0 * sum;
        }
    }
    return V;
}

/* The largest V(x_N) that contraction allows; NaN stays. */
static inline lane contraction_limit(const engine_batch *batch, const lane *x0, const lane *rest)
{
    const lane limit = batch->gamma * level(batch, x0, rest, NULL);
    return choose(limit < batch->floor, all(batch->floor), limit);
}

#endif /* ENGINE_H */
