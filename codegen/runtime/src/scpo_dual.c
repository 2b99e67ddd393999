/* The dual of the projection (E5) on a working set of constraints: Newton's method with bounds.
 *
 * The dual function is concave and once differentiable, in as many variables as there are constraints in the set. Each
 * step maximises its quadratic model over lambda >= 0 exactly: constraints enter and leave a basis by symmetric pivots
 * (Lawson and Hanson's order, so finitely many), and dependent constraints, which make the model flat, move until one
 * of them meets its bound. A search along the step makes the function rise. Where t is nearly 0 its curvature is so
 * large that the search creeps; then a few steps keep t as a variable of its own. SPDX-License-Identifier: MIT
 */
#include "scpo_internal.h"

#define SCPO_MAX_STEPS 48   /* Newton steps on one working set, by turns */
#define SCPO_DUAL_STEPS 10  /* that many that search */
#define SCPO_SADDLE_STEPS 6 /* and that many that keep t */
#define SCPO_MAX_SEARCH 40 /* trials along one step */

/* Packed lower triangle, j <= i. */
#define SCPO_AT(i, j) ((i) * ((i) + 1) / 2 + (j))

scpo_real scpo_rounding(int dim)
{
    return SCPO_R(dim + 8) * SCPO_EPS;
}

scpo_real scpo_dot(int dim, const scpo_real *x, const scpo_real *y)
{
    scpo_real sum = 0;
    int j;
    for (j = 0; j < dim; j++) {
        sum += x[j] * y[j];
    }
    return sum;
}

/* Euclidean norm without overflow or underflow of the squares. */
scpo_real scpo_norm(int dim, const scpo_real *x)
{
    scpo_real largest = 0;
    scpo_real sum = 0;
    int j;
    for (j = 0; j < dim; j++) {
        scpo_real size = SCPO_ABS(x[j]);
        if (size > largest) {
            largest = size;
        }
    }
    if (largest > 0) {
        for (j = 0; j < dim; j++) {
            scpo_real ratio = x[j] / largest;
            sum += ratio * ratio;
        }
    }
    return largest * SCPO_SQRT(sum);
}

/* The gradient of a constraint in the working set. The radius has none: any vector does, as its scale is 0. */
static const scpo_real *scpo_row(const scpo_dual *dual, int i)
{
    const scpo_workspace *work = dual->work;
    return work->row[i] < 0 ? work->unit : dual->problem->G + (long)work->row[i] * dual->problem->dim;
}

static scpo_real scpo_max(scpo_real a, scpo_real b)
{
    return a > b ? a : b;
}

void scpo_dual_add_radius(scpo_dual *dual)
{
    scpo_workspace *work = dual->work;
    work->row[0] = -1;
    work->scale[0] = 0;
    work->c[0] = SCPO_R(-0.5);
    work->e[0] = dual->margin;
    work->L[0] = 1;
    work->lambda[0] = 2 * (1 - dual->inertia);
    work->gram[0] = 0;
    dual->size = 1;
}

void scpo_dual_add(scpo_dual *dual, int slot, int index)
{
    const scpo_projection *problem = dual->problem;
    scpo_workspace *work = dual->work;
    const int dim = problem->dim;
    const scpo_real *G = problem->G + (long)index * dim;
    scpo_real size = scpo_norm(dim, G);
    scpo_real curved = problem->L[index] * dual->length;
    scpo_real scale = 1 / scpo_max(size, scpo_max(problem->e[index], curved));
    scpo_real *entry;
    int j;

    work->row[slot] = index;
    work->scale[slot] = scale;
    work->c[slot] = problem->c[index] * scale / dual->length;
    work->e[slot] = problem->e[index] * scale + dual->margin * (size + problem->e[index] + curved) * scale;
    work->L[slot] = curved * scale;
    work->lambda[slot] = 0;
    if (slot == dual->size) {
        dual->size++;
    }
    entry = work->gram + SCPO_AT(slot, 0);
    for (j = 0; j < dual->size; j++) {
        *entry = scpo_dot(dim, G, scpo_row(dual, j)) * scale * work->scale[j];
        entry += j < slot ? 1 : j + 1;
    }
}

/* y -= G'lambda */
static void scpo_subtract_rows(const scpo_dual *dual, scpo_real *y)
{
    const scpo_workspace *work = dual->work;
    const int dim = dual->problem->dim;
    int i;
    int j;
    for (i = 0; i < dual->size; i++) {
        if (work->lambda[i] > 0) {
            const scpo_real *G = scpo_row(dual, i);
            scpo_real weight = work->lambda[i] * work->scale[i];
            for (j = 0; j < dim; j++) {
                y[j] -= weight * G[j];
            }
        }
    }
}

/* p, q and the constraints' values at t v. */
static void scpo_linearise(scpo_dual *dual)
{
    scpo_workspace *work = dual->work;
    const scpo_real t = dual->t;
    int i;
    for (i = 0; i < dual->size; i++) {
        scpo_real p = scpo_dot(dual->problem->dim, scpo_row(dual, i), work->v) * work->scale[i];
        scpo_real bend = work->L[i] * t;
        work->p[i] = p;
        work->q[i] = p + work->e[i] + bend;
        work->slope[i] = work->c[i] + t * (p + work->e[i] + bend / 2);
    }
}

