/* The projection (E5) onto the local safe region (E4): checks, working set, repair.
 *
 * Constraints join a working set when the present answer violates them; scpo_dual.c solves (E5) on that set. The set's
 * optimal value rises from round to round, so no set comes twice, and what never joins was screened out exactly. Last
 * comes the repair: the region is convex and holds 0, so shrinking any answer far enough makes it feasible, in the
 * arithmetic of the target; Newton's method finds how far. Nothing is returned that the last sweep over all constraints
 * has not accepted.
 * SPDX-License-Identifier: MIT
 */
#include "scpo_internal.h"

/* The bounds on all work: Newton steps + rounds <= SCPO_MAX_NEWTON, and a round has at least one; sweeps over the problem
 * <= rounds + shrinks. */
#define SCPO_MAX_SHRINK 30 /* attempts of the repair */

#define SCPO_MAX_MARGIN SCPO_R(0.01) /* more tightening than this would cost too much */

/* Whether x is negative, and neither NaN nor infinite, whatever the compiler assumes. */
static int scpo_negative(scpo_real x)
{
    scpo_bits bits;
    memcpy(&bits, &x, sizeof bits);
    return bits - ((scpo_bits)-1 / 2 + 1) < SCPO_INFINITY;
}

/* Also leaves the largest part of u in work->length. */
static scpo_status scpo_check(const scpo_projection *problem)
{
    const int dim = problem->dim;
    const int count = problem->count;
    scpo_status status = SCPO_OK;
    scpo_bits largest;
    int i;
    if (dim < 1 || dim > SCPO_MAX_DIM || count < 0 || !(problem->r > 0)) {
        return SCPO_BAD_PROBLEM;
    }
    largest = scpo_largest(dim, problem->u, 0);
    problem->work->length = scpo_value(largest);
    largest = scpo_largest(1, &problem->r, largest);
    largest = scpo_largest(count, problem->c, largest);
    largest = scpo_largest(count, problem->e, largest);
    largest = scpo_largest(count, problem->L, largest);
    if (scpo_largest((long)count * dim, problem->G, largest) >= SCPO_INFINITY) {
        return SCPO_BAD_PROBLEM;
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
    for (k = 0; k < work->size; k++) {
        if (work->row[k] == row) {
            return 1;
        }
    }
    return 0;
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
    const scpo_real norm = work->t * work->length;
    scpo_real worst = 0;
    scpo_real cut;
    int slot = 0;
    int newest = 0;
    int found = -1;
    int i;
    int j;
    cut = room;
    if (!(norm * (1 + work->rounding) <= problem->r)) {
        found = 0;
    }
    for (i = 0; i < problem->count; i++, G += dim) {
        scpo_real bend = problem->L[i] / 2 * norm * norm;
        scpo_real slope = problem->e[i] * norm;
        scpo_real size = slope + bend - problem->c[i];
        scpo_real excess;
        scpo_real score;
        j = 0;
#ifndef __OPTIMIZE_SIZE__ /* two terms at once */
        scpo_real slope_odd = 0;
        scpo_real size_odd = 0;
        for (; j < dim - 1; j += 2) {
            scpo_real even = G[j] * work->delta[j];
            scpo_real odd = G[j + 1] * work->delta[j + 1];
            slope += even;
            slope_odd += odd;
            size += SCPO_ABS(even);
            size_odd += SCPO_ABS(odd);
        }
        slope += slope_odd;
        size += size_odd;
#endif
        for (; j < dim; j++) {
            scpo_real term = G[j] * work->delta[j];
            slope += term;
            size += SCPO_ABS(term);
        }
        excess = problem->c[i] + slope + bend + work->rounding * size + SCPO_UNDERFLOW;
        if (scpo_negative(excess)) {
            continue;
        }
        cut = scpo_max((excess + room * size) / (slope + 2 * bend), cut);
        if (found < 0) {
            found = 0;
        }
        while (slot < work->size && (work->lambda[slot] > 0 || work->row[slot] == work->pull)) {
            slot++;
        }
        score = excess / size;
        if (scpo_member(work, G) || (slot == SCPO_PLACES(dim) && !(found > 0 && score > worst))) {
            continue;
        }
        if (slot < SCPO_PLACES(dim)) {
            newest = slot++;
            found++;
        }
        scpo_dual_add(work, newest, i);
        worst = score; /* of the newest, which makes way for a worse one */
    }
    work->cut = cut;
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

/* (E5) and the repair. */
static scpo_status scpo_solve(scpo_workspace *work)
{
    int attempts = SCPO_MAX_SHRINK;
    scpo_status status = SCPO_OK;
    scpo_real room = 2 * work->rounding;
    scpo_real lost = 0;
    int found;
    while (work->t > 0 && (found = scpo_sweep(work, room)) >= 0) {
        scpo_real cut = work->cut;
        if (--work->budget > 0 && work->margin < SCPO_MAX_MARGIN) {
            if (found == 0) {
                scpo_tighten(work);
            }
            status = scpo_dual_maximise(work);
            continue;
        }
        if (!(cut < SCPO_R(0.5))) {
            cut = SCPO_R(0.5);
        }
        scpo_subtract(work->problem->dim, cut, work->delta, work->delta);
        cut = attempts-- > 0 ? cut * work->t : work->t;
        lost += cut;
        work->t -= cut;
        room *= 2;
        work->rounding += 4 * SCPO_EPS; /* between t and the length of delta */
    }
    return lost > SCPO_LOSS_TOLERANCE ? SCPO_CAPPED : status;
}

/* Makes the radius the only constraint of the working set, at its optimal multiplier. */
static void scpo_add_radius(scpo_workspace *work)
{
    work->row[0] = work->pull; /* any vector will do, as the scale is 0 */
    work->scale[0] = 0;
    work->c[0] = SCPO_R(-0.5);
    work->e[0] = work->margin;
    work->L[0] = 1;
    work->lambda[0] = 2 * (1 - work->inertia);
    work->step[0] = 0;
    *SCPO_GRAM(work, 0) = 0;
    work->size = 1;
}

/* Puts the step asked for into delta, shortened to the radius, and starts with the working set that this takes. */
static void scpo_start(scpo_workspace *work, scpo_real largest)
{
    const scpo_projection *problem = work->problem;
    const int dim = problem->dim;
    scpo_real *pull = work->pull;
    scpo_real norm;
    scpo_real size;
    scpo_multiply(dim, 8 / largest, problem->u, pull); /* 8: 1 / largest may be subnormal */
    norm = SCPO_SQRT(scpo_dot(dim, pull, pull));
    size = largest / 8 * norm;
    scpo_multiply(dim, 2 / norm, pull, pull);
    work->size = 0;
    work->t = 1;
    work->budget = SCPO_BUDGET(problem->count);
    work->rounding = SCPO_R(dim + 12) * SCPO_EPS;
    work->margin = 4 * work->rounding;
    if (size <= problem->r) {
        work->length = size;
        work->inertia = 1;
        scpo_multiply(dim, 1, problem->u, work->delta);
    } else {
        work->length = problem->r;
        work->inertia = work->length / size;
        scpo_multiply(dim, problem->r / 2, pull, work->delta);
        scpo_add_radius(work);
    }
}

scpo_status scpo_project(const scpo_projection *problem, scpo_real *delta)
{
    scpo_workspace *work = problem->work;
    scpo_status status = scpo_check(problem);
    work->t = 0;
    if (status == SCPO_OK && work->length > SCPO_LEAST && problem->r > SCPO_LEAST) {
        work->problem = problem;
        work->delta = delta;
        scpo_start(work, work->length);
        status = scpo_solve(work);
    }
    if (!(work->t > 0)) {
        int j = problem->dim < SCPO_MAX_DIM ? problem->dim : SCPO_MAX_DIM;
        while (j-- > 0) {
            delta[j] = 0;
        }
    }
    return status;
}
