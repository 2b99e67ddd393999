/* The solver that cvxpygen generates, with any solver inside. Parameters of a matrix are by columns. */
#include "bench.h"
#include "cpg_solve.h"

void bench_solve(const double *u, const double *c, const double *G, const double *e, const double *L, double r,
                 double *delta)
{
    static int ready;
    int i;
    int j;
    if (!ready) {
        cpg_set_solver_default_settings();
        ready = 1;
    }
    for (j = 0; j < DIM; j++) {
        cpg_update_u(j, u[j]);
    }
    for (i = 0; i < COUNT; i++) {
        cpg_update_c(i, c[i]);
        cpg_update_e(i, e[i]);
        cpg_update_L(i, L[i]);
        for (j = 0; j < DIM; j++) {
            cpg_update_G(j * COUNT + i, G[i * DIM + j]);
        }
    }
    cpg_update_r(r);
    cpg_solve();
    for (j = 0; j < DIM; j++) {
        delta[j] = CPG_Result.prim->a[j];
    }
}