/* The Lagrangian after minimisation over directions, with its derivatives, at the present multipliers: at the present t
 * if `keep`, else at the t that minimises it too, which makes it the dual function. */
static void scpo_evaluate(scpo_dual *dual, int keep)
{
    scpo_workspace *work = dual->work;
    const int dim = dual->problem->dim;
    scpo_real n;
    scpo_real numerator;
    scpo_real best;
    int j;

    for (j = 0; j < dim; j++) {
        work->v[j] = 2 * work->unit[j];
    }
    scpo_subtract_rows(dual, work->v);
    n = scpo_norm(dim, work->v);
    for (j = 0; j < dim && n > 0; j++) {
        work->v[j] /= n;
    }
    numerator = n - scpo_dot(dual->size, work->lambda, work->e);
    dual->along = 1 / (2 * dual->inertia + scpo_dot(dual->size, work->lambda, work->L));
    best = scpo_max(numerator, 0) * dual->along;
    dual->value = scpo_dot(dual->size, work->lambda, work->c) - best * numerator / 2;
    if (!keep) {
        dual->t = best;
    }
    dual->excess = dual->t > 0 ? dual->t - numerator * dual->along : 0;
    dual->across = n > 0 ? dual->t / n : 0;
    scpo_linearise(dual);
    for (j = 0; j < dual->size; j++) {
        work->slope[j] -= dual->excess * work->q[j]; /* t eliminated from the Newton system */
    }
}

/* Entry j <= i of the dual Hessian: H = across (K - p p') + along q q'. */
static scpo_real scpo_hessian(const scpo_dual *dual, int i, int j)
{
    const scpo_workspace *work = dual->work;
    return dual->across * (work->gram[SCPO_AT(i, j)] - work->p[i] * work->p[j]) + dual->along * work->q[i] * work->q[j];
}

/* A smaller pivot means that a constraint depends on those in the basis. */
static scpo_real scpo_least_pivot(const scpo_dual *dual, int i)
{
    const scpo_workspace *work = dual->work;
    return 64 * SCPO_EPS * (dual->across * work->gram[SCPO_AT(i, i)] +
                            dual->along * (work->q[i] * work->q[i] + SCPO_EPS));
}

/* column = column i of the tableau */
static void scpo_take_column(const scpo_dual *dual, int i)
{
    const scpo_real *entry = dual->work->tableau + SCPO_AT(i, 0);
    scpo_real *column = dual->work->column;
    int j;
    for (j = 0; j < dual->size; j++) {
        column[j] = *entry;
        entry += j < i ? 1 : j + 1;
    }
}

/* Exchanges i between basis B and the rest N by one symmetric Gauss-Jordan step. It turns H into
 *     -inv(H_BB) and inv(H_BB) H_BN  above  H_NN - H_NB inv(H_BB) H_BN. */
static void scpo_pivot(const scpo_dual *dual, int i)
{
    scpo_real *entry = dual->work->tableau;
    const scpo_real *column = dual->work->column;
    const int size = dual->size;
    scpo_real inverse;
    int j;
    int k;
    scpo_take_column(dual, i);
    inverse = 1 / column[i];
    for (j = 0; j < size; j++) {
        const scpo_real factor = column[j] * inverse;
        for (k = 0; k <= j; k++) {
            *entry++ -= factor * column[k];
        }
    }
    entry = dual->work->tableau + SCPO_AT(i, 0);
    for (j = 0; j < size; j++) {
        *entry = column[j] * SCPO_ABS(inverse);
        entry += j < i ? 1 : j + 1;
    }
    dual->work->tableau[SCPO_AT(i, i)] = -inverse;
}

/* The constraint outside the basis from whose multiplier the model gains most, or -1. */
static int scpo_entering(const scpo_dual *dual)
{
    const scpo_workspace *work = dual->work;
    scpo_real most = 4 * SCPO_EPS * dual->t;
    int entering = -1;
    int i;
    for (i = 0; i < dual->size; i++) {
        scpo_real gain = work->gain[i];
        if (gain < 0 && work->lambda[i] + work->step[i] > 0) {
            gain = -gain;
        }
        if (!work->list[i] && gain > most) {
            most = gain;
            entering = i;
        }
    }
    return entering;
}

/* Moves multiplier j, and those in the basis along with it, to where the model is largest or one of them meets its
 * bound. In the first case j joins the basis, in the second the one at its bound leaves. */
