/* SPDX-License-Identifier: MIT */
#include "scpo_host.h"
#include "scpo_internal.h"

int scpo_host_project(int dim, int count, const double *u, const double *c, const double *G, const double *e,
                      const double *L, double r, scpo_workspace *work, double *delta, int *active, int *info)
{
    scpo_projection problem;
    scpo_status status;
    int k;
    problem.dim = dim;
    problem.count = count;
    problem.u = u;
    problem.c = c;
    problem.G = G;
    problem.e = e;
    problem.L = L;
    problem.r = r;
    problem.work = work;
    work->size = 0;
    work->budget = SCPO_BUDGET(count);
    status = scpo_project(&problem, delta);
    info[0] = 0;
    info[1] = SCPO_BUDGET(count) - (work->budget > 0 ? work->budget : 0);
    info[2] = status == SCPO_OK;
    for (k = 0; k < dim && info[2]; k++) {
        info[2] = !(delta[k] < u[k] || delta[k] > u[k]);
    }
    for (k = 0; k < work->size && !info[2]; k++) {
        if (work->lambda[k] > 0 && work->row[k] != work->pull) {
            active[info[0]++] = (int)((work->row[k] - G) / dim);
        }
    }
    return (int)status;
}
