/* A piece of a projection, by induction: from every state of the workspace that the invariant allows, a piece or a guess
 * leads to one that it allows, and begin does from any. Sizes are small here; the code is the same for all.
 * SPDX-License-Identifier: MIT
 */
#include "eva.h"
#include "scpo_internal.h"

#define DIM SCPO_MAX_DIM
#define COUNT 5

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

/* A workspace of the invariant, with so many constraints in its set and so many of them in the basis. */
static void any_workspace(int size, int count)
{
    int i;
    Frama_C_make_unknown((char *)&work, sizeof work);
    any_reals(delta, DIM);
    work.problem = &problem;
    work.delta = delta;
    work.size = size;
    work.budget = Frama_C_interval(-1000, SCPO_MAX_NEWTON);
    work.maximising = any();
    work.steps = Frama_C_interval(-1, 16);
    work.changes = Frama_C_interval(0, 6 * SCPO_SLOTS);
    work.count = count;
    work.factored = Frama_C_interval_split(0, count);
    work.trials = Frama_C_interval(0, 40);
    work.status = any() ? SCPO_OK : SCPO_CAPPED;
    for (i = 0; i < SCPO_SLOTS; i++) {
        work.row[i] = any() ? work.pull : G + Frama_C_interval(0, COUNT - 1) * DIM;
        work.basis[i] = size ? Frama_C_interval(0, size - 1) : 0;
    }
}

static void check_workspace(void)
{
    /*@ assert size: 0 <= work.size <= SCPO_SLOTS; */
    /*@ assert steps: -1 <= work.steps <= 16; */
    /*@ assert changes: 0 <= work.changes <= 6 * SCPO_SLOTS; */
    /*@ assert count: work.changes > 0 ==> 0 <= work.factored <= work.count <= work.size; */
    /*@ assert trials: 0 <= work.trials <= 40; */
    /*@ assert rows: \forall integer k; 0 <= k < work.size ==> \valid_read(work.row[k] + (0 .. DIM - 1)); */
}

int main(void)
{
    int size;
    int count;
    any_problem();
    if (any()) {
        Frama_C_make_unknown((char *)&work, sizeof work);
        if (scpo_project_begin(&problem, delta) == SCPO_BUSY) {
            check_workspace();
        }
        return 0;
    }
    size = Frama_C_interval_split(0, SCPO_SLOTS);
    count = Frama_C_interval_split(0, size);
    any_workspace(size, count);
    if (any()) {
        scpo_real guessed;
        any_reals(&guessed, 1);
        scpo_project_guess(&work, Frama_C_interval_split(0, COUNT - 1), guessed);
    } else if (any()) {
        (void)scpo_project_multiplier(&work, Frama_C_interval_split(0, COUNT - 1));
    } else {
        (void)scpo_project_poll(&work);
    }
    check_workspace();
    return 0;
}
