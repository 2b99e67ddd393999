/* The projection on a desktop computer, where rows may be many: solved on a few of them, checked on all.
 *
 * A solution of (E5) with some of the rows that satisfies all of them solves the whole. Alone, the runtime finds those
 * that matter by sweeps over all rows, from the step asked for, which violates most of them. Here it gets the rows
 * guessed, or none, and most others are seen to hold at its answer without reading them, as |G_i delta| is at most
 * |G_i| |delta|. Violated rows join, and it solves again. Where this does not end soon, or something is wrong with the
 * numbers, the runtime gets all rows. So a guess costs or saves time, and nothing else depends on it.
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>

#include "scpo_host.h"
#include "scpo_internal.h"

#define SCPO_FEW 64       /* with no more rows the runtime does as well alone */
#define SCPO_ROUNDS 20    /* working sets, at most */
#define SCPO_BLOCK 64     /* rows whose bounds are computed together */
#define SCPO_SMALL 1e-140 /* squares of smaller norms, or of larger ones than its inverse, lose digits */

/* Rows that join after so many rounds, at most: few where most are not needed, more where answers hang on many. */
#define SCPO_ENTERING(dim, rounds) (((dim) < 240 ? 10 + (dim) / 8 : 40) << (rounds) / 2)

/* Rows chosen from a problem, as a problem of their own. */
typedef struct {
    const scpo_projection *whole;
    scpo_projection few;
    const double *norms; /* [whole.count] of the rows of G */
    int capacity;        /* rows that there is memory for */
    int entering;        /* rows that join next, at most */
    double *c;           /* [capacity], as e and L: the numbers of few */
    double *e;
    double *L;
    double *G;             /* [capacity*dim] */
    int *index;            /* [capacity] where its rows are in the whole */
    int *first;            /* [most] violated rows, those that the ray to the answer meets first */
    double *part;          /* [most] where it meets them, in ascending order, 1 at the answer */
    unsigned char *chosen; /* [whole.count] whether a row is among the few */
    void *memory;
} scpo_choice;

