/* Every public function of an export that adapts, on numbers that nobody would give it.
 *
 *     fuzz_public SEED EXECUTIONS
 *
 * An execution is a call of a public function. Prints how many of each there were, and how often a promise of the headers
 * was broken: inputs finite and in bounds, steps finite and feasible, active parameters finite, blobs whole or refused.
 * Sanitizers judge the rest. Frames are fuzzed by fuzz_link.c. SPDX-License-Identifier: MIT
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "scpo_adapt.h"
#include "scpo_data.h"
#include "scpo_internal.h"
#include "scpo_store.h"
#include "scpo_supervise.h"

enum { CONTROL, CONTROLLER, PROJECT, GUESS, POLL, ADAPTER, SUPERVISOR, BLOB, KINDS };
static const char *const names[KINDS] = {"control", "controller", "project", "guess", "poll", "adapter", "supervisor", "blob"};

static uint64_t state;
static unsigned long calls[KINDS], wrong, moved, accepted, audited;
static scpo_controller controller;
static scpo_adapter adapter;
static scpo_supervisor supervisor;

static uint32_t draw(uint32_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32) % below;
}

static scpo_real plain(void)
{
    return (scpo_real)((int)draw(2000001) - 1000000) / 1000000;
}

/* Any bits, or a number of any size, or one as it should be. */
static scpo_real hostile(uint32_t odds)
{
    static const double special[] = {0, -0.0, 1, -1, 1e30, -1e30, 1e-30, -1e-42, 3.4e38, -3.4e38, INFINITY, -INFINITY, NAN};
    scpo_real value = plain();
    if (draw(odds) == 0) {
        const uint64_t bits = ((uint64_t)draw(0xFFFFFFFFU) << 32) | draw(0xFFFFFFFFU);
        if (draw(2)) {
            memcpy(&value, &bits, sizeof value);
        } else {
            value = (scpo_real)special[draw(sizeof special / sizeof special[0])];
        }
    }
    return value;
}

static void fill(scpo_real *x, int count, uint32_t odds)
{
    const scpo_real size = draw(4) ? 1 : (scpo_real)pow(10.0, (double)draw(60) - 30);
    while (count-- > 0) {
        *x++ = size * hostile(odds);
    }
}

static void check_input(const scpo_real *u)
{
    int i;
    for (i = 0; i < SCPO_NU; i++) {
        wrong += !(u[i] >= scpo_u_min[i] && u[i] <= scpo_u_max[i]);
    }
}

static void check_active(void)
{
    wrong += scpo_largest(SCPO_NTHETA, controller.set[controller.active & 1U].theta, 0) >= SCPO_INFINITY;
}

static void use_control(void)
{
    scpo_real theta[SCPO_NTHETA], x[SCPO_NX], u[SCPO_NU];
    fill(theta, SCPO_NTHETA, draw(2) ? 1000 : 3);
    fill(x, SCPO_NX, 6);
    (void)scpo_control(theta, x, u);
    check_input(u);
    calls[CONTROL]++;
}

static void use_controller(void)
{
    scpo_real x[SCPO_NX], u[SCPO_NU];
    scpo_parameters *spare = scpo_controller_spare(&controller);
    int k;
    fill(spare->theta, SCPO_NTHETA, draw(2) ? 1000 : 3);
    if (draw(8) == 0) {
        scpo_real theta[SCPO_NTHETA];
        memcpy(theta, spare->theta, sizeof theta);
        (void)scpo_controller_begin(&controller, theta);
    } else {
        scpo_parameters_prepare(spare);
        (void)scpo_controller_switch(&controller);
        calls[CONTROLLER]++;
    }
    check_active();
    for (k = 0; k < 6; k++) {
        fill(x, SCPO_NX, 6);
        (void)scpo_controller_control(&controller, x, u);
        check_input(u);
    }
    calls[CONTROLLER] += 8;
}

