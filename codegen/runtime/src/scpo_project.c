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

/* The bound on all work: every Newton step and every sweep takes one off the budget, SCPO_MAX_NEWTON; sweeps after that
 * only shorten, and twice as much each time. */

/* Bound on the rounding errors of a constraint, of its sum here and of one in any order elsewhere together, relative to
 * the sum of all |terms|, in units of SCPO_EPS / 2. No partial sum of a sum <= 0 exceeds its negative terms, which are
 * half of all where it matters. So each of the dim + 2 additions costs half a unit, elsewhere and, one by one, here,
 * and each product one; in fours there are fewer. docs/projection.md has more. */
#ifdef __FAST_MATH__
#define SCPO_ROUNDINGS(dim) SCPO_R((dim) + 5)
#else
#define SCPO_ROUNDINGS(dim) SCPO_R((dim) < 10 ? (dim) + 5 : (5 * (dim) + 67) / 8)
#endif

/* Whether x is negative, and neither NaN nor infinite, whatever the compiler assumes. */
static int scpo_negative(scpo_real x)
{
    return scpo_raw(&x) - SCPO_SIGN < SCPO_INFINITY;
}

/* Whether sums are rounded to nearest, which the bounds on rounding errors hold for. */
static int scpo_rounds_to_nearest(void)
{
    volatile scpo_real one = 1; /* volatile: the processor's sums, not the compiler's */
    one = one + SCPO_EPS / 8;
    one = one - SCPO_EPS / 8;
    return !(one < 1 || one > 1);
}

/* Also leaves the largest part of u in work->length. */
static scpo_status scpo_check(const scpo_projection *problem)
{
    const int dim = problem->dim;
    const int count = problem->count;
    scpo_status status = SCPO_OK;
    scpo_bits largest;
    int i;
    if (dim < 1 || dim > SCPO_MAX_DIM || count < 0 || scpo_raw(&problem->r) - 1 >= SCPO_INFINITY - 1) {
        return SCPO_BAD_PROBLEM;
    }
    if (!scpo_rounds_to_nearest()) {
        return SCPO_BAD_MODE;
    }
    largest = scpo_largest(dim, problem->u, 0);
    problem->work->length = scpo_value(largest);
    largest = scpo_largest(count, problem->c, largest);
    largest = scpo_largest(count, problem->e, largest);
    largest = scpo_largest(count, problem->L, largest);
    if (scpo_largest((long)count * dim, problem->G, largest) >= SCPO_INFINITY) {
        return SCPO_BAD_PROBLEM;
    }
    for (i = 0; i < count; i++) {
        if (scpo_raw(problem->e + i) > SCPO_SIGN || scpo_raw(problem->L + i) > SCPO_SIGN) {
            return SCPO_BAD_PROBLEM;
        }
        if (scpo_raw(problem->c + i) - 1 < SCPO_SIGN - 1) {
            status = SCPO_UNSAFE_START;
        }
    }
    return status;
}

/* Adds x'y to sum and the sum of its |terms| to size, in fours, which rounds less than one by one. */
static inline void scpo_sum(int dim, const scpo_real *x, const scpo_real *y, scpo_real *sum, scpo_real *size)
{
    while (SCPO_IN_LOOP(dim)) {
        scpo_real part = 0;
        scpo_real bulk = 0;
        do {
            const scpo_real term = *x++ * *y++;
            part += term;
            bulk += SCPO_ABS(term);
        } while (--dim & 3);
        *sum += part;
        *size += bulk;
    }
#ifndef __OPTIMIZE_SIZE__
    for (; dim > 3; dim -= 4, x += 4, y += 4) {
        const scpo_real one = x[0] * y[0];
        const scpo_real two = x[1] * y[1];
        const scpo_real three = x[2] * y[2];
        const scpo_real four = x[3] * y[3];
        *sum += one + two + three + four;
        *size += SCPO_ABS(one) + SCPO_ABS(two) + SCPO_ABS(three) + SCPO_ABS(four);
    }
#endif
}

/* The slot of a constraint in the working set, or work->size. */
static int scpo_member(const scpo_workspace *work, const scpo_real *row)
{
    int k = 0;
    while (k < work->size && work->row[k] != row) {
        k++;
    }
    return k;
}

