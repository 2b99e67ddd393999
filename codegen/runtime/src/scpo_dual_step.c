/* A step of Newton's method for the dual: the most of its quadratic model over lambda + step >= 0, exactly.
 *
 * Constraints enter and leave a basis (Lawson and Hanson's order, so finitely many), and dependent constraints, which
 * make the model flat, move until one of them meets its bound. SPDX-License-Identifier: MIT
 */
#include "scpo_internal.h"

static void scpo_swap(int *x, int *y)
{
    const int z = *x;
    *x = *y;
    *y = z;
}

static scpo_real scpo_gram(const scpo_workspace *work, int i, int j)
{
    return i < j ? SCPO_GRAM(work, i)[j] : SCPO_GRAM(work, j)[i];
}

/* row = forward substitution by the first k rows of H_BB's Cholesky factor, of column i of H_BB; of gain_B if i < 0 */
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

/* move = inv(H_BB) gain_B, in the order of the basis, of which `factored` rows are known. The factor's diagonal is
 * stored inverted. A pivot near 0 means that a constraint depends on those before it; the least pivot lets it move
 * far, until some multiplier meets its bound. */
static void scpo_direction(scpo_workspace *work, int count, int factored)
{
    scpo_real *move = work->move;
    for (; factored < count; factored++) {
        const int i = work->basis[factored];
        scpo_real *row = SCPO_FACTOR(work, factored);
        scpo_real size = work->across * SCPO_GRAM(work, i)[i] + work->along * (work->q[i] * work->q[i] + 4 * SCPO_EPS);
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

/* step_B += tau move with the largest tau <= 1 that keeps the multipliers >= 0; gain follows. Returns the place in the
 * basis of the one that tau is due to, or -1. */
static int scpo_advance(scpo_workspace *work, int count)
{
    scpo_real tau = 1;
    scpo_real p_move = 0;
    scpo_real q_move = 0;
    int last = -1;
    int k;
    for (k = 0; k < count; k++) {
        const int i = work->basis[k];
        scpo_real room = work->lambda[i] + work->step[i];
        p_move += work->p[i] * work->move[k];
        q_move += work->q[i] * work->move[k];
        if (room < -tau * work->move[k]) {
            tau = -room / work->move[k];
            last = k;
        }
    }
    for (k = 0; k < work->size; k++) {
        const int i = work->basis[k];
        if (k < count) {
            work->step[i] += tau * work->move[k];
            work->gain[i] *= 1 - tau;
        } else {
            scpo_real sum = -p_move * work->p[i];
            int j;
            for (j = 0; j < count; j++) {
                sum += scpo_gram(work, i, work->basis[j]) * work->move[j];
            }
            work->gain[i] -= tau * (work->across * sum + work->along * q_move * work->q[i]);
        }
    }
    return last;
}

/* The place behind the basis of the constraint from whose multiplier the model gains most, or -1. */
static int scpo_entering(const scpo_workspace *work, int count)
{
    scpo_real most = 4 * SCPO_EPS * work->t;
    int entering = -1;
    for (; count < work->size; count++) {
        if (work->gain[work->basis[count]] > most) {
            most = work->gain[work->basis[count]];
            entering = count;
        }
    }
    return entering;
}

void scpo_step_begin(scpo_workspace *work)
{
    int i;
    work->changes = 6 * SCPO_SLOTS;
    work->count = 0;
    work->factored = 0;
    for (i = 0; i < work->size; i++) {
        work->step[i] = 0;
        work->gain[i] = work->slope[i];
        work->basis[i] = i;
        if (work->lambda[i] > 0) {
            scpo_swap(&work->basis[i], &work->basis[work->count++]);
        }
    }
}

int scpo_step_poll(scpo_workspace *work)
{
    int changes = SCPO_CHANGES;
    while (work->changes-- > 0 && changes-- > 0) {
        int place;
        scpo_direction(work, work->count, work->factored);
        work->factored = work->count;
        place = scpo_advance(work, work->count);
        if (place >= 0) {
            const int i = work->basis[place];
            work->step[i] = -work->lambda[i];
            work->factored = place;
            scpo_swap(&work->basis[place], &work->basis[--work->count]);
            continue;
        }
        place = scpo_entering(work, work->count);
        if (place < 0) {
            work->changes = 0;
            return 1;
        }
        scpo_swap(&work->basis[place], &work->basis[work->count++]);
    }
    work->changes++; /* of this turn of the loop, which did nothing */
    return work->changes <= 0;
}
