/* The projection (E5) onto the local safe region (E4): checks, working set, repair.
 *
 * Constraints join a working set when the present answer violates them; scpo_dual.c solves (E5) on that set. The set's
 * optimal value rises from round to round, so no set comes twice, and what never joins was screened out exactly. Last
 * comes the repair: the region is convex and holds 0, so shrinking any answer far enough makes it feasible, in the
 * arithmetic of the target; Newton's method finds how far. Nothing is returned that the last sweep over all constraints has not accepted.
 * SPDX-License-Identifier: MIT
 */
#include <stdint.h>
#include <string.h>

#include "scpo_internal.h"

/* The bounds on all work: sweeps over the problem <= rounds + shrinks, Newton steps <= SCPO_MAX_NEWTON. */
#define SCPO_MAX_ROUNDS 100 /* of the working set */
#define SCPO_MAX_SHRINK 30  /* attempts of the repair */

#define SCPO_MAX_MARGIN SCPO_R(0.01) /* more tightening than this would cost too much */

/* Looks at the exponent bits, which no compiler option can talk out of seeing NaN or infinity. */
static int scpo_all_finite(long count, const scpo_real *x)
{
#if SCPO_REAL_IS_DOUBLE
    uint64_t bits;
    const uint64_t exponent = (uint64_t)0x7ff << 52;
#else
    uint32_t bits;
    const uint32_t exponent = (uint32_t)0xff << 23;
#endif
    while (count-- > 0) {
        memcpy(&bits, x++, sizeof bits);
        if ((bits & exponent) == exponent) {
            return 0;
        }
    }
    return 1;
}

static scpo_status scpo_check(const scpo_projection *problem)
{
    const int dim = problem->dim;
    const int count = problem->count;
    const scpo_real *data[] = {&problem->r, problem->u, problem->c, problem->e, problem->L, problem->G};
    const long length[] = {1, dim, count, count, count, (long)count * dim};
    scpo_status status = SCPO_OK;
    int i;
    if (dim < 1 || dim > SCPO_MAX_DIM || count < 0 || !(problem->r > 0)) {
        return SCPO_BAD_PROBLEM;
    }
    for (i = 0; i < 6; i++) {
        if (!scpo_all_finite(length[i], data[i])) {
            return SCPO_BAD_PROBLEM;
        }
    }
    for (i = 0; i < count; i++) {
        if (problem->e[i] < 0 || problem->L[i] < 0) {
            return SCPO_BAD_PROBLEM;
        }
        if (problem->c[i] > 0) {
            status = SCPO_UNSAFE_START;
        }
    }
    return status;
}

/* Whether a constraint is in the working set. */
static int scpo_member(const scpo_workspace *work, const scpo_real *row)
{
    int k;
    for (k = 0; k < work->size && work->row[k] != row; k++) {
    }
    return k < work->size;
}

/* Evaluates (E4) at delta. Constraints that delta violates join the working set as far as there are places, behind it or
 * instead of those without a multiplier; the worst one always does. work->cut is the part of delta to take away so that
 * all hold with `room` to spare: a Newton step on each constraint as a function of the length of delta. Returns how many
 * joined, or -1 if nothing is violated. */
