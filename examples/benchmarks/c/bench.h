/* What main.c asks of each projection. DIM and COUNT come from the command line of the compiler. */
#ifndef BENCH_H
#define BENCH_H

#include <stddef.h>

/* Solves (E5). G is by rows. */
void bench_solve(const double *u, const double *c, const double *G, const double *e, const double *L, double r,
                 double *delta);

/* The largest number of bytes that were allocated at a time. */
size_t bench_heap_peak(void);

#endif /* BENCH_H */
