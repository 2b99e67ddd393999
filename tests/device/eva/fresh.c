/* Points of audits: any number and any seed, as a guard and as a point of an audit, and its disturbance at any time.
 * SPDX-License-Identifier: MIT
 */
#include "eva.h"
#include "scpo_fresh.h"

int main(void)
{
    static scpo_adapter adapter;
    static scpo_trajectory run;
    scpo_real next[SCPO_NX];
    int i;
    Frama_C_make_unknown((char *)&adapter, sizeof adapter);
    scpo_begin_fresh(&adapter, Frama_C_interval(SCPO_NROLLOUTS, SCPO_NALL), &run);
    for (i = 0; i < SCPO_NX; i++) {
        next[i] = run.x[i];
    }
    for (i = 0; i < SCPO_NPARAMETERS; i++) {
        /*@ assert parameter: \initialized(&run.p[i]); */
        next[0] += run.p[i];
    }
#if SCPO_SET_DISTURBED
    scpo_fresh_disturb(&adapter, run.number, Frama_C_interval(0, SCPO_HORIZON - 1), next);
#endif
    return next[0] > run.limit;
}