/* (E4) with a norm that no square underflows in. */
static int feasible(const scpo_projection *problem, const scpo_real *delta)
{
    scpo_real largest = 0, square = 0, norm;
    int i, j;
    for (j = 0; j < problem->dim; j++) {
        largest = scpo_max(largest, SCPO_ABS(delta[j]));
    }
    for (j = 0; j < problem->dim && largest > 0; j++) {
        square += delta[j] / largest * (delta[j] / largest);
    }
    norm = largest * SCPO_SQRT(square);
    for (i = 0; i < problem->count; i++) {
        const scpo_real slope = scpo_inner(problem->dim, problem->G + i * problem->dim, delta) + problem->e[i] * norm;
        if (!(problem->c[i] + slope + problem->L[i] / 2 * norm * norm <= 0)) {
            return 0;
        }
    }
    return norm <= problem->r;
}

static void use_projection(void)
{
    static scpo_workspace work;
    static scpo_real u[8], c[12], G[96], e[12], L[12], delta[SCPO_MAX_DIM]; /* as long as a wrong dim may take it for */
    scpo_projection problem = {0, 0, u, c, G, e, L, 1, &work};
    const uint32_t odds = draw(2) ? 10000 : 40;
    scpo_status status;
    int i, at = 0;
    problem.dim = draw(50) ? 1 + (int)draw(8) : (int)draw(2) * 1000 - 500;
    problem.count = draw(50) ? (int)draw(13) : -1;
    fill(u, 8, odds);
    fill(c, 12, odds);
    fill(G, 96, odds);
    fill(e, 12, odds);
    fill(L, 12, odds);
    fill(&problem.r, 1, odds);
    for (i = 0; i < 12 && draw(8); i++) { /* most have the right signs */
        c[i] = -SCPO_ABS(c[i]);
        e[i] = SCPO_ABS(e[i]);
        L[i] = SCPO_ABS(L[i]);
    }
    problem.r = draw(8) ? SCPO_ABS(problem.r) : problem.r;
    if (draw(3)) {
        status = scpo_project(&problem, delta);
        calls[PROJECT]++;
    } else {
        status = scpo_project_begin(&problem, delta);
        for (i = (int)draw(4); i > 0 && status == SCPO_BUSY && at < problem.count; i--, at++) {
            scpo_project_guess(&work, at, SCPO_ABS(hostile(odds)));
            calls[GUESS]++;
        }
        while (status == SCPO_BUSY) {
            status = scpo_project_poll(&work);
            calls[POLL]++;
        }
        calls[PROJECT]++;
    }
    if (problem.dim < 1 || problem.dim > 8) {
        wrong += status != SCPO_BAD_PROBLEM;
        return;
    }
    wrong += scpo_largest(problem.dim, delta, 0) >= SCPO_INFINITY;
    if (status == SCPO_OK || status == SCPO_CAPPED) {
        wrong += !feasible(&problem, delta);
        for (i = 0; i < problem.count; i++) {
            wrong += !(scpo_project_multiplier(&work, i) >= 0); /* not NaN either */
        }
    }
    moved += scpo_largest(problem.dim, delta, 0) > 0;
}

static void use_adapter(void)
{
    scpo_real theta[SCPO_NTHETA];
    scpo_real reference[SCPO_NREFERENCE];
    scpo_adaptation outcome;
    int pieces = draw(500) ? 5 + (int)draw(30) : 3000;
    if (pieces > 100 || draw(2)) {
        memcpy(theta, scpo_theta_start, sizeof theta);
        if (pieces <= 100 && draw(2)) {
            theta[draw(SCPO_NTHETA)] = hostile(2);
        }
    } else {
        fill(theta, SCPO_NTHETA, 100);
    }
    (void)scpo_controller_begin(&controller, theta);
    scpo_adapter_begin(&adapter, &controller);
    calls[ADAPTER]++;
    while (pieces-- > 0) {
        if (draw(pieces > 100 ? 1000 : 50) == 0) {
            adapter.reference[draw(SCPO_NX + SCPO_NU)] = hostile(4);
        }
        if (draw(500) == 0) {
            scpo_adapter_restart(&adapter);
            calls[ADAPTER]++;
        }
        if (draw(500) == 0) {
            fill(reference, SCPO_NREFERENCE, 4);
            (void)scpo_adapter_refer(&adapter, reference);
            calls[ADAPTER]++;
        }
        outcome = scpo_adapter_poll(&adapter, (int)draw(4));
        moved += outcome == SCPO_COMMITTED;
        calls[ADAPTER]++;
#if SCPO_AUDIT
        audited += outcome == SCPO_AUDITED || outcome == SCPO_WITHDRAWN;
        wrong += adapter.audit.guards > SCPO_GUARDS || adapter.audit.joining > SCPO_TAKEN || adapter.audit.left < 0;
#endif
    }
    check_active();
}

