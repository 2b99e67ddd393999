/* The engine and the kernel of peak.c, for a tool that counts instructions: count_rollouts FILE CALLS ROUNDS.
 * FILE has an engine_batch, then for each of its arrays the number of doubles and these, then theta in the same way. */
#include <stdio.h>
#include <stdlib.h>

#include "engine.h"

void engine_evaluate(const engine_batch *batch, long count, const double *theta, long saturated, double *metrics,
                     double *cost, long threads, lane *work);
long engine_evaluate_size(void);
double peak(long count, double *result);

static double *read_array(FILE *file, long *count)
{
    double *values;
    if (fread(count, sizeof *count, 1, file) != 1) {
        exit(1);
    }
    values = malloc((size_t)(*count + 1) * sizeof(double));
    if (!values || fread(values, sizeof(double), (size_t)*count, file) != (size_t)*count) {
        exit(1);
    }
    if (*count == 0) {
        free(values);
        return NULL;
    }
    return values;
}

int main(int argc, char **argv)
{
    FILE *file = argc == 4 ? fopen(argv[1], "rb") : NULL;
    engine_batch batch;
    const double **array = &batch.x0, *theta;
    double *metrics, result;
    lane *work;
    long count, k;
    if (!file || fread(&batch, sizeof batch, 1, file) != 1) {
        return 1;
    }
    for (; array <= &batch.R; array++) {
        *array = read_array(file, &count);
    }
    theta = read_array(file, &count);
    fclose(file);
    count /= NTHETA;
    metrics = malloc((size_t)(count * batch.scenarios * batch.rows) * sizeof *metrics);
    work = aligned_alloc(64, (size_t)engine_evaluate_size() * 64);
    if (!metrics || !work) {
        return 1;
    }
    for (k = 0; k < atol(argv[2]); k++) {
        engine_evaluate(&batch, count, theta, 0, metrics, NULL, 1, work);
    }
    peak(atol(argv[3]), &result);
    return 0;
}