/* The next slot behind `slot` without a multiplier, or the one behind all. */
static int scpo_vacant(const scpo_workspace *work, int slot)
{
    while (++slot < work->size && (scpo_raw(work->lambda + slot) != 0 || work->row[slot] == work->pull)) {
    }
    return slot;
}

/* Evaluates (E4) at delta. Constraints that delta violates join the working set as far as there are places, behind it
 * or instead of those without a multiplier; the worst one always does. They are tightened by what rounding takes at
 * delta, and all violated ones by `margin`, in the same relative units. `cut` receives the part of delta to take away
 * so that all hold with `room` to spare: a Newton step on each constraint as a function of the length of delta.
 * Returns 0 if nothing is violated, else 1, and 2 more for each that joined. */
static int scpo_sweep(scpo_workspace *work, scpo_real room, scpo_real margin, scpo_real *cut)
{
    const scpo_projection *problem = work->problem;
    const int dim = problem->dim;
    const scpo_real *G = problem->G;
    const scpo_real length = work->t * work->length;
    const scpo_real rounding = work->rounding;
    const scpo_real norm = length + length * (rounding + 4 * SCPO_EPS); /* no one finds more */
    const scpo_real underflow = SCPO_R(4 * dim + 16) * SCPO_UNDERFLOW;
    scpo_real worst = 0;
    int newest = -1;
    int found = !(norm <= problem->r);
    int i;
    *cut = room;
    for (i = 0; i < problem->count; i++, G += dim) {
        scpo_real bend = problem->L[i] / 2 * norm * norm;
        scpo_real slope = problem->e[i] * norm;
        scpo_real size = slope + bend - problem->c[i];
        scpo_real weight = margin;
        scpo_real excess;
        int slot;
        scpo_sum(dim, G, work->delta, &slope, &size);
        excess = problem->c[i] + slope + bend + rounding * size + underflow;
        if (scpo_negative(excess)) {
            continue;
        }
        if (scpo_raw(&size) == 0 && /* all terms are 0: where they do not only underflow, it holds everywhere */
            scpo_largest(dim, G, (scpo_raw(problem->e + i) | scpo_raw(problem->L + i)) & ~SCPO_SIGN) == 0) {
            continue;
        }
        excess += room * size;
        /* the derivative, or a little more, and never 0 */
        *cut = scpo_max(excess / (excess - problem->c[i] + bend), *cut);
        found |= 1;
        slot = scpo_member(work, G);
        if (slot >= work->size) {
            slot = scpo_vacant(work, newest);
            if (slot < SCPO_PLACES(dim) && found < 2 * SCPO_JOINING) {
                newest = slot;
                found += 2;
            } else if (newest < 0 || !(excess > worst * size)) {
                continue;
            }
            worst = excess / size; /* of the newest, which makes way for a worse one */
            scpo_dual_add(work, newest, i);
            slot = newest;
            weight += SCPO_MARGIN * rounding;
        }
        work->e[slot] += weight * size * work->scale[slot] / length;
    }
    return found;
}

/* One piece of (E5) and the repair: a sweep, or a step towards the optimum of the working set. Where rounding alone
 * is to blame, shortening the answer is cheapest, unless it costs too much of the objective, |u|^2 (1 + inertia
 * value): then the violated constraints are tightened, ever more. Returns SCPO_BUSY where there is more to do. */
static scpo_status scpo_piece(scpo_workspace *work)
{
    scpo_real cut;
    scpo_real loss;
    int found;
    if (work->maximising) {
        work->status = scpo_dual_poll(work);
        work->maximising = work->status == SCPO_BUSY;
        work->room = 4 * SCPO_EPS;
        return SCPO_BUSY;
    }
    if (!(work->t > 0)) {
        work->t = 0; /* even if it is NaN */
        return work->status;
    }
    found = scpo_sweep(work, work->room, work->margin, &cut);
    loss = cut * (work->t + 4 * SCPO_LOSS_TOLERANCE);
    if (found == 0) {
        return work->status;
    }
    if (--work->budget <= 0) {
        work->status = SCPO_CAPPED;
    } else if (found > 1 || loss > SCPO_LOSS_TOLERANCE * (1 + work->inertia * work->value)) {
        if (found == 1) {
            work->margin *= 2;
        }
        scpo_dual_begin(work);
        work->maximising = 1;
        return SCPO_BUSY;
    }
    if (!(cut < SCPO_R(0.25))) { /* give up; 1 - cut would also cancel too much for t to stay a bound */
        cut = 1;
        work->status = SCPO_CAPPED;
    }
    scpo_subtract(work->problem->dim, cut, work->delta, work->delta);
    work->t -= cut * work->t;
    work->t += 2 * SCPO_EPS * work->t; /* no less than the length of delta */
    work->room *= 2;
    return SCPO_BUSY;
}