static void scpo_advance(const scpo_dual *dual, int j)
{
    scpo_workspace *work = dual->work;
    const scpo_real sign = SCPO_R(work->gain[j] < 0 ? -1 : 1);
    scpo_real *diagonal = work->tableau + SCPO_AT(j, j);
    scpo_real length;
    int last = -1;
    int i;
    *diagonal = scpo_max(*diagonal, scpo_least_pivot(dual, j));
    length = sign * work->gain[j] / *diagonal;
    scpo_take_column(dual, j);
    work->column[j] = -1;
    work->list[j] = 1;
    for (i = 0; i < dual->size; i++) {
        scpo_real rate = -sign * work->column[i];
        scpo_real room = work->lambda[i] + work->step[i];
        work->column[i] = rate;
        if (work->list[i] && room < -length * rate) {
            length = -room / rate;
            last = i;
        }
    }
    work->gain[j] -= sign * length * *diagonal;
    for (i = 0; i < dual->size; i++) {
        *(work->list[i] ? &work->step[i] : &work->gain[i]) += length * work->column[i];
    }
    if (last >= 0) {
        work->step[last] = -work->lambda[last];
        work->list[j] = 0;
    }
    if (last != j) {
        work->list[last < 0 ? j : last] = last < 0;
        scpo_pivot(dual, last < 0 ? j : last);
    }
}

/* step = argmax slope's - s'Hs/2 subject to lambda + s >= 0. Returns the slope along it. */
static scpo_real scpo_newton_step(scpo_dual *dual)
{
    scpo_workspace *work = dual->work;
    scpo_real *entry = work->tableau;
    int pivots = 6 * dual->size + 6;
    int i;
    int j;
    for (i = 0; i < dual->size; i++) {
        work->step[i] = 0;
        work->gain[i] = work->slope[i];
        work->list[i] = 0;
        for (j = 0; j <= i; j++) {
            *entry++ = scpo_hessian(dual, i, j);
        }
    }
    while (pivots-- > 0 && (j = scpo_entering(dual)) >= 0) {
        scpo_advance(dual, j);
    }
    return scpo_dot(dual->size, work->slope, work->step);
}

/* lambda += tau step; returns the sum of lambda. */
static scpo_real scpo_move(scpo_dual *dual, scpo_real tau)
{
    scpo_workspace *work = dual->work;
    scpo_real sum = 0;
    int i;
    for (i = 0; i < dual->size; i++) {
        work->lambda[i] = scpo_max(work->lambda[i] + tau * work->step[i], 0);
        sum += work->lambda[i];
    }
    return sum;
}

/* The largest tau <= limit by which lambda may move along the step. */
static scpo_real scpo_room(const scpo_dual *dual, scpo_real limit)
{
    const scpo_workspace *work = dual->work;
    int i;
    for (i = 0; i < dual->size; i++) {
        if (work->lambda[i] < -limit * work->step[i]) {
            limit = -work->lambda[i] / work->step[i];
        }
    }
    return limit;
}

/* Moves along the step to where the dual function is largest, roughly; by a full step if that is nearly so. Where t = 0
 * the function is linear and its maximum elsewhere. */
static void scpo_search(scpo_dual *dual, scpo_real slope)
{
    scpo_real tau = 1;
    scpo_real low = 0;
    scpo_real high = 0;
    int trials = SCPO_MAX_SEARCH;
    while (trials-- > 0) {
        scpo_real at_tau = scpo_dot(dual->size, dual->work->slope, dual->work->step);
        scpo_real change;
        if (at_tau < (dual->t > 0 ? -slope / 10 : 0)) {
            high = tau;
        } else if (at_tau > (dual->t > 0 ? slope / 4 : 0)) {
            low = tau;
        } else {
            return;
        }
        change = high > 0 ? (low + high) / 2 - tau : scpo_room(dual, tau);
        if (!(change < 0 || change > 0)) {
            return;
        }
        (void)scpo_move(dual, change);
        tau += change;
        scpo_evaluate(dual, 0);
    }
}

int scpo_dual_maximise(scpo_dual *dual, scpo_real *delta)
{
    const scpo_workspace *work = dual->work;
    int steps = SCPO_MAX_STEPS;
    int converged = 0;
    scpo_real noise = 0; /* rounding errors of n - lambda'e */
    int j;
    scpo_evaluate(dual, 0);
    while (!converged && steps-- > 0 && dual->budget-- > 0) {
        const int keep = steps % (SCPO_DUAL_STEPS + SCPO_SADDLE_STEPS) < SCPO_SADDLE_STEPS;
        const scpo_real floor = noise * noise * dual->along; /* how well the dual function is known where t is small */
        scpo_real slope;
        if (-dual->value <= floor) {
            dual->t = 0; /* nothing to be gained by leaving 0 */
            converged = 1;
            break;
        }
        slope = scpo_newton_step(dual);
        converged = slope + SCPO_ABS(dual->excess * dual->t / dual->along) <= floor - SCPO_GAP_TOLERANCE * dual->value;
        dual->t = scpo_max(dual->t / 10,
                           dual->t - dual->excess - dual->along * scpo_dot(dual->size, work->q, work->step));
        noise = 16 * SCPO_EPS * (1 + scpo_move(dual, 1));
        scpo_evaluate(dual, keep);
        if (!converged && !keep) {
            scpo_search(dual, slope);
        }
    }
    for (j = 0; j < dual->problem->dim; j++) {
        delta[j] = dual->t * dual->length * work->v[j];
    }
    return converged || -dual->value <= noise;
}
