/* Runs the projections of a file so many times, and writes the last answers and the peak of the heap.
 *
 * main CASES COUNT PASSES ANSWERS; a case is u, c, G by rows, e, L, r as doubles. The work of a projection is what two
 * runs with different PASSES differ by. */
#include <stdio.h>
#include <stdlib.h>

#include "bench.h"

#define CASE_SIZE (DIM + COUNT * (DIM + 3) + 1)
#define MOST_CASES 64

static double cases[MOST_CASES][CASE_SIZE];
static double answers[MOST_CASES][DIM];

int main(int argc, char **argv)
{
    double peak;
    FILE *file;
    size_t count;
    size_t k;
    int passes;
    if (argc != 5 || (file = fopen(argv[1], "rb")) == NULL) {
        return 2;
    }
    count = (size_t)atoi(argv[2]);
    if (count > MOST_CASES || fread(cases, sizeof cases[0], count, file) != count) {
        return 2;
    }
    (void)fclose(file);
    for (passes = atoi(argv[3]); passes > 0; passes--) {
        for (k = 0; k < count; k++) {
            const double *u = cases[k];
            const double *c = u + DIM;
            const double *G = c + COUNT;
            const double *e = G + COUNT * DIM;
            bench_solve(u, c, G, e, e + COUNT, e[2 * COUNT], answers[k]);
        }
    }
    peak = (double)bench_heap_peak();
    if ((file = fopen(argv[4], "wb")) == NULL) {
        return 2;
    }
    (void)fwrite(answers, sizeof answers[0], count, file);
    (void)fwrite(&peak, sizeof peak, 1, file);
    return fclose(file) == 0 ? 0 : 2;
}