static void use_supervisor(void)
{
    scpo_real low[SCPO_NX], high[SCPO_NX], x[SCPO_NX], u[SCPO_NU];
    int k;
    scpo_supervisor_begin(&supervisor, &controller, (scpo_fallback)draw(3), draw(5));
    fill(low, SCPO_NX, 6);
    fill(high, SCPO_NX, 6);
    if (draw(2)) {
        supervisor.low = low;
        supervisor.high = high;
    }
    for (k = 0; k < 20; k++) {
        fill(x, SCPO_NX, 6);
        (void)scpo_supervisor_control(&supervisor, draw(4) ? x : NULL, u);
        check_input(u);
        if (draw(20) == 0) {
            scpo_supervisor_watch(&supervisor, draw(4), hostile(2));
            calls[SUPERVISOR]++;
        }
        if (draw(30) == 0) { /* memory that changes by itself */
            controller.set[draw(2)].theta[draw(SCPO_NTHETA)] = hostile(1);
        }
        if (draw(10) == 0) {
            (void)scpo_supervisor_check(&supervisor);
            (void)scpo_supervisor_token(&supervisor);
            calls[SUPERVISOR] += 2;
        }
    }
    (void)scpo_supervisor_check(&supervisor);
    check_active();
    calls[SUPERVISOR] += 22;
}

static void use_blob(void)
{
    unsigned char blob[SCPO_BLOB_SIZE + 4];
    scpo_real theta[SCPO_NTHETA], read[SCPO_NTHETA] = {0};
    uint32_t sequence, size = draw(4) ? SCPO_BLOB_SIZE : draw(sizeof blob + 1), changes = draw(3) ? draw(3) : draw(200);
    fill(theta, SCPO_NTHETA, 1000);
    scpo_blob_write(theta, draw(1000), blob);
    while (changes-- > 0) {
        blob[draw(SCPO_BLOB_SIZE)] = (unsigned char)draw(256);
    }
    if (scpo_blob_read(blob, size, NULL, NULL, read, &sequence) == SCPO_STORE_OK) {
        accepted++;
        wrong += size != SCPO_BLOB_SIZE || scpo_largest(SCPO_NTHETA, read, 0) >= SCPO_INFINITY;
    } else {
        wrong += scpo_largest(SCPO_NTHETA, read, 0) > 0;
    }
    calls[BLOB] += 2;
}

int main(int count, char **words)
{
    const unsigned long most = count > 2 ? strtoul(words[2], NULL, 10) : 0;
    unsigned long all = 0;
    int k;
    state = 88172645463325252ULL + (count > 1 ? strtoull(words[1], NULL, 10) : 0);
    (void)scpo_controller_begin(&controller, scpo_theta_start);
    while (all < most) {
        static void (*const use[])(void) = {use_control, use_controller, use_projection, use_projection,
                                            use_adapter, use_supervisor, use_blob,       use_blob};
        use[draw(sizeof use / sizeof use[0])]();
        for (k = 0, all = 0; k < KINDS; k++) {
            all += calls[k];
        }
    }
    printf("executions %lu", all);
    for (k = 0; k < KINDS; k++) {
        printf(" %s %lu", names[k], calls[k]);
    }
    printf(" moved %lu accepted %lu audited %lu wrong %lu\n", moved, accepted, audited, wrong);
    return wrong != 0;
}
