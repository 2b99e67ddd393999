/* Numbers of every scenario and metric, from the caller's order to that of the blocks. SPDX-License-Identifier: MIT */
#ifndef PACK_H
#define PACK_H

#include "engine.h"
#include "threads.h"

typedef struct {
    const engine_batch *batch;
    const double *const *matrices;
    int count;
    double scale;
    lane *packed;
} packing;

static void pack_block(const void *argument, long block, lane *work)
{
    const packing *job = argument;
    const long first = block * WIDTH, rows = job->batch->rows;
    const int used = lanes_used(job->batch, first);
    lane *packed = job->packed + block * rows * job->count;
    long row;
    int i;
    (void)work;
    for (row = 0; row < rows; row++) {
        for (i = 0; i < job->count; i++) {
            load(job->matrices[i] + row, first, used, rows, 1, packed);
            *packed++ *= job->scale;
        }
    }
}

/* Puts rows of up to two matrices of [scenarios][rows] side by side into lanes, times `scale`: packed [blocks][rows][count]. */
static void engine_pack(const engine_batch *batch, const double *const *matrices, int count, double scale, lane *packed,
                        long threads)
{
    const packing job = {.batch = batch, .matrices = matrices, .count = count, .scale = scale, .packed = packed};
    engine_run(pack_block, &job, block_count(batch), threads, NULL, 0);
}

#endif /* PACK_H */
