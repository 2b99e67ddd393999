/* The dual of the projection (E5) on a working set of constraints: Newton's method with bounds.
 *
 * The dual function is concave and once differentiable, in as many variables as there are constraints in the set. Each
 * step maximises its quadratic model over lambda >= 0 exactly: constraints enter and leave a basis (Lawson and Hanson's
 * order, so finitely many), and dependent constraints, which make the model flat, move until one of them meets its
 * bound. A search along the step makes the function rise. Where t is nearly 0 its curvature is so
 * large that the search creeps; then a few steps keep t as a variable of its own. SPDX-License-Identifier: MIT
 */
#include "scpo_internal.h"

#define SCPO_MAX_STEPS 48   /* Newton steps on one working set, by turns */
#define SCPO_DUAL_STEPS 10  /* that many that search */
#define SCPO_SADDLE_STEPS 6 /* and that many that keep t */
#define SCPO_MAX_SEARCH 40 /* trials along one step */

scpo_real scpo_dot(int dim, const scpo_real *x, const scpo_real *y)
{
    scpo_real sum = 0;
#ifndef __OPTIMIZE_SIZE__ /* four terms at once, where speed matters more */
    scpo_real odd = 0;
    for (; dim > 3; dim -= 4, x += 4, y += 4) {
        sum += x[0] * y[0] + x[2] * y[2];
        odd += x[1] * y[1] + x[3] * y[3];
    }
    sum += odd;
#endif
    while (dim-- > 0) {
        sum += *x++ * *y++;
    }
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

scpo_bits scpo_largest(long count, const scpo_real *x, scpo_bits largest)
{
    while (count-- > 0) {
        scpo_bits bits;
        memcpy(&bits, x++, sizeof bits);
        bits &= (scpo_bits)-1 >> 1; /* without the sign */
        if (bits > largest) {
            largest = bits;
        }
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
    scpo_real scale = 1 / scpo_max(scpo_value(scpo_largest(dim, G, scpo_largest(1, error, 0))), curved);
    scpo_real *entry;
    int j;

    work->row[slot] = G;
    work->scale[slot] = scale;
    work->c[slot] = problem->c[index] * scale / work->length;
    work->e[slot] = *error * scale + work->margin;
    work->L[slot] = curved * scale;
    work->lambda[slot] = 0;
    if (slot == work->size) {
        work->size++;
    }
    entry = SCPO_GRAM(work, 0) + slot;
    for (j = 0; j < work->size; j++) {
        *entry = scpo_dot(dim, G, work->row[j]) * scale * work->scale[j];
        entry += j < slot ? SCPO_WIDTH : 1;
    }
}

/* The Lagrangian after minimisation over directions, with its derivatives, at the present multipliers: at the present t
 * if `keep`, else at the t that minimises it too, which makes it the dual function. */
static void scpo_evaluate(scpo_workspace *work, int keep)
{
    const int dim = work->problem->dim;
    scpo_real error = 0;
    scpo_real curvature = 2 * work->inertia;
    scpo_real value = 0;
    scpo_real n;
    scpo_real inverse;
    scpo_real numerator;
    scpo_real best;
    int j;

    memcpy(work->delta, work->pull, (size_t)dim * sizeof *work->delta);
    for (j = 0; j < work->size; j++) {
        const scpo_real lambda = work->lambda[j];
        if (lambda > 0) {
            error += lambda * work->e[j];
            curvature += lambda * work->L[j];
            value += lambda * work->c[j];
            scpo_subtract(dim, lambda * work->scale[j], work->row[j], work->delta);
        }
    }
    n = SCPO_SQRT(scpo_dot(dim, work->delta, work->delta));
    inverse = n > 0 ? 1 / n : 0;
    numerator = n - error;
    work->along = 1 / curvature;
    best = scpo_max(numerator, 0) * work->along;
    work->value = value - best * numerator / 2;
    if (!keep) {
        work->t = best;
    }
    work->excess = work->t > 0 ? work->t - numerator * work->along : 0;
    work->across = work->t * inverse;
    for (j = 0; j < work->size; j++) {
        scpo_real p = scpo_dot(dim, work->row[j], work->delta) * work->scale[j] * inverse;
        scpo_real bend = work->L[j] * work->t;
        scpo_real q = p + work->e[j] + bend;
        work->p[j] = p;
        work->q[j] = q;
        work->slope[j] = work->c[j] + work->t * (q - bend / 2) - work->excess * q; /* t eliminated from Newton's system */
    }
}

static scpo_real scpo_gram(const scpo_workspace *work, int i, int j)
{
    return i < j ? SCPO_GRAM(work, i)[j] : SCPO_GRAM(work, j)[i];
}

/* row = forward substitution, by the first k rows of H_BB's Cholesky factor, of column i of H_BB; of gain_B if i < 0. */
static void scpo_substitute(scpo_workspace *work, scpo_real *row, int k, int i)
{
    int j;
    for (j = 0; j < k; j++) {
        const scpo_real *above = SCPO_FACTOR(work, j);
        const int b = work->basis[j];
        scpo_real entry = work->gain[b];
        if (i >= 0) { /* H = across (K - p p') + along q q' */
            entry = work->across * (scpo_gram(work, i, b) - work->p[i] * work->p[b]) +
                    work->along * work->q[i] * work->q[b];
        }
        row[j] = (entry - scpo_dot(j, row, above)) * above[j];
    }
}

/* move = inv(H_BB) gain_B, in the order of the basis, of which `factored` rows are known. The factor's diagonal is stored
 * inverted. A pivot near 0 means that a constraint depends on those before it; the least pivot lets it move far, until
 * some multiplier meets its bound. */
static void scpo_direction(scpo_workspace *work, int count, int factored)
{
    scpo_real *move = work->move;
    for (; factored < count; factored++) {
        const int i = work->basis[factored];
        scpo_real *row = SCPO_FACTOR(work, factored);
        scpo_real size = work->across * SCPO_GRAM(work, i)[i] + work->along * (work->q[i] * work->q[i] + SCPO_EPS);
        scpo_real pivot = size - work->across * work->p[i] * work->p[i];
        scpo_substitute(work, row, factored, i);
        row[factored] = 1 / SCPO_SQRT(scpo_max(pivot - scpo_dot(factored, row, row), 64 * SCPO_EPS * size));
    }
    scpo_substitute(work, move, count, -1);
    while (count-- > 0) {
        const scpo_real *row = SCPO_FACTOR(work, count);
        move[count] *= row[count];
        scpo_subtract(count, move[count], row, move);
    }
}

/* gain = slope - H step */
static void scpo_update_gain(scpo_workspace *work)
{
    const int size = work->size;
    scpo_real p_step = work->across * scpo_dot(size, work->p, work->step);
    scpo_real q_step = work->along * scpo_dot(size, work->q, work->step);
    int i;
    int j;
    for (i = 0; i < size; i++) {
        work->gain[i] = work->slope[i] + p_step * work->p[i] - q_step * work->q[i];
    }
    for (j = 0; j < size; j++) {
        scpo_real weight = work->across * work->step[j];
        for (i = 0; i < size && work->step[j] != 0; i++) {
            work->gain[i] -= weight * scpo_gram(work, i, j);
        }
    }
}

/* step_B += tau move with the largest tau <= 1 that keeps the multipliers >= 0. Returns the place in the basis of the
 * one that tau is due to, or -1. */
static int scpo_advance(scpo_workspace *work, int count)
{
    scpo_real tau = 1;
    int last = -1;
    int k;
    for (k = 0; k < count; k++) {
        scpo_real room = work->lambda[work->basis[k]] + work->step[work->basis[k]];
        if (room < -tau * work->move[k]) {
            tau = -room / work->move[k];
            last = k;
        }
    }
    for (k = 0; k < count; k++) {
        work->step[work->basis[k]] += tau * work->move[k];
    }
    return last;
}

/* The constraint outside the basis from whose multiplier the model gains most, or -1. */
static int scpo_entering(scpo_workspace *work, int count)
{
    scpo_real most = 4 * SCPO_EPS * work->t;
    int entering = -1;
    int i;
    while (count-- > 0) {
        work->gain[work->basis[count]] = 0;
    }
    for (i = 0; i < work->size; i++) {
        if (work->gain[i] > most) {
            most = work->gain[i];
            entering = i;
        }
    }
    return entering;
}

/* step = argmax slope's - s'Hs/2 subject to lambda + s >= 0, by Lawson and Hanson's method, starting from the basis of
 * all present multipliers. Returns the slope along it. */
static scpo_real scpo_newton_step(scpo_workspace *work)
{
    int changes = 6 * SCPO_SLOTS; /* of the basis; a cap that only rounding errors could need */
    int count = 0;
    int factored = 0;
    int last = 0;
    int i;
    for (i = 0; i < work->size; i++) {
        work->step[i] = 0;
        work->basis[count] = i;
        if (work->lambda[i] > 0) {
            count++;
        }
    }
    while (changes-- > 0) {
        scpo_update_gain(work);
        if (last < 0) {
            i = scpo_entering(work, count);
            if (i < 0) {
                break;
            }
            work->basis[count++] = i;
        }
        scpo_direction(work, count, factored);
        factored = count;
        last = scpo_advance(work, count);
        if (last >= 0) {
            i = work->basis[last];
            work->step[i] = -work->lambda[i];
            factored = last;
            work->basis[last] = work->basis[--count];
        }
    }
    return scpo_dot(work->size, work->slope, work->step);
}

/* lambda += tau step, where a multiplier that meets its bound stays; returns the sum of lambda. */
static scpo_real scpo_move(scpo_workspace *work, scpo_real tau)
{
    scpo_real sum = 0;
    int i;
    for (i = 0; i < work->size; i++) {
        scpo_real moved = work->lambda[i] + tau * work->step[i];
        if (moved < 0) {
            moved = 0;
            work->step[i] = 0;
        }
        work->lambda[i] = moved;
        sum += moved;
    }
    return sum;
}

/* Moves along the step to where the dual function is largest, roughly; by a full step if that is nearly so. Where t = 0
 * the function is linear and its maximum elsewhere. */
static void scpo_search(scpo_workspace *work, scpo_real slope)
{
    scpo_real tau = 1;
    scpo_real low = 0;
    scpo_real high = 0;
    int trials = SCPO_MAX_SEARCH;
    while (trials-- > 0) {
        scpo_real at_tau = scpo_dot(work->size, work->slope, work->step);
        scpo_real change;
        if (!(work->t > 0)) {
            slope = 0;
        }
        if (at_tau < -slope / 8) {
            high = tau;
        } else if (at_tau > slope / 4) {
            low = tau;
        } else {
            return;
        }
        change = high > 0 ? (low + high) / 2 - tau : tau;
        (void)scpo_move(work, change);
        tau += change;
        scpo_evaluate(work, 0);
    }
}

scpo_status scpo_dual_maximise(scpo_workspace *work)
{
    int steps = SCPO_MAX_STEPS;
    int converged = 0;
    scpo_real noise = 0; /* rounding errors of n - lambda'e */
    scpo_evaluate(work, 0);
    while (!converged && steps-- > 0 && work->budget-- > 0) {
        const int keep = steps % (SCPO_DUAL_STEPS + SCPO_SADDLE_STEPS) < SCPO_SADDLE_STEPS;
        const scpo_real floor = noise * noise * work->along; /* how well the dual function is known where t is small */
        scpo_real slope;
        if (-work->value <= floor) {
            work->t = 0; /* nothing to be gained by leaving 0 */
            converged = 1;
            continue;
        }
        slope = scpo_newton_step(work);
        converged = slope + SCPO_ABS(work->excess * work->t / work->along) <= floor - SCPO_GAP_TOLERANCE * work->value;
        work->t = scpo_max(work->t / 10,
                           work->t - work->excess - work->along * scpo_dot(work->size, work->q, work->step));
        noise = 16 * SCPO_EPS * (1 + scpo_move(work, 1));
        scpo_evaluate(work, keep);
        if (!converged && !keep) {
            scpo_search(work, slope);
        }
    }
    if (!(work->t >= SCPO_EPS)) {
        work->t = 0; /* so short that it does not matter, and what is longer has normal squares */
    }
    scpo_multiply(work->problem->dim, work->across * work->length, work->delta, work->delta);
    /* if not converged: no answer could gain more */
    return converged || -work->value <= noise + SCPO_LOSS_TOLERANCE ? SCPO_OK : SCPO_CAPPED;
}
