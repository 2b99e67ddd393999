/* Derivatives of the policy, by hand: the network backwards. SPDX-License-Identifier: MIT */
#ifndef BACKWARD_H
#define BACKWARD_H

#include "engine.h"

/* What is done with the gradient of the parameters. */
typedef enum { SET, ADD, LEAVE } gradient_use;

/* From the adjoints of a layer's outputs to those of its inputs and of its W and b, which are set, added up, or left. */
static inline void backward_layer(const double *W, int rows, int columns, const lane *in, const lane *out,
                                  const lane *out_delta, lane *restrict in_delta, lane *restrict gradient,
                                  gradient_use use)
{
    lane *b = gradient + (long)rows * columns;
    int i, j;
    zeros(in_delta, columns);
    for (i = 0; i < rows; i++) {
        const lane delta = out_delta[i] * (1.0 - out[i] * out[i]);
        const double *row = W + (long)i * columns;
        lane *own = gradient + (long)i * columns;
        for (j = 0; j < columns; j++) {
            if (use != LEAVE) {
                own[j] = use == ADD ? own[j] + delta * in[j] : delta * in[j];
            }
            in_delta[j] += row[j] * delta;
        }
        if (use != LEAVE) {
            b[i] = use == ADD ? b[i] + delta : delta;
        }
    }
}

/* From the adjoints of the last layer to those of all layers and of the hidden parameters. */
static inline void backward_hidden(const double *theta, const lane *layers, lane *deltas, lane *gradient,
                                   gradient_use use)
{
    (void)theta;
    (void)layers;
    (void)deltas;
    (void)gradient;
    (void)use;
#define BACKWARD(ROWS, COLUMNS, PARAMETERS, IN, OUT)                                                             \
    backward_layer(theta + (PARAMETERS), ROWS, COLUMNS, layers + (IN), layers + (OUT), deltas + (OUT), deltas + (IN), \
                   gradient + (PARAMETERS), use);
    LAYERS_BACKWARDS(BACKWARD)
#undef BACKWARD
}

/* The same for results that are summed over a group of blocks: each group has its own, and groups are added in order,
 * so that sums do not depend on which thread did what. */
static inline long group_start(const engine_batch *batch, long groups, long group)
{
    return block_count(batch) * group / groups;
}

static inline double sum_lanes(lane values, int used)
{
    double sum = 0.0;
    int l;
    for (l = 0; l < used; l++) {
        sum += values[l];
    }
    return sum;
}

#endif /* BACKWARD_H */
