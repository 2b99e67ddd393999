/* A part of a projection, by induction: from every state of the workspace that the invariant allows, a sweep, a piece of
 * Newton's method or a guess leads to one that it allows, and begin does from any. Sizes are small here; the code is the same for all.
 * SPDX-License-Identifier: MIT
 */
#include "eva.h"
#include "scpo_internal.h"

#define DIM SCPO_MAX_DIM
#define COUNT 3

static scpo_workspace work;
static scpo_real u[DIM], c[COUNT], G[COUNT * DIM], e[COUNT], L[COUNT], delta[DIM];
static scpo_projection problem;

static void any_problem(void)
{
    any_reals(u, DIM);
    any_reals(c, COUNT);
    any_reals(G, COUNT * DIM);
    any_reals(e, COUNT);
    any_reals(L, COUNT);
    problem.dim = DIM;
    problem.count = COUNT;
    problem.u = u;
    problem.c = c;
    problem.G = G;
    problem.e = e;
    problem.L = L;
    any_reals(&problem.r, 1);
    problem.work = &work;
}

enum { BEGIN, GUESS, SWEEP, NEWTON, STEP };

#if defined(IN_ITS_PLACE) /* NEWTON: in the place of scpo_dual_step.c, which STEP analyses */
void scpo_step_begin(scpo_workspace *of)
{
    of->changes = 6 * SCPO_SLOTS;
}

int scpo_step_poll(scpo_workspace *of)
{
    any_reals(of->step, SCPO_SLOTS);
    of->changes = Frama_C_interval(0, 6 * SCPO_SLOTS);
    return of->changes == 0;
}
#endif

int main(void)
{
    const int part = PART;
    const scpo_real *rows[COUNT + 1];
    int size;
    int i;
    any_problem();
    Frama_C_make_unknown((char *)&work, sizeof work);
    if (part == BEGIN) {
        (void)scpo_project_begin(&problem, delta);
        /*@ assert begun: work.size == 0 || work.size == 1; */
        return 0;
    }
    for (i = 0; i < COUNT; i++) {
        rows[i] = G + i * DIM;
    }
    rows[COUNT] = work.pull;
    for (i = 0; i < SCPO_SLOTS; i++) {
        work.row[i] = rows[Frama_C_interval(0, COUNT)];
    }
    any_reals(delta, DIM);
    work.problem = &problem;
    work.delta = delta;
    work.budget = Frama_C_interval(-1000, SCPO_MAX_NEWTON);
    work.status = (scpo_status)Frama_C_interval(SCPO_OK, SCPO_CAPPED);
    size = Frama_C_interval_split(0, SCPO_SLOTS); /* a state of the analysis for each */
    work.size = size;
    for (i = 0; i < SCPO_SLOTS; i++) {
        work.basis[i] = Frama_C_interval(0, size > 0 ? size - 1 : 0);
    }
    work.maximising = part >= NEWTON;
    if (part == GUESS) {
        scpo_real guessed;
        const int index = Frama_C_interval_split(0, COUNT - 1);
        any_reals(&guessed, 1);
        (void)scpo_project_multiplier(&work, index);
        scpo_project_guess(&work, index, guessed);
    } else if (part == STEP) { /* begun, or half done with so many constraints in the basis */
        work.count = Frama_C_interval_split(0, size);
        work.factored = Frama_C_interval_split(0, work.count);
        work.changes = Frama_C_interval(1, 6 * SCPO_SLOTS);
        if (any()) {
            scpo_step_begin(&work);
        } else {
            (void)scpo_step_poll(&work);
        }
        /*@ assert count: 0 <= work.factored <= work.count <= work.size; */
        /*@ assert changes: 0 <= work.changes <= 6 * SCPO_SLOTS; */
    } else {
        if (part == NEWTON) {
            work.steps = Frama_C_interval(-1, 16);
            work.trials = Frama_C_interval(0, 40);
            work.changes = Frama_C_interval(0, 6 * SCPO_SLOTS);
        }
        (void)scpo_project_poll(&work);
    }
    /*@ assert size: 0 <= work.size <= SCPO_SLOTS; */
    if (part == NEWTON) { /* elsewhere `maximising` is set together with scpo_dual_begin, which sets what follows */
        /*@ assert steps: -1 <= work.steps <= 16; */
        /*@ assert trials: 0 <= work.trials <= 40; */
        /*@ assert changes: 0 <= work.changes <= 6 * SCPO_SLOTS; */
    }
    return 0;
}
