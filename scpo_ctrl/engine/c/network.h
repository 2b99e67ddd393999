/* The policy as a residual network on the backup, by hand. SPDX-License-Identifier: MIT */
#ifndef NETWORK_H
#define NETWORK_H

#include "engine.h"
#include "product.h"

/* out = tanh(W in + b); W and b follow each other in theta. */
static inline void forward_layer(const double *theta, int rows, int columns, const lane *in, lane *out)
{
    multiply(rows, columns, theta, theta + (long)rows * columns, in, out);
    tanh_all(rows, out);
}

static inline void forward_hidden(const double *theta, lane *layers)
{
    (void)theta;
    (void)layers;
#define FORWARD(ROWS, COLUMNS, PARAMETERS, IN, OUT) \
    forward_layer(theta + (PARAMETERS), ROWS, COLUMNS, layers + (IN), layers + (OUT));
    LAYERS(FORWARD)
#undef FORWARD
}

/* What depends on theta alone: the layers at z = 0. */
static inline void hoist(const double *theta, network *net)
{
    int i;
    for (i = 0; i < NX; i++) {
        net->zero[i] = all(0.0);
    }
    forward_hidden(theta, net->zero);
}

/* command = u_eq - K z + W (a(z) - a(0)), before saturation; p and `saturated` are nothing to it. */
static inline void forward(const engine_batch *batch, const double *theta, const lane *x, const lane *p, int saturated,
                           network *net, lane *command)
{
    const lane *last = net->layers + LAST_AT, *zero = net->zero + LAST_AT;
    const double *W = theta + OUTPUT;
    lane z[NX], fed[NU], even[NU], odd[NU]; /* sums over every other unit need not wait for each other */
    int i, j;
    (void)p;
    (void)saturated;
    for (i = 0; i < NX; i++) {
        z[i] = x[i] - batch->x_eq[i];
        net->layers[i] = z[i] * batch->factor[i];
    }
    forward_hidden(theta, net->layers);
    zeros(fed, NU);
    multiply(NU, NX, batch->K, NULL, z, fed);
    UNROLLED for (i = 0; i < NU; i++) {
        even[i] = odd[i] = all(0.0);
    }
    for (j = 0; j + 2 <= LAST; j += 2) {
        const lane one = last[j] - zero[j], other = last[j + 1] - zero[j + 1];
        UNROLLED for (i = 0; i < NU; i++) {
            even[i] += W[(long)i * LAST + j] * one;
            odd[i] += W[(long)i * LAST + j + 1] * other;
        }
    }
    UNROLLED for (i = 0; i < NU; i++) {
        if (LAST % 2) {
            even[i] += W[(long)i * LAST + LAST - 1] * (last[LAST - 1] - zero[LAST - 1]);
        }
        command[i] = (batch->u_eq[i] - fed[i]) + (even[i] + odd[i]);
    }
}

#endif /* NETWORK_H */
