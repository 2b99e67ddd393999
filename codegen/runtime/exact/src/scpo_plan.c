/* The step that a projection starts from. SPDX-License-Identifier: MIT */
#include "scpo_plan.h"
#include "scpo_gradient.h"

#define SCPO_FIRST_STEP SCPO_R(0.1) /* length of the first one, and after curvature was forgotten, in radii */

void scpo_lagrangian(scpo_adapter *adapter, int scaled, scpo_real *out)
{
    int row;
    int i;
    memset(out, 0, sizeof adapter->gradient);
    for (row = 0; row < adapter->count; row++) {
        if (adapter->multiplier[row] > 0) {
            scpo_subtract(SCPO_NTHETA, -adapter->multiplier[row], scpo_row(adapter, row), out);
        }
    }
    if (scaled) {
        scpo_inverse_transposed(adapter, adapter->pairs, out);
    }
    for (i = 0; i < SCPO_NTHETA; i++) {
        out[i] += adapter->gradient[i];
    }
}

void scpo_learn(scpo_adapter *adapter)
{
    int i;
    scpo_multiply(SCPO_NTHETA, SCPO_WEIGHT(adapter), adapter->gradient, adapter->gradient);
    adapter->row = adapter->pairs; /* pairs to complete: none, or all */
    if (adapter->length > 0) { /* the last step was committed */
        scpo_lagrangian(adapter, 0, adapter->z);
        for (i = 0; i < SCPO_NTHETA; i++) {
            adapter->z[i] -= adapter->previous[i];
        }
        if (scpo_learn_curvature(adapter, adapter->z, adapter->alpha)) {
            adapter->row = 0;
        }
    }
}

void scpo_plan(scpo_adapter *adapter)
{
    if (adapter->pairs == 0) {
        const scpo_real size = SCPO_SQRT(scpo_inner(SCPO_NTHETA, adapter->gradient, adapter->gradient));
        adapter->gamma = SCPO_FIRST_STEP * SCPO_RADIUS / (size > SCPO_UNDERFLOW ? size : SCPO_UNDERFLOW);
    }
    adapter->radius = SCPO_RADIUS / SCPO_SQRT(adapter->gamma);
    scpo_multiply(SCPO_NTHETA, -1, adapter->gradient, adapter->z);
    scpo_scaling_transposed(adapter, adapter->z);
    scpo_limit(adapter);
}
