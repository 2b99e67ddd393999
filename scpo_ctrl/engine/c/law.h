/* The policy as a law of the user's, from its expressions. SPDX-License-Identifier: MIT */
#ifndef LAW_H
#define LAW_H

#include "engine.h"

static inline void hoist(const double *theta, network *net)
{
    (void)theta;
    zeros(net->layers, ACTIVATIONS);
    zeros(net->zero, ACTIVATIONS);
}

/* Command and following memory, before saturation. */
static inline void forward(const engine_batch *batch, const double *theta, const lane *x, const lane *p, int saturated,
                           network *net, lane *command)
{
    (void)batch;
    (void)net;
    if (saturated) {
        law(x, p, theta, command);
    } else {
        law_smooth(x, p, theta, command);
    }
}

#endif /* LAW_H */
