/* An adaptation that audits: every policy that becomes active, as numbers on a line. SPDX-License-Identifier: MIT
 *
 *     audited_policies SEED STEPS < theta
 */
#include <stdio.h>
#include <stdlib.h>

#include "scpo_adapt.h"

int main(int count, char **words)
{
    static scpo_controller controller;
    static scpo_adapter adapter;
    static scpo_real theta[SCPO_NTHETA];
    const uint32_t steps = count > 2 ? (uint32_t)atol(words[2]) : 0;
    scpo_adaptation outcome;
    int i;
    for (i = 0; i < SCPO_NTHETA; i++) {
        double value = 0;
        if (scanf("%lf", &value) != 1) {
            return 2;
        }
        theta[i] = (scpo_real)value;
    }
    (void)scpo_controller_begin(&controller, theta);
    scpo_adapter_begin(&adapter, &controller);
    adapter.audit.seed = count > 1 ? (uint32_t)atol(words[1]) : 0;
    do {
        outcome = scpo_adapter_poll(&adapter, 1000000);
        if (outcome == SCPO_AUDITED) {
            for (i = 0; i < SCPO_NTHETA; i++) {
                printf("%.17g ", (double)controller.set[controller.active].theta[i]);
            }
            printf("\n");
        }
    } while (scpo_adaptation_goes_on(outcome) && adapter.counts.steps <= steps);
    fprintf(stderr, "%d %lu %lu %lu\n", (int)outcome, (unsigned long)adapter.counts.audits,
            (unsigned long)adapter.counts.fresh, (unsigned long)adapter.counts.commits);
    return 0;
}
