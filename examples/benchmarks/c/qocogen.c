/* The solver that qocogen generates for the conic form of instances.py. */
#include "bench.h"
#include "qoco_custom.h"

static Workspace work;
static double cost[DIM + 2];
static double matrix[(COUNT + 1) * DIM + 2 * COUNT + 5]; /* by columns, in the order of instances.py */
static double right[COUNT + DIM + 5];

static void fill(const double *u, const double *c, const double *G, const double *e, const double *L, double r)
{
    double *entry = matrix;
    int i;
    int j;
    for (j = 0; j < DIM; j++) {
        cost[j] = -2 * u[j];
        for (i = 0; i < COUNT; i++) {
            *entry++ = G[i * DIM + j];
        }
        *entry++ = -1;
    }
    cost[DIM + 1] = 1;
    for (i = 0; i < COUNT; i++) {
        *entry++ = e[i];
    }
    *entry++ = 1;
    *entry++ = -1;
    *entry++ = -2;
    for (i = 0; i < COUNT; i++) {
        *entry++ = L[i] / 2;
    }
    *entry++ = -1;
    *entry++ = -1;
    for (i = 0; i < COUNT; i++) {
        right[i] = -c[i];
    }
    right[COUNT] = r;
    right[COUNT + DIM + 2] = 1;
    right[COUNT + DIM + 3] = -1;
}

void bench_solve(const double *u, const double *c, const double *G, const double *e, const double *L, double r,
                 double *delta)
{
    int j;
    if (work.n == 0) {
        set_default_settings(&work);
        load_data(&work);
    }
    fill(u, c, G, e, L, r);
    update_c(&work, cost);
    update_G(&work, matrix);
    update_h(&work, right);
    qoco_custom_solve(&work);
    for (j = 0; j < DIM; j++) {
        delta[j] = work.sol.x[j];
    }
}
