/* The projection as the export of an adaptation has it: included once for each type, with SCPO_DEVICE(name) and the type
 * defined, so that Python gets the bits of a device. SPDX-License-Identifier: MIT
 */
#ifndef SCPO_DEVICE
#error "compile scpo_device_double.c or scpo_device_float.c"
#endif

#define SCPO_CONFIG_H /* instead of the one beside this file */
#define SCPO_MAX_DIM SCPO_DEVICE_DIM
#define SCPO_MAX_ACTIVE SCPO_DEVICE_ROWS
#define SCPO_JOINING 4 /* this and the next as in scpo_config.h of an export */
#define SCPO_CHANGES 3
#define SCPO_NX 1
#define SCPO_NU 1
#define SCPO_NTHETA 1
#define SCPO_HIDDEN 0

#define scpo_project SCPO_DEVICE(project)
#define scpo_project_begin SCPO_DEVICE(project_begin)
#define scpo_project_poll SCPO_DEVICE(project_poll)
#define scpo_project_guess SCPO_DEVICE(project_guess)
#define scpo_project_multiplier SCPO_DEVICE(project_multiplier)
#define scpo_dual_add SCPO_DEVICE(dual_add)
#define scpo_dual_begin SCPO_DEVICE(dual_begin)
#define scpo_dual_poll SCPO_DEVICE(dual_poll)
#define scpo_step_begin SCPO_DEVICE(step_begin)
#define scpo_step_poll SCPO_DEVICE(step_poll)
#define scpo_dot SCPO_DEVICE(dot)
#define scpo_subtract SCPO_DEVICE(subtract)
#define scpo_multiply SCPO_DEVICE(multiply)
#define scpo_largest SCPO_DEVICE(largest)

#include <stdlib.h>

#include "scpo_device.h"

#include "scpo_dual.c"
#include "scpo_dual_step.c"
#include "scpo_project.c"

int SCPO_DEVICE(solve)(int dim, int count, const scpo_real *u, const scpo_real *c, const scpo_real *G,
                       const scpo_real *e, const scpo_real *L, scpo_real r, const scpo_real *guess, scpo_real *delta,
                       scpo_real *multiplier, int *pieces)
{
    scpo_workspace *work = (scpo_workspace *)malloc(sizeof *work);
    scpo_projection problem;
    scpo_status status;
    int row;
    if (!work) {
        return -1;
    }
    problem.dim = dim;
    problem.count = count;
    problem.u = u;
    problem.c = c;
    problem.G = G;
    problem.e = e;
    problem.L = L;
    problem.r = r;
    problem.work = work;
    *pieces = 1;
    status = scpo_project_begin(&problem, delta);
    if (status == SCPO_BUSY) {
        for (row = 0; row < count; row++) {
            if (guess[row] > 0) {
                scpo_project_guess(work, row, guess[row]);
                ++*pieces;
            }
        }
        do {
            status = scpo_project_poll(work);
            ++*pieces;
        } while (status == SCPO_BUSY);
    }
    for (row = 0; row < count; row++) {
        multiplier[row] = scpo_project_multiplier(work, row);
    }
    free(work);
    return (int)status;
}
