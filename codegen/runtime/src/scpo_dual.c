/* The dual of the projection (E5) on a working set of constraints: Newton's method with bounds.
 *
 * The dual function is concave and once differentiable, in as many variables as there are constraints in the set. Each
 * step maximises its quadratic model over lambda >= 0 exactly (scpo_dual_step.c), and a search along it makes the
 * function rise. Where the answer is so short that the model fits nowhere, a homotopy leads there.
 * SPDX-License-Identifier: MIT
 */
#include "scpo_internal.h"

#define SCPO_MAX_STEPS 16  /* Newton steps in a row */
#define SCPO_MAX_SEARCH 40 /* trials along one step */

scpo_real scpo_dot(int dim, const scpo_real *x, const scpo_real *y)
{
    scpo_real sum = 0;
    while (SCPO_IN_LOOP(dim)) {
        scpo_real part = 0;
        do {
            part += *x++ * *y++;
        } while (--dim & 3);
        sum += part;
    }
#ifndef __OPTIMIZE_SIZE__
    for (; dim > 3; dim -= 4, x += 4, y += 4) {
        sum += x[0] * y[0] + x[1] * y[1] + x[2] * y[2] + x[3] * y[3];
    }
#endif
    return sum;
}

void scpo_subtract(int dim, scpo_real weight, const scpo_real *x, scpo_real *y)
{
#ifndef __OPTIMIZE_SIZE__
    for (; dim > 3; dim -= 4, x += 4, y += 4) {
        y[0] -= weight * x[0];
        y[1] -= weight * x[1];
        y[2] -= weight * x[2];
        y[3] -= weight * x[3];
    }
#endif
    while (dim-- > 0) {
        *y++ -= weight * *x++;
    }
}

void scpo_multiply(int dim, scpo_real weight, const scpo_real *x, scpo_real *y)
{
    while (dim-- > 0) {
        *y++ = weight * *x++;
    }
}

static scpo_bits scpo_larger(const scpo_real *x, scpo_bits largest)
{
    const scpo_bits bits = scpo_raw(x) & ~SCPO_SIGN;
    return bits > largest ? bits : largest;
}

scpo_bits scpo_largest(long count, const scpo_real *x, scpo_bits largest)
{
#ifndef __OPTIMIZE_SIZE__
    for (; count > 3; count -= 4, x += 4) {
        largest = scpo_larger(x + 3, scpo_larger(x + 2, scpo_larger(x + 1, scpo_larger(x, largest))));
    }
#endif
    while (count-- > 0) {
        largest = scpo_larger(x++, largest);
    }
    return largest;
}

void scpo_dual_add(scpo_workspace *work, int slot, int index)
{
    const scpo_projection *problem = work->problem;
    const int dim = problem->dim;
    const scpo_real *G = problem->G + (long)index * dim;
    const scpo_real *error = problem->e + index;
    scpo_real curved = problem->L[index] * work->length;
    scpo_bits most = scpo_largest(dim, G, scpo_largest(1, error, SCPO_LEAST_BITS)); /* 1 / it is finite */
    scpo_real scale = 1 / scpo_max(scpo_value(most), curved);
    scpo_real *entry;
    int j;

    work->row[slot] = G;
    work->scale[slot] = scale;
    work->c[slot] = problem->c[index] * scale / work->length;
    work->e[slot] = *error * scale;
    work->L[slot] = curved * scale;
    work->lambda[slot] = 0;
    work->step[slot] = 0;
    if (slot == work->size) {
        work->size++;
    }
    entry = SCPO_GRAM(work, 0) + slot;
    for (j = 0; j < work->size; j++) {
        *entry = scpo_dot(dim, G, work->row[j]) * scale * work->scale[j];
        entry += j < slot ? SCPO_STRIDE : 1;
    }
}

/* The constraints' derivatives along the direction of the answer at `near`, and from there their values at t. */
static void scpo_linearise(scpo_workspace *work, scpo_real near)
{
    int j;
    for (j = 0; j < work->size; j++) {
        scpo_real bend = work->L[j] * near;
        work->q[j] = work->p[j] + work->e[j] + bend;
        work->slope[j] = work->c[j] + work->t * work->q[j] - near * bend / 2;
    }
}

/* The same where the first constraint is met on the way from 0 to the present point: a better guess of the answer. */
static void scpo_look_nearer(scpo_workspace *work)
{
    scpo_real near = work->t;
    int j;
    for (j = 0; j < work->size; j++) {
        scpo_real twice = -2 * work->c[j];
        scpo_real straight = work->p[j] + work->e[j];
        scpo_real root = straight + SCPO_SQRT(straight * straight + work->L[j] * twice);
        if (near * root > twice) {
            near = twice / root;
        }
    }
    scpo_linearise(work, scpo_max(near, work->t / 1024));
}

