/* The projection (E5) onto the local safe region (E4): checks, working set, repair.
 *
 * Constraints join a working set when the present answer violates them; scpo_dual.c solves (E5) on that set. The set's
 * optimal value rises from round to round, so no set comes twice, and what never joins was screened out exactly. Last
 * comes the repair: the region is convex and holds 0, so shrinking any answer far enough makes it feasible, in the
 * arithmetic of the target. Nothing is returned that the last sweep over all constraints has not accepted.
 * SPDX-License-Identifier: MIT
 */
#include <stdint.h>
#include <string.h>

#include "scpo_internal.h"

/* The bounds on all work: sweeps over the problem <= rounds + shrinks, Newton steps <= SCPO_MAX_NEWTON. */
#define SCPO_MAX_ROUNDS 100 /* of the working set */
#define SCPO_MAX_NEWTON 300 /* steps in all rounds together */
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
    scpo_status status = SCPO_OK;
    int i;
    if (dim < 1 || dim > SCPO_MAX_DIM || count < 0 || !scpo_all_finite(1, &problem->r) || !(problem->r > 0) ||
        !scpo_all_finite(dim, problem->u) || !scpo_all_finite((long)count * dim, problem->G) ||
        !scpo_all_finite(count, problem->c) || !scpo_all_finite(count, problem->e) ||
        !scpo_all_finite(count, problem->L)) {
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

/* A constraint at tau delta is constant + tau linear + tau^2 square. */
typedef struct {
    scpo_real constant, linear, square;
    scpo_real size;   /* sum of the absolute values of all terms at tau = 1 */
    scpo_real excess; /* value at tau = 1 plus all that rounding, in any order of summation, may add to it */
} scpo_ray;

/* Evaluates constraint i along delta; 1 if delta violates it. */
static int scpo_violated(const scpo_projection *problem, int i, const scpo_real *delta, scpo_real norm, scpo_ray *ray)
{
    const int dim = problem->dim;
    const scpo_real *G = problem->G + (long)i * dim;
    scpo_real linear = problem->e[i] * norm;
    scpo_real size = linear;
    scpo_real sum = 0;
    int j;
    for (j = 0; j < dim; j++) {
        scpo_real term = G[j] * delta[j];
        sum += term;
        size += SCPO_ABS(term);
    }
    ray->constant = problem->c[i];
    ray->linear = sum + linear;
    ray->square = problem->L[i] / 2 * norm * norm;
    ray->size = size + ray->square - ray->constant;
    ray->excess = ray->constant + ray->linear + ray->square + scpo_rounding(dim) * ray->size;
    return !scpo_all_finite(1, &ray->excess) || ray->excess > 0;
}

/* The tau in [0, 1] at which a violated constraint just holds, with twice the room for rounding. */
static scpo_real scpo_ray_end(const scpo_ray *ray, scpo_real margin)
{
    scpo_real constant = ray->constant / ray->size;
    scpo_real linear = ray->linear / ray->size + margin;
    scpo_real square = ray->square / ray->size;
    scpo_real root = SCPO_SQRT(linear * linear - 4 * square * constant);
    return linear > 0 ? -2 * constant / (linear + root) : (root - linear) / (2 * square);
}

/* Whether a constraint is in the working set. */
static int scpo_member(const scpo_dual *dual, int row)
{
    int k;
    for (k = 0; k < dual->size && dual->work->row[k] != row; k++) {
    }
    return k < dual->size;
}

/* Finds the constraints that delta violates, and the factor tau by which it must be shrunk to meet them all. Lists in
 * work->list newcomers for the working set, the worst one among them, as many as fit beside those with a multiplier.
 * Returns their number, or -1 if nothing is violated. */
static int scpo_sweep(const scpo_dual *dual, const scpo_real *delta, scpo_real *tau)
{
    const scpo_projection *problem = dual->problem;
    scpo_workspace *work = dual->work;
    const scpo_real margin = scpo_rounding(problem->dim);
    const scpo_real norm = scpo_norm(problem->dim, delta);
    scpo_real worst = 0;
    int room = SCPO_SLOTS;
    int found = -1;
    int i;
    *tau = 1;
    if (!(norm * (1 + margin) <= dual->radius)) {
        *tau = dual->radius / (norm * (1 + 2 * margin));
        found = 0;
    }
    for (i = 0; i < dual->size; i++) {
        room -= work->lambda[i] > 0 || work->row[i] < 0;
    }
    for (i = 0; i < problem->count; i++) {
        scpo_ray ray;
        scpo_real end;
        scpo_real score;
        if (!scpo_violated(problem, i, delta, norm, &ray)) {
            continue;
        }
        end = scpo_ray_end(&ray, 2 * margin);
        *tau = end < *tau ? end : *tau;
        found = found < 0 ? 0 : found;
        if (room == 0 || scpo_member(dual, i)) {
            continue;
        }
        if (found < room) {
            work->list[found++] = i;
        }
        score = ray.excess / ray.size;
        if (score > worst) {
            worst = score;
            work->list[found - 1] = work->list[0];
            work->list[0] = i;
        }
    }
    return found;
}

/* Puts the newcomers into the working set, behind it or in place of constraints without a multiplier. If there are
 * none, rounding is to blame, and the constraints in the set get tighter instead. */
static void scpo_extend(scpo_dual *dual, int found)
{
    scpo_workspace *work = dual->work;
    int k;
    if (found == 0) {
        for (k = 0; k < dual->size; k++) {
            work->e[k] += dual->margin;
        }
        dual->margin *= 4;
    }
    for (k = 0; found > 0; k++) {
        if (k == dual->size || !(work->lambda[k] > 0 || work->row[k] < 0)) {
            scpo_dual_add(dual, k, work->list[--found]);
        }
    }
}

/* (E5) and the repair. Returns 1 if delta is the answer, 0 if it is just feasible. */
static int scpo_solve(scpo_dual *dual, scpo_real *delta)
{
    int rounds = SCPO_MAX_ROUNDS;
    int attempts = 0;
    int converged = 1;
    scpo_real lost = 0;
    scpo_real tau;
    int found;
    int j;
    while ((found = scpo_sweep(dual, delta, &tau)) >= 0) {
        if (rounds-- > 0 && dual->budget > 0 && dual->margin < SCPO_MAX_MARGIN) {
            scpo_extend(dual, found);
            converged = scpo_dual_maximise(dual, delta);
            continue;
        }
        rounds = 0;
        if (attempts++ > 1) {
            tau /= 2;
        }
        if (attempts > SCPO_MAX_SHRINK) {
            tau = 0;
        }
        lost += (1 - tau) * dual->t;
        for (j = 0; j < dual->problem->dim; j++) {
            delta[j] = tau > 0 ? tau * delta[j] : 0;
        }
    }
    return converged && lost <= SCPO_LOSS_TOLERANCE;
}

scpo_status scpo_project(const scpo_projection *problem, scpo_real *delta)
{
    const int dim = problem->dim;
    scpo_status status = scpo_check(problem);
    scpo_dual dual;
    scpo_real size = 0;
    scpo_real radius;
    int j;

    if (status == SCPO_OK) {
        size = scpo_norm(dim, problem->u);
    }
    if (!(size > 0)) {
        for (j = 0; j < dim && j < SCPO_MAX_DIM; j++) {
            delta[j] = 0;
        }
        return status;
    }
    radius = problem->r < SCPO_LARGEST_RADIUS ? problem->r : SCPO_LARGEST_RADIUS;
    memset(&dual, 0, sizeof dual);
    dual.problem = problem;
    dual.work = problem->work;
    dual.budget = SCPO_MAX_NEWTON;
    dual.radius = radius;
    dual.margin = scpo_rounding(dim + 8);
    dual.length = size < radius ? size : radius;
    dual.inertia = dual.length / size;
    for (j = 0; j < dim; j++) {
        dual.work->unit[j] = problem->u[j] / size;
        delta[j] = size < radius ? problem->u[j] : dual.work->unit[j] * radius;
    }
    if (size > radius) {
        scpo_dual_add_radius(&dual);
    }
    return scpo_solve(&dual, delta) ? SCPO_OK : SCPO_CAPPED;
}
