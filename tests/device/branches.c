/* Branches that random numbers seldom take: refusals, starts that are unsafe or no numbers, ends of the adaptation.
 * SPDX-License-Identifier: MIT
 */
#include <fenv.h>
#include <math.h>
#include <stdio.h>

#include "scpo_audit.h"
#include "scpo_internal.h"
#include "scpo_link.h"
#include "scpo_supervise.h"

static int wrong;

static void check(int holds, int line)
{
    if (!holds) {
        printf("line %d\n", line);
        wrong++;
    }
}

static scpo_controller controller;
static scpo_adapter adapter;

/* Polls until a step has ended. */
static scpo_adaptation step(void)
{
    scpo_adaptation outcome = SCPO_ADAPTING;
    while (outcome == SCPO_ADAPTING) {
        outcome = scpo_adapter_poll(&adapter, 3);
    }
    return outcome;
}

static void starts(void)
{
    scpo_real theta[SCPO_NTHETA];
    int i;
    (void)scpo_controller_begin(&controller, scpo_theta_start);
    scpo_adapter_begin(&adapter, &controller);
    adapter.reference[0] = (scpo_real)NAN;
    check(step() == SCPO_START_BAD, __LINE__);
    check(step() == SCPO_START_BAD, __LINE__); /* and stays so */
    for (i = 0; i < SCPO_NTHETA; i++) {
        theta[i] = 3;
    }
    check(scpo_controller_begin(&controller, theta) == SCPO_OK, __LINE__);
    scpo_adapter_begin(&adapter, &controller);
    check(step() == SCPO_START_UNSAFE, __LINE__);
    for (i = 0; i < SCPO_NTHETA; i++) {
        theta[i] = (scpo_real)(SCPO_REAL_IS_DOUBLE ? 1e300 : 1e37);
    }
    check(scpo_controller_begin(&controller, theta) == SCPO_OK, __LINE__);
    scpo_adapter_begin(&adapter, &controller);
    check(step() >= SCPO_START_UNSAFE, __LINE__);
}

/* From the safe start to the end, about several references. */
static void ends(void)
{
    static const scpo_real references[] = {0, SCPO_R(0.5), SCPO_R(-2), SCPO_R(50), SCPO_R(-1e6), SCPO_R(1e15)};
    size_t k;
    for (k = 0; k < sizeof references / sizeof references[0]; k++) {
        int steps = 3000;
        scpo_adaptation outcome;
        (void)scpo_controller_begin(&controller, scpo_theta_start);
        scpo_adapter_begin(&adapter, &controller);
        adapter.reference[0] = references[k];
        do {
            outcome = step();
        } while (scpo_adaptation_goes_on(outcome) && --steps > 0);
        check(outcome == SCPO_CONVERGED || steps == 0, __LINE__);
        check(adapter.objective <= adapter.start_objective, __LINE__);
    }
}

/* A switch that is refused in the middle of a commit: memory of the spare set that changed. */
static void torn_commit(void)
{
    int pieces = 20000, refused = 0;
    (void)scpo_controller_begin(&controller, scpo_theta_start);
    scpo_adapter_begin(&adapter, &controller);
    while (pieces-- > 0 && !refused) {
        const uint32_t commits = adapter.counts.commits;
        scpo_adaptation outcome;
        if (adapter.phase == 4 && adapter.rollout == SCPO_NROLLOUTS + SCPO_NVERTICES + scpo_count_guards(&adapter) - 1) {
            scpo_controller_spare(&controller)->theta[0] = (scpo_real)NAN;
        }
        outcome = scpo_adapter_poll(&adapter, 1);
        check(adapter.counts.commits == commits, __LINE__);
        refused = outcome == SCPO_REJECTED;
    }
    check(refused, __LINE__);
    check(scpo_largest(SCPO_NTHETA, controller.set[controller.active].theta, 0) < SCPO_INFINITY, __LINE__);
}

static unsigned char last;
static int answers;

static void put(void *user, unsigned char byte)
{
    (void)user;
    last = byte;
    answers++;
}

static int other(void *user, unsigned char type, const unsigned char *payload, uint16_t length)
{
    (void)user;
    (void)payload;
    return type == 'Q' && length == 0;
}

/* Frames of the user's own, no telemetry, no clock. */
static void link(void)
{
    static scpo_server server;
    static const unsigned char own[] = {SCPO_LINK_START, 'Q', 0, 0};
    uint16_t crc = 0xFFFFU;
    size_t k;
    server.controller = &controller;
    server.adapter = &adapter;
    server.put = put;
    server.other = other;
    for (k = 0; k < sizeof own; k++) {
        int bit;
        if (k > 0) {
            crc = (uint16_t)(crc ^ (own[k] << 8));
            for (bit = 0; bit < 8; bit++) {
                crc = (uint16_t)(crc & 0x8000U ? (crc << 1) ^ 0x1021U : crc << 1);
            }
        }
        scpo_server_receive(&server, own[k]);
    }
    scpo_server_receive(&server, (unsigned char)(crc & 0xFFU));
    scpo_server_receive(&server, (unsigned char)(crc >> 8));
    check(answers == 0, __LINE__); /* it was the user's to answer */
    server.other = NULL;
    scpo_link_send(&server, 'R', own, 0);
    check(answers == 6, __LINE__);
}

static void counters(void)
{
    static scpo_supervisor supervisor;
    scpo_real u[SCPO_NU];
    scpo_supervisor_begin(&supervisor, &controller, SCPO_HOLD_LAST, 3);
    supervisor.incidents.calls = UINT32_MAX;
    check(scpo_supervisor_control(&supervisor, NULL, u) == SCPO_BAD_STATE, __LINE__);
    check(supervisor.incidents.calls == UINT32_MAX, __LINE__); /* it stops there */
}

/* Where the processor does not round to nearest. */
static void other_rounding(void)
{
    static scpo_workspace work;
    static const scpo_real u = 1;
    scpo_real delta = 1;
    scpo_projection problem = {1, 0, &u, NULL, NULL, NULL, NULL, 2, &work};
    (void)fesetround(FE_DOWNWARD);
    check(scpo_project(&problem, &delta) == SCPO_BAD_MODE && !(delta > 0), __LINE__);
    (void)fesetround(FE_UPWARD);
    check(scpo_project(&problem, &delta) == SCPO_BAD_MODE, __LINE__);
    (void)fesetround(FE_TONEAREST);
    check(scpo_project(&problem, &delta) == SCPO_OK && delta > 0, __LINE__);
}

/* A ring that is full loses samples and counts them. */
static void ring(void)
{
    static scpo_telemetry telemetry;
    scpo_real x[SCPO_NX] = {0}, u[SCPO_NU] = {0};
    int k;
    for (k = 0; k < SCPO_TELEMETRY + 3; k++) {
        scpo_telemetry_put(&telemetry, x, u, SCPO_OK);
    }
    check(telemetry.lost == 3 && telemetry.written == SCPO_TELEMETRY, __LINE__);
}

int main(void)
{
    starts();
    other_rounding();
    ring();
    ends();
    torn_commit();
    link();
    counters();
    printf("wrong %d\n", wrong);
    return wrong != 0;
}