/* x'y in eight sums, which a compiler can keep in vectors. */
static double scpo_host_dot(int dim, const double *x, const double *y)
{
    double sum[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    double rest = 0;
    int k;
    for (; dim > 7; dim -= 8, x += 8, y += 8) {
        for (k = 0; k < 8; k++) {
            sum[k] += x[k] * y[k];
        }
    }
    while (dim-- > 0) {
        rest += *x++ * *y++;
    }
    return ((sum[0] + sum[4]) + (sum[1] + sum[5])) + ((sum[2] + sum[6]) + (sum[3] + sum[7])) + rest;
}

/* Whether all of sign * x are finite and not negative, in four lanes for the same reason. */
static int scpo_sound(int count, double sign, const double *x)
{
    double least[4] = {0, 0, 0, 0};
    double zero[4] = {0, 0, 0, 0}; /* or NaN */
    int k;
    for (; count > 3; count -= 4, x += 4) {
        for (k = 0; k < 4; k++) {
            least[k] = sign * x[k] < least[k] ? sign * x[k] : least[k];
            zero[k] += 0 * x[k];
        }
    }
    for (k = 0; k < count; k++) {
        least[k] = sign * x[k] < least[k] ? sign * x[k] : least[k];
        zero[k] += 0 * x[k];
    }
    return zero[0] + zero[1] + zero[2] + zero[3] >= 0 && least[0] + least[1] + least[2] + least[3] >= 0;
}

static const double *scpo_row(const scpo_projection *problem, int i)
{
    return problem->G + (long)i * problem->dim;
}

/* Makes room for rows, and norms if there are none. Returns whether there was memory. */
static int scpo_prepare(scpo_choice *choice, const double *norms)
{
    const int count = choice->whole->count;
    const int dim = choice->whole->dim;
    const size_t capacity = (size_t)choice->capacity;
    const size_t most = (size_t)SCPO_ENTERING(dim, SCPO_ROUNDS);
    const size_t numbers = capacity * ((size_t)dim + 3) + most + (norms ? 0 : (size_t)count);
    double *next = (double *)malloc(numbers * sizeof *next + (capacity + most) * sizeof(int) + (size_t)count);
    choice->memory = next;
    if (!next) {
        return 0;
    }
    choice->few.c = choice->c = next;
    choice->few.e = choice->e = choice->c + capacity;
    choice->few.L = choice->L = choice->e + capacity;
    choice->few.G = choice->G = choice->L + capacity;
    choice->part = choice->G + capacity * (size_t)dim;
    next = choice->part + most;
    choice->norms = norms;
    if (!norms) {
        int i;
        choice->norms = next;
        for (i = 0; i < count; i++) {
            *next++ = sqrt(scpo_host_dot(dim, scpo_row(choice->whole, i), scpo_row(choice->whole, i)));
        }
    }
    choice->index = (int *)(void *)next;
    choice->first = choice->index + capacity;
    choice->chosen = (unsigned char *)(choice->first + most);
    memset(choice->chosen, 0, (size_t)count);
    return 1;
}

/* Adds row i to the few, unless it is one of them. */
static void scpo_choose(scpo_choice *choice, int i)
{
    const scpo_projection *whole = choice->whole;
    const int k = choice->few.count;
    if (choice->chosen[i]) {
        return;
    }
    choice->chosen[i] = 1;
    choice->index[k] = i;
    choice->c[k] = whole->c[i];
    choice->e[k] = whole->e[i];
    choice->L[k] = whole->L[i];
    memcpy(choice->G + (long)k * whole->dim, scpo_row(whole, i), (size_t)whole->dim * sizeof *choice->G);
    choice->few.count++;
}

/* Lists a violated row if it is among those met first. Returns how many are listed. */
static int scpo_list(const scpo_choice *choice, int count, int i, double part)
{
    int k = count;
    if (count < choice->entering) {
        count++;
    } else if (!(part < choice->part[--k])) {
        return count;
    }
    for (; k > 0 && part < choice->part[k - 1]; k--) {
        choice->part[k] = choice->part[k - 1];
        choice->first[k] = choice->first[k - 1];
    }
    choice->part[k] = part;
    choice->first[k] = i;
    return count;
}

/* Lists rows that delta, no longer than t, does not satisfy in every arithmetic, and returns how many. `rounding` bounds
 * errors relative to a row's |terms|, those of the product G_i delta being |G_i| |delta| at most. */
static int scpo_violated(const scpo_choice *choice, const double *delta, double t, double rounding)
{
    const scpo_projection *whole = choice->whole;
    double most[SCPO_BLOCK]; /* |G_i| |delta| */
    double rest[SCPO_BLOCK]; /* all terms but G_i delta, and the errors of all */
    int count = 0;
    int start;
    for (start = 0; start < whole->count; start += SCPO_BLOCK) {
        const int block = whole->count - start < SCPO_BLOCK ? whole->count - start : SCPO_BLOCK;
        const double *c = whole->c + start;
        const double *e = whole->e + start;
        const double *L = whole->L + start;
        const double *norms = choice->norms + start;
        int k;
        for (k = 0; k < block; k++) {
            const double errors = e[k] * t + L[k] / 2 * t * t;
            most[k] = norms[k] * (t + t * rounding) + SCPO_SMALL * t;
            rest[k] = c[k] + errors + (rounding * (most[k] + errors - c[k]) + SCPO_UNDERFLOW);
        }
        for (k = 0; k < block; k++) {
            const double *row = scpo_row(whole, start + k);
            double slope;
            if (rest[k] + most[k] <= 0 || choice->chosen[start + k]) {
                continue;
            }
            slope = scpo_host_dot(whole->dim, row, delta);
            if (!(rest[k] + slope <= 0)) {
                slope += e[k] * t;
                slope += sqrt(slope * slope - 2 * L[k] * t * t * c[k]);
                count = scpo_list(choice, count, start + k, -2 * c[k] / slope);
            }
        }
    }
    return count;
}

/* Solves on working sets, from the few rows that are chosen. Returns whether that gave the answer. */
static int scpo_solve_few(scpo_choice *choice, double *delta, int *iterations)
{
    const int dim = choice->whole->dim;
    const double rounding = (dim + 13) * (SCPO_EPS / 2); /* docs/projection.md: 8 more for what is added here */
    scpo_workspace *work = choice->few.work;
    int rounds;
    for (rounds = 0; rounds < SCPO_ROUNDS && *iterations < SCPO_MAX_NEWTON; rounds++) {
        scpo_status status;
        double norm;
        int count;
        work->size = 0;
        work->budget = SCPO_BUDGET(choice->few.count);
        status = scpo_project(&choice->few, delta);
        *iterations += SCPO_BUDGET(choice->few.count) - (work->budget > 0 ? work->budget : 0);
        if (status != SCPO_OK) {
            return 0;
        }
        norm = sqrt(scpo_host_dot(dim, delta, delta));
        if (!(norm > SCPO_SMALL && norm < 1 / SCPO_SMALL)) {
            return scpo_largest(dim, delta, 0) == 0; /* which holds everywhere */
        }
        choice->entering = SCPO_ENTERING(dim, rounds);
        count = scpo_violated(choice, delta, norm + norm * (rounding + 4 * SCPO_EPS), rounding);
        if (count == 0) {
            return 1;
        }
        while (count-- > 0) {
            scpo_choose(choice, choice->first[count]);
        }
    }
    return 0;
}

/* Whether guess and norms are of a problem with so many rows. */
static int scpo_fitting(int count, const double *norms, const long long *guess, int guesses)
{
    int k;
    for (k = 0; k < guesses; k++) {
        if (guess[k] < 0 || guess[k] >= count) {
            return 0;
        }
    }
    return !norms || scpo_sound(count, 1, norms);
}

/* Tries to do with a few rows, from those guessed. Returns whether that gave the answer. */
static int scpo_try_few(scpo_choice *choice, const double *norms, const long long *guess, int guesses, double *delta,
                        int *iterations)
{
    const scpo_projection *whole = choice->whole;
    const int dim = whole->dim;
    int k;
    choice->few = *whole;
    choice->few.count = 0;
    guesses = guesses < SCPO_PLACES(dim) ? guesses : SCPO_PLACES(dim); /* no answer needs more */
    choice->capacity = guesses + 2 * SCPO_ENTERING(dim, SCPO_ROUNDS); /* more than join in all rounds together */
    choice->capacity = choice->capacity < whole->count ? choice->capacity : whole->count;
    if (!scpo_prepare(choice, norms) || !scpo_sound(whole->count, -1, whole->c) ||
        !scpo_sound(whole->count, 1, whole->e) || !scpo_sound(whole->count, 1, whole->L) ||
        (!norms && !scpo_sound(whole->count, 1, choice->norms))) {
        return 0;
    }
    for (k = 0; k < guesses; k++) {
        scpo_choose(choice, (int)guess[k]);
    }
    return scpo_solve_few(choice, delta, iterations);
}

int scpo_host_project(int dim, int count, const double *u, const double *c, const double *G, const double *e,
                      const double *L, double r, const double *norms, const long long *guess, int guesses,
                      scpo_workspace *work, double *delta, int *active, int *info)
{
    scpo_projection problem;
    scpo_choice choice = {0};
    scpo_status status = SCPO_OK;
    int few;
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
    choice.whole = &problem;
    info[0] = info[1] = 0;
    if (!scpo_fitting(count, norms, guess, guesses)) {
        return SCPO_BAD_PROBLEM;
    }
    few = count > SCPO_FEW && scpo_try_few(&choice, norms, guess, guesses, delta, info + 1);
    if (!few) {
        work->size = 0;
        work->budget = SCPO_BUDGET(count);
        status = scpo_project(&problem, delta);
        info[1] += SCPO_BUDGET(count) - (work->budget > 0 ? work->budget : 0);
    }
    info[2] = status == SCPO_OK;
    for (k = 0; k < dim && info[2]; k++) {
        info[2] = !(delta[k] < u[k] || delta[k] > u[k]);
    }
    for (k = 0; k < work->size && !info[2]; k++) {
        if (work->lambda[k] > 0 && work->row[k] != work->pull) {
            const int place = (int)((work->row[k] - (few ? choice.few.G : G)) / dim);
            active[info[0]++] = few ? choice.index[place] : place;
        }
    }
    free(choice.memory);
    return (int)status;
}
