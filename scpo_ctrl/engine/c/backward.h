/* Derivatives of the policy, by hand: the network backwards. SPDX-License-Identifier: MIT */
#ifndef BACKWARD_H
#define BACKWARD_H

#include "engine.h"

/* From the adjoints of a layer's outputs, which become those of its sums W in + b, to those of its inputs. */
static inline void backward_layer(const double *W, int rows, int columns, const lane *out, lane *delta,
                                  lane *restrict in_delta)
{
    int i;
    for (i = 0; i < rows; i++) {
        delta[i] *= 1.0 - out[i] * out[i];
    }
    zeros(in_delta, columns);
    multiply_transposed(rows, columns, W, delta, in_delta);
}

/* From the adjoints of the last layer to those of all layers: of their sums, and of z. */
static inline void backward_hidden(const double *theta, const lane *layers, lane *deltas)
{
    (void)theta;
    (void)layers;
    (void)deltas;
#define BACKWARD(ROWS, COLUMNS, PARAMETERS, IN, OUT) \
    backward_layer(theta + (PARAMETERS), ROWS, COLUMNS, layers + (OUT), deltas + (OUT), deltas + (IN));
    LAYERS_BACKWARDS(BACKWARD)
#undef BACKWARD
}

/* What W and b of a layer get of one step. */
static inline void set_layer(int rows, int columns, const lane *in, const lane *delta, lane *restrict gradient)
{
    int i, j;
    for (i = 0; i < rows; i++) {
        for (j = 0; j < columns; j++) {
            gradient[(long)i * columns + j] = delta[i] * in[j];
        }
        gradient[(long)rows * columns + i] = delta[i];
    }
}

/* What all hidden parameters get of one step. */
static inline void set_hidden(const lane *layers, const lane *deltas, lane *gradient)
{
    (void)layers;
    (void)deltas;
    (void)gradient;
#define SET(ROWS, COLUMNS, PARAMETERS, IN, OUT) \
    set_layer(ROWS, COLUMNS, layers + (IN), deltas + (OUT), gradient + (PARAMETERS));
    LAYERS(SET)
#undef SET
}

/* A part of W in registers, while all steps add to it, the last one first. */
INLINED void add_tile(int rows, int columns, int stride, int steps, const lane *in, const lane *delta, lane *own)
{
    lane sum[4][2];
    int i, j, s;
    UNROLLED for (i = 0; i < rows; i++) {
        UNROLLED for (j = 0; j < columns; j++) {
            sum[i][j] = own[i * stride + j];
        }
    }
    for (s = steps - 1; s >= 0; s--) {
        UNROLLED for (i = 0; i < rows; i++) {
            UNROLLED for (j = 0; j < columns; j++) {
                sum[i][j] += delta[(long)s * ACTIVATIONS + i] * in[(long)s * ACTIVATIONS + j];
            }
        }
    }
    UNROLLED for (i = 0; i < rows; i++) {
        UNROLLED for (j = 0; j < columns; j++) {
            own[i * stride + j] = sum[i][j];
        }
    }
}

INLINED void add_tiles(int rows, int columns, int steps, const lane *in, const lane *delta, lane *own)
{
    int j = 0;
    for (; j + 2 <= columns; j += 2) {
        add_tile(rows, 2, columns, steps, in + j, delta, own + j);
    }
    if (j < columns) {
        add_tile(rows, 1, columns, steps, in + j, delta, own + j);
    }
}

/* What W and b of a layer get of some steps, whose layers and adjoints follow each other. */
static inline void add_layer(int rows, int columns, int steps, const lane *in, const lane *delta, lane *gradient)
{
    int i = 0, s;
    for (; i + 4 <= rows; i += 4) {
        add_tiles(4, columns, steps, in, delta + i, gradient + (long)i * columns);
    }
    for (; i < rows; i++) {
        add_tiles(1, columns, steps, in, delta + i, gradient + (long)i * columns);
    }
    gradient += (long)rows * columns;
    for (s = steps - 1; s >= 0; s--) {
        for (i = 0; i < rows; i++) {
            gradient[i] += delta[(long)s * ACTIVATIONS + i];
        }
    }
}

/* What all hidden parameters get of some steps. */
static inline void add_hidden(int steps, const lane *layers, const lane *deltas, lane *gradient)
{
    (void)steps;
    (void)layers;
    (void)deltas;
    (void)gradient;
#define ADD(ROWS, COLUMNS, PARAMETERS, IN, OUT) \
    add_layer(ROWS, COLUMNS, steps, layers + (IN), deltas + (OUT), gradient + (PARAMETERS));
    LAYERS(ADD)
#undef ADD
}

/* Results are summed over eight scenarios at a time, however many a lane has, in groups: each group has its own, and
 * groups are added in order, so that sums do not depend on which thread did what. */
#define SUMMED 8

static inline long group_start(const engine_batch *batch, long groups, long group)
{
    return (batch->scenarios + SUMMED - 1) / SUMMED * group / groups;
}

static inline void add_lanes(lane values, int used, double *sum)
{
    int l;
    for (l = 0; l < used; l++) {
        *sum += values[l];
    }
}

#endif /* BACKWARD_H */
