/* Forward sensitivities, what the Jacobian and the Gauss-Newton matrix have in common. SPDX-License-Identifier: MIT
 *
 * dx(t+1) = A dx + B du, du = C dx + (dpi/dtheta) d. The derivatives of the policy are taken backwards once per step, for
 * all parameters; then each direction costs a few products.
 */
#ifndef SENSITIVITY_H
#define SENSITIVITY_H

#include "backward.h"

/* A block's linearised closed loop at one time step. */
typedef struct {
    network *net;
    lane *deltas;   /* [ACTIVATIONS] */
    lane *at_zero;  /* [NU][NTHETA] what a(0) adds to dpi/dtheta, the same in all steps */
    lane *policy;   /* [NU][NTHETA] dpi/dtheta */
    lane *along;    /* [NU][directions] dpi/dtheta times the directions */
    lane *S;        /* [directions][NX] dx */
    lane *rest;     /* what follows */
} sensitivity_work;

typedef struct {
    lane A[AT_LEAST_ONE(A_COUNT)];
    lane B[AT_LEAST_ONE(B_COUNT)];
    lane C[NU * NX];
} linearisation;

static inline long loop_size(long directions)
{
    return 3 * ACTIVATIONS + 2 * NU * NTHETA + directions * (NU + NX);
}

static inline sensitivity_work divide(long directions, lane *work)
{
    sensitivity_work parts;
    parts.net = (network *)work;
    parts.deltas = (lane *)(parts.net + 1);
    parts.at_zero = parts.deltas + ACTIVATIONS;
    parts.policy = parts.at_zero + NU * NTHETA;
    parts.along = parts.policy + NU * NTHETA;
    parts.S = parts.along + NU * directions;
    parts.rest = parts.S + directions * NX;
    return parts;
}

#ifdef LAW

static inline void begin(const double *theta, long directions, const sensitivity_work *parts)
{
    zeros(parts->S, directions * NX);
    hoist(theta, parts->net);
}

/* dpi/dtheta and C = dpi/dx. */
static inline void differentiate_policy(const engine_batch *batch, const double *theta, const lane *x, const lane *p,
                                        int saturated, const sensitivity_work *parts, lane *C)
{
    (void)batch;
    if (saturated) {
        law_jacobians(x, p, theta, C, parts->policy);
    } else {
        law_smooth_jacobians(x, p, theta, C, parts->policy);
    }
}

#else

static inline void seed(const double *theta, int i, lane *deltas)
{
    int j;
    for (j = 0; j < LAST; j++) {
        deltas[LAST_AT + j] = all(theta[OUTPUT + (long)i * LAST + j]);
    }
}

/* Prepares a block: sensitivities are zero at t = 0, and a(0) depends on nothing but theta. */
static inline void begin(const double *theta, long directions, const sensitivity_work *parts)
{
    int i;
    zeros(parts->S, directions * NX);
    hoist(theta, parts->net);
    for (i = 0; i < NU; i++) {
        seed(theta, i, parts->deltas);
        backward_hidden(theta, parts->net->zero, parts->deltas);
        set_hidden(parts->net->zero, parts->deltas, parts->at_zero + i * NTHETA);
    }
}

/* dpi/dtheta and C = dpi/dx at the layers of the last `forward`. */
static inline void differentiate_policy(const engine_batch *batch, const double *theta, const lane *x, const lane *p,
                                        int saturated, const sensitivity_work *parts, lane *C)
{
    const network *net = parts->net;
    int i, j, k;
    (void)x;
    (void)p;
    (void)saturated;
    for (i = 0; i < NU; i++) {
        lane *own = parts->policy + i * NTHETA;
        seed(theta, i, parts->deltas);
        backward_hidden(theta, net->layers, parts->deltas);
        set_hidden(net->layers, parts->deltas, own);
        for (k = 0; k < OUTPUT; k++) {
            own[k] -= parts->at_zero[i * NTHETA + k];
        }
        for (k = 0; k < NU; k++) {
            for (j = 0; j < LAST; j++) {
                own[OUTPUT + k * LAST + j] = k == i ? net->layers[LAST_AT + j] - net->zero[LAST_AT + j] : all(0.0);
            }
        }
        for (j = 0; j < NX; j++) {
            C[i * NX + j] = batch->factor[j] * parts->deltas[j] - batch->K[i * NX + j];
        }
    }
}

#endif

/* out[j] = D_j . policy, four directions at once. */
static inline void project(const double *D, long directions, const lane *policy, lane *out)
{
    long j = 0, k;
    for (; j + 4 <= directions; j += 4) {
        const double *d = D + j * NTHETA;
        lane s0 = all(0.0), s1 = all(0.0), s2 = all(0.0), s3 = all(0.0);
        for (k = 0; k < NTHETA; k++) {
            s0 += d[k] * policy[k];
            s1 += d[NTHETA + k] * policy[k];
            s2 += d[2 * NTHETA + k] * policy[k];
            s3 += d[3 * NTHETA + k] * policy[k];
        }
        out[j] = s0;
        out[j + 1] = s1;
        out[j + 2] = s2;
        out[j + 3] = s3;
    }
    for (; j < directions; j++) {
        lane sum = all(0.0);
        for (k = 0; k < NTHETA; k++) {
            sum += D[j * NTHETA + k] * policy[k];
        }
        out[j] = sum;
    }
}

/* du of direction j, before saturation. */
static inline void command_change(const lane *along, long directions, long j, const lane *C, const lane *dx, lane *du)
{
    int i, k;
    for (i = 0; i < NU; i++) {
        lane sum = along[i * directions + j];
        for (k = 0; k < NX; k++) {
            sum += C[i * NX + k] * dx[k];
        }
        du[i] = sum;
    }
}

static inline void advance(const linearisation *loop, const lane *du, lane *dx)
{
    lane next[NX];
    int i, k;
    zeros(next, NX);
    for (k = 0; k < A_COUNT; k++) {
        next[A_row[k]] += loop->A[k] * dx[A_column[k]];
    }
    for (k = 0; k < B_COUNT; k++) {
        next[B_row[k]] += loop->B[k] * du[B_column[k]];
    }
    add_linear(dx, du, next);
    for (i = 0; i < NX; i++) {
        dx[i] = next[i];
    }
}

/* One step of the loop: its linearisation, and x moves on. */
static inline void step(const engine_batch *batch, const double *theta, long first, long t, long saturated, const lane *p,
                        const sensitivity_work *parts, lane *x, lane *command, lane *u, linearisation *loop)
{
    lane next[NX];
    int i;
    forward(batch, theta, x, p, (int)saturated, parts->net, command);
    for (i = 0; i < NU; i++) {
        u[i] = command[i];
    }
    if (saturated) {
        saturate(batch, command, u);
    }
    differentiate_policy(batch, theta, x, p, (int)saturated, parts, loop->C);
    plant_jacobians(x, u, p, loop->A, loop->B);
    plant(x, u, p, next);
    disturb(batch, first, lanes_used(batch, first), t, next);
    for (i = 0; i < NX; i++) {
        x[i] = next[i];
    }
}

#endif /* SENSITIVITY_H */