/* Makes the radius the only constraint of the working set, at its optimal multiplier. */
static void scpo_add_radius(scpo_workspace *work)
{
    work->row[0] = work->pull; /* any vector will do, as the scale is 0 */
    work->scale[0] = 0;
    work->c[0] = SCPO_R(-0.5);
    work->e[0] = 4 * work->rounding;
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
    const scpo_real weight = 8 / largest; /* 8: 1 / largest may be subnormal */
    scpo_real *pull = work->pull;
    scpo_real norm;
    scpo_real size;
    scpo_multiply(dim, weight, problem->u, pull);
    norm = SCPO_SQRT(scpo_dot(dim, pull, pull));
    size = norm / weight;
    scpo_multiply(dim, 2 / norm, pull, pull);
    work->size = 0;
    work->t = 1;
    work->value = 0;
    work->budget = SCPO_BUDGET(problem->count);
    work->rounding = SCPO_ROUNDINGS(dim) * (SCPO_EPS / 2);
    work->margin = SCPO_MARGIN * work->rounding / 4;
    work->room = 4 * SCPO_EPS;
    work->length = size < problem->r ? size : problem->r;
    work->inertia = work->length / size + SCPO_UNDERFLOW; /* multipliers are divided by it */
    memcpy(work->delta, problem->u, (size_t)dim * sizeof *work->delta);
    if (work->inertia < 1) {
        scpo_multiply(dim, problem->r / 2, pull, work->delta);
        scpo_add_radius(work);
    }
}

scpo_status scpo_project_begin(const scpo_projection *problem, scpo_real *delta)
{
    scpo_workspace *work = problem->work;
    const scpo_real least = SCPO_LEAST;
    int j;
    work->problem = problem;
    work->delta = delta;
    work->size = 0;
    work->maximising = 0;
    work->status = scpo_check(problem);
    if (work->status == SCPO_OK && scpo_raw(&work->length) > scpo_raw(&least) &&
        scpo_raw(&problem->r) > scpo_raw(&least)) {
        scpo_start(work, work->length);
        return SCPO_BUSY;
    }
    work->t = 0;
    for (j = 0; j < problem->dim && j < SCPO_MAX_DIM; j++) {
        delta[j] = 0;
    }
    return work->status;
}

scpo_status scpo_project_poll(scpo_workspace *work)
{
    const scpo_status status = scpo_piece(work);
    if (status != SCPO_BUSY && scpo_raw(&work->t) == 0) {
        int j;
        for (j = 0; j < work->problem->dim; j++) {
            work->delta[j] = 0;
        }
    }
    return status;
}

scpo_status scpo_project(const scpo_projection *problem, scpo_real *delta)
{
    scpo_status status = scpo_project_begin(problem, delta);
    while (status == SCPO_BUSY) {
        status = scpo_project_poll(problem->work);
    }
    return status;
}

void scpo_project_guess(scpo_workspace *work, int index, scpo_real multiplier)
{
    const int slot = work->size;
    if (slot < SCPO_PLACES(work->problem->dim)) {
        scpo_dual_add(work, slot, index);
        work->lambda[slot] = 2 * multiplier * work->inertia / (work->scale[slot] * work->length);
        work->maximising = 1;
        scpo_dual_begin(work);
    }
}

scpo_real scpo_project_multiplier(const scpo_workspace *work, int index)
{
    const int slot = scpo_member(work, work->problem->G + (long)index * work->problem->dim);
    return slot == work->size ? 0 : work->lambda[slot] * work->scale[slot] * work->length / (2 * work->inertia);
}
