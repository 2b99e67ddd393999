/* BFGS in product form with a limited memory: H_k = (I + s w') H (I + w s') with w = -y/(s'y) + B s / sqrt(s'y s'B s).
 * So H = S S' with S = sqrt(gamma) (I + s_k w_k') ... (I + s_1 w_1'), and in the coordinates S the objective has
 * curvature one: a projection there, in the Euclidean norm, is the quadratic programme of a Newton step.
 * (K. W. Brodlie, A. R. Gourlay, J. Greenstadt, "Rank-one and rank-two corrections to positive definite matrices
 * expressed in product form", IMA J. Appl. Math. 11, 1973.) SPDX-License-Identifier: MIT
 */
#include "scpo_scaling.h"

#define SCPO_LEAST_CURVATURE SCPO_R(0.2) /* of s'Bs, that s'y is moved up to */

/* vector += weight * x */
static void scpo_add(scpo_real weight, const scpo_real *x, scpo_real *vector)
{
    int i;
    for (i = 0; i < SCPO_NTHETA; i++) {
        vector[i] += weight * x[i];
    }
}

static void scpo_times(scpo_real weight, scpo_real *vector)
{
    int i;
    for (i = 0; i < SCPO_NTHETA; i++) {
        vector[i] *= weight;
    }
}

void scpo_scaling(const scpo_adapter *adapter, scpo_real *vector)
{
    int k;
    scpo_times(SCPO_SQRT(adapter->gamma), vector);
    for (k = 0; k < adapter->pairs; k++) {
        scpo_add(scpo_inner(SCPO_NTHETA, adapter->pair[k].w, vector), adapter->pair[k].s, vector);
    }
}

void scpo_scaling_transposed(const scpo_adapter *adapter, scpo_real *vector)
{
    int k = adapter->pairs;
    while (k-- > 0) {
        scpo_add(scpo_inner(SCPO_NTHETA, adapter->pair[k].s, vector), adapter->pair[k].w, vector);
    }
    scpo_times(SCPO_SQRT(adapter->gamma), vector);
}

void scpo_inverse_scaling(const scpo_adapter *adapter, int pairs, scpo_real *vector)
{
    while (pairs-- > 0) {
        const scpo_pair *pair = adapter->pair + pairs;
        scpo_add(-scpo_inner(SCPO_NTHETA, pair->w, vector) / pair->determinant, pair->s, vector);
    }
    scpo_times(1 / SCPO_SQRT(adapter->gamma), vector);
}

void scpo_inverse_transposed(const scpo_adapter *adapter, int pairs, scpo_real *vector)
{
    int k;
    scpo_times(1 / SCPO_SQRT(adapter->gamma), vector);
    for (k = 0; k < pairs; k++) {
        const scpo_pair *pair = adapter->pair + k;
        scpo_add(-scpo_inner(SCPO_NTHETA, pair->s, vector) / pair->determinant, pair->w, vector);
    }
}

void scpo_complete_pair(scpo_adapter *adapter, int k, scpo_real *Bs)
{
    scpo_pair *pair = adapter->pair + k;
    const scpo_real sy = scpo_inner(SCPO_NTHETA, pair->s, pair->y);
    scpo_real sBs;
    memcpy(Bs, pair->s, sizeof pair->s);
    scpo_inverse_scaling(adapter, k, Bs);
    sBs = scpo_inner(SCPO_NTHETA, Bs, Bs);
    scpo_inverse_transposed(adapter, k, Bs);
    memcpy(pair->w, Bs, sizeof pair->w);
    scpo_times(1 / SCPO_SQRT(sy * sBs), pair->w);
    scpo_add(-1 / sy, pair->y, pair->w);
    pair->determinant = 1 + scpo_inner(SCPO_NTHETA, pair->s, pair->w);
}

int scpo_learn_curvature(scpo_adapter *adapter, scpo_real *y, scpo_real *scratch)
{
    const scpo_real *s = adapter->step;
    const scpo_real ss = scpo_inner(SCPO_NTHETA, s, s);
    scpo_real sy = scpo_inner(SCPO_NTHETA, s, y);
    scpo_real sBs;
    scpo_pair *last;
    memcpy(scratch, s, SCPO_NTHETA * sizeof *s);
    scpo_inverse_scaling(adapter, adapter->pairs, scratch);
    sBs = scpo_inner(SCPO_NTHETA, scratch, scratch);
    if (sy < SCPO_LEAST_CURVATURE * sBs) {
        const scpo_real part = (1 - SCPO_LEAST_CURVATURE) * sBs / (sBs - sy);
        scpo_inverse_transposed(adapter, adapter->pairs, scratch);
        scpo_times(part, y);
        scpo_add(1 - part, scratch, y);
        sy = scpo_inner(SCPO_NTHETA, s, y);
    }
    if (!(sy > 16 * SCPO_EPS * ss)) {
        return 0;
    }
    if (adapter->pairs == SCPO_MEMORY) {
        int k;
        for (k = 1; k < SCPO_MEMORY; k++) {
            memcpy(adapter->pair + k - 1, adapter->pair + k, sizeof *last);
        }
        adapter->pairs--;
    }
    last = adapter->pair + adapter->pairs++;
    memcpy(last->s, s, sizeof last->s);
    memcpy(last->y, y, sizeof last->y);
    adapter->gamma = sy / scpo_inner(SCPO_NTHETA, y, y);
    return 1;
}