/* Moves by tau along the step, and evaluates the dual function and its derivatives there. */
static void scpo_move(scpo_workspace *work, scpo_real tau)
{
    const int dim = work->problem->dim;
    scpo_real error = 0;
    scpo_real curvature = 2 * work->inertia;
    scpo_real value = 0;
    scpo_real sum = 1;
    scpo_real n;
    scpo_real inverse;
    int j;

    memcpy(work->delta, work->pull, (size_t)dim * sizeof *work->delta);
    for (j = 0; j < work->size; j++) {
        const scpo_real lambda = scpo_max(work->lambda[j] + tau * work->step[j], 0);
        work->lambda[j] = lambda;
        if (lambda > 0) {
            sum += lambda;
            error += lambda * work->e[j];
            curvature += lambda * work->L[j];
            value += lambda * work->c[j];
            scpo_subtract(dim, lambda * work->scale[j], work->row[j], work->delta);
        }
    }
    n = SCPO_SQRT(scpo_dot(dim, work->delta, work->delta) + SCPO_LEAST); /* not less, even where squares underflow */
    inverse = 1 / n;
    work->along = 1 / curvature;
    sum *= 16 * SCPO_EPS;
    work->noise = sum * sum * work->along;
    work->t = scpo_max((n - error) * work->along, 0);
    work->value = value - work->t * (n - error) / 2;
    work->across = work->t * inverse;
    for (j = 0; j < work->size; j++) {
        work->p[j] = scpo_dot(dim, work->row[j], work->delta) * work->scale[j] * inverse;
    }
    scpo_linearise(work, work->t);
}

/* Goes back along the step, half way, where the dual function falls there, by more than a little of the slope that it
 * began with. Returns 0 where it does not, or was halved often enough. */
static int scpo_search(scpo_workspace *work)
{
    if (work->trials-- <= 0 ||
        !(scpo_dot(work->size, work->slope, work->step) < (work->t > 0 ? -work->rise / 8 : 0))) {
        work->trials = 0;
        return 0;
    }
    work->tau /= 2;
    scpo_move(work, -work->tau);
    return 1;
}

/* One piece of Newton's method: the start's evaluation, some changes of the basis with the step that they end in, or
 * one back from it. Returns 1 where it has converged, -1 where it has taken too many, else 0. */
static int scpo_ascend(scpo_workspace *work)
{
    int converged = 0;
    if (work->trials > 0 && scpo_search(work)) {
        return 0;
    }
    if (work->changes == 0) {
        if (work->steps < 0) {
            scpo_move(work, 0);
            work->steps = 0;
            return 0;
        }
        if (work->steps >= SCPO_MAX_STEPS || work->budget-- <= 0) {
            return -1;
        }
        work->rise = -work->value;
        if (work->rise <= work->noise + SCPO_GAIN_TOLERANCE) { /* noise: how well the function is known at small t */
            work->t = 0; /* nothing to be gained by leaving 0 */
            return 1;
        }
        if (work->steps++ == 0 && work->t > 0) {
            scpo_look_nearer(work);
        }
        if (work->t > 0) {
            scpo_step_begin(work);
        } else {
            scpo_multiply(work->size, -1, work->lambda, work->step); /* back to where the function is curved */
        }
    }
    if (work->changes > 0) {
        if (!scpo_step_poll(work)) {
            return 0;
        }
        work->rise = scpo_dot(work->size, work->slope, work->step);
        converged = work->steps > 1 && work->rise <= work->noise - SCPO_GAP_TOLERANCE * work->value;
    }
    scpo_move(work, 1);
    work->trials = converged ? 0 : SCPO_MAX_SEARCH;
    work->tau = 1;
    return converged;
}

void scpo_dual_begin(scpo_workspace *work)
{
    work->given = work->inertia;
    work->more = 0;
    work->ratio = 4096;
    work->steps = -1;
    work->trials = 0;
    work->changes = 0;
}

/* Where Newton's method fails, a homotopy: more inertia asks for a shorter step, in the beginning so short that all is
 * well-conditioned. Then it is taken away by and by, in smaller portions after each failure. */
scpo_status scpo_dual_poll(scpo_workspace *work)
{
    const int outcome = scpo_ascend(work);
    scpo_status status = SCPO_BUSY;
    if (outcome == 0) {
        return status;
    }
    if (outcome < 0) {
        work->more = SCPO_MORE;
        work->ratio = SCPO_SQRT(work->ratio);
    } else if (work->more > 0) {
        work->more = scpo_max(work->more / work->ratio - work->given / 64, 0);
    } else {
        status = SCPO_OK;
    }
    if (status != SCPO_OK && work->budget > 0) {
        work->inertia = work->given + work->more;
        work->steps = -1;
        return status;
    }
    work->inertia = work->given;
    if (!(work->t >= SCPO_EPS)) {
        work->t = 0; /* so short that it does not matter, and what is longer has normal squares */
    }
    scpo_multiply(work->problem->dim, work->across * work->length, work->delta, work->delta);
    return status == SCPO_OK ? SCPO_OK : SCPO_CAPPED;
}
