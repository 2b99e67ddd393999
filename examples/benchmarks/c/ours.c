/* The runtime's projection. In float the data are converted first, as a device has them in float. */
#include "bench.h"
#include "scpo.h"

static scpo_workspace work;
static scpo_real data[DIM + COUNT * (DIM + 3)];
static scpo_real answer[DIM];

static const scpo_real *converted(const double *from, int count, scpo_real **to)
{
    const scpo_real *start = *to;
    while (count-- > 0) {
        *(*to)++ = (scpo_real)*from++;
    }
    return start;
}

void bench_solve(const double *u, const double *c, const double *G, const double *e, const double *L, double r,
                 double *delta)
{
    scpo_projection problem;
    scpo_real *free_data = data;
    int k;
    problem.dim = DIM;
    problem.count = COUNT;
    problem.u = converted(u, DIM, &free_data);
    problem.c = converted(c, COUNT, &free_data);
    problem.G = converted(G, COUNT * DIM, &free_data);
    problem.e = converted(e, COUNT, &free_data);
    problem.L = converted(L, COUNT, &free_data);
    problem.r = (scpo_real)r;
    problem.work = &work;
    (void)scpo_project(&problem, answer);
    for (k = 0; k < DIM; k++) {
        delta[k] = (double)answer[k];
    }
}