static int scpo_sweep(scpo_workspace *work, scpo_real room)
{
    const scpo_projection *problem = work->problem;
    const int dim = problem->dim;
    const scpo_real *G = problem->G;
    scpo_real norm = 0;
    scpo_real worst = 0;
    int slot = 0;
    int newest = 0;
    int found = -1;
    int i;
    int j;
    for (j = 0; j < dim; j++) {
        scpo_real ratio = work->delta[j] / work->length;
        norm += ratio * ratio;
    }
    norm = work->length * SCPO_SQRT(norm);
    work->cut = room;
    if (!(norm * (1 + work->rounding) <= problem->r)) {
        found = 0;
    }
    for (i = 0; i < problem->count; i++, G += dim) {
        scpo_real bend = problem->L[i] / 2 * norm * norm;
        scpo_real slope = problem->e[i] * norm;
        scpo_real size = slope + bend - problem->c[i];
        scpo_real excess;
        scpo_real score;
        for (j = 0; j < dim; j++) {
            scpo_real term = G[j] * work->delta[j];
            slope += term;
            size += SCPO_ABS(term);
        }
        excess = problem->c[i] + slope + bend + work->rounding * size + SCPO_UNDERFLOW;
        if (scpo_all_finite(1, &excess) && excess <= 0) {
            continue;
        }
        work->cut = scpo_max((excess + room * size) / (slope + 2 * bend), work->cut);
        if (found < 0) {
            found = 0;
        }
        while (slot < work->size && (work->lambda[slot] > 0 || work->row[slot] == work->pull)) {
            slot++;
        }
        score = excess / size;
        if (scpo_member(work, G) || (slot == SCPO_SLOTS && !(found > 0 && score > worst))) {
            continue;
        }
        if (slot < SCPO_SLOTS) {
            newest = slot++;
            found++;
        }
        scpo_dual_add(work, newest, i);
        if (score > worst) {
            worst = score;
        }
    }
    return found;
}

/* Tightens the working set when nothing but rounding is to blame. */
static void scpo_tighten(scpo_workspace *work)
{
    int k;
    for (k = 0; k < work->size; k++) {
        work->e[k] += work->margin;
    }
    work->margin *= 4;
}

/* (E5) and the repair. Returns 1 if delta is the answer, 0 if it is just feasible. */
static int scpo_solve(scpo_workspace *work)
{
    int rounds = SCPO_MAX_ROUNDS;
    int attempts = SCPO_MAX_SHRINK;
    int converged = 1;
    scpo_real room = 2 * work->rounding;
    scpo_real lost = 0;
    int found;
    int j;
    while (work->t > 0 && (found = scpo_sweep(work, room)) >= 0) {
        if (rounds-- > 0 && work->budget > 0 && work->margin < SCPO_MAX_MARGIN) {
            if (found == 0) {
                scpo_tighten(work);
            }
            converged = scpo_dual_maximise(work);
            continue;
        }
        rounds = 0;
        room *= 2;
        if (!(work->cut < SCPO_R(0.5))) {
            work->cut = SCPO_R(0.5);
        }
        lost += work->cut * work->t;
        if (attempts-- == 0) {
            work->t = 0;
        }
        for (j = 0; j < work->problem->dim; j++) {
            work->delta[j] = work->t > 0 ? work->delta[j] - work->cut * work->delta[j] : 0;
        }
    }
    return converged && lost <= SCPO_LOSS_TOLERANCE;
}

scpo_status scpo_project(const scpo_projection *problem, scpo_real *delta)
{
    scpo_workspace *work = problem->work;
    const int dim = problem->dim;
    scpo_status status = scpo_check(problem);
    scpo_real largest = 0;
    scpo_real norm;
    scpo_real size;
    int inside;
    int j;

    if (status == SCPO_OK) {
        largest = scpo_largest(dim, problem->u);
    }
    if (!(largest > SCPO_LEAST && problem->r > SCPO_LEAST)) {
        for (j = 0; j < dim && j < SCPO_MAX_DIM; j++) {
            delta[j] = 0;
        }
        return status;
    }
    for (j = 0; j < dim; j++) {
        work->pull[j] = problem->u[j] / largest;
    }
    norm = SCPO_SQRT(scpo_dot(dim, work->pull, work->pull));
    size = largest * norm;
    work->problem = problem;
    work->delta = delta;
    work->size = 0;
    work->t = 1;
    work->budget = SCPO_MAX_NEWTON;
    work->rounding = SCPO_R(dim + 8) * SCPO_EPS;
    work->margin = 4 * work->rounding;
    inside = size <= problem->r;
    work->length = inside ? size : problem->r;
    work->inertia = work->length / size;
    for (j = 0; j < dim; j++) {
        work->pull[j] *= 2 / norm;
        delta[j] = inside ? problem->u[j] : work->pull[j] / 2 * problem->r;
    }
    if (!inside) {
        scpo_dual_add_radius(work);
    }
    return scpo_solve(work) ? SCPO_OK : SCPO_CAPPED;
}
