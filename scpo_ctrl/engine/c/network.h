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
    lane z[NX];
    int i, j;
    (void)p;
    (void)saturated;
    for (i = 0; i < NX; i++) {
        z[i] = x[i] - batch->x_eq[i];
        net->layers[i] = z[i] * batch->factor[i];
    }
    forward_hidden(theta, net->layers);
    for (i = 0; i < NU; i++) {
        lane fed = all(0.0), sum = all(0.0), more = all(0.0);
        const double *W = theta + OUTPUT + (long)i * LAST;
        for (j = 0; j < NX; j++) {
            fed += batch->K[i * NX + j] * z[j];
        }
        for (j = 0; j + 2 <= LAST; j += 2) {
            sum += W[j] * (net->layers[LAST_AT + j] - net->zero[LAST_AT + j]);
            more += W[j + 1] * (net->layers[LAST_AT + j + 1] - net->zero[LAST_AT + j + 1]);
        }
        if (LAST % 2) {
            sum += W[LAST - 1] * (net->layers[LAST_AT + LAST - 1] - net->zero[LAST_AT + LAST - 1]);
        }
        command[i] = (batch->u_eq[i] - fed) + (sum + more);
    }
}

#endif /* NETWORK_H */
