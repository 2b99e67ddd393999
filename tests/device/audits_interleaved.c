/* Everything that may be asked of an adaptation that audits, at any piece of a step, an audit, a join or a way back.
 *
 *     audits_interleaved SEED REQUESTS
 *
 * Prints how often each outcome came, and how often a promise was broken: the active parameters change only where
 * an audit of them has just ended, which is taken again here, where the user gave others, or to the safe start after
 * SCPO_WITHDRAWN; counts go on by one; guards and working set stay within their sizes. SPDX-License-Identifier: MIT
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "scpo_audit.h"
#include "scpo_link.h"

#define SIZE sizeof(scpo_real[SCPO_NTHETA])

static uint64_t state;
static scpo_controller controller;
static scpo_adapter adapter;
static scpo_server server;
static scpo_real active[SCPO_NTHETA]; /* as it may be */
static scpo_real first[SCPO_NTHETA];  /* some that were active before */
static int adapted;                   /* whether it was adapted, under the plant parameters in force */
static unsigned long wrong, outcomes[SCPO_WITHDRAWN + 1], failed, asked;

static uint32_t draw(uint32_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32) % below;
}

static scpo_real between(scpo_real low, scpo_real high)
{
    return low + (high - low) * (scpo_real)draw(1001) / 1000;
}

static void check(int holds, int line)
{
    if (!holds && wrong++ < 10000000) {
        printf("line %d\n", line);
    }
}

/* Whether parameters are safe in a rollout, without the adapter's own helpers. */
static int safe_in(int rollout)
{
    static scpo_trajectory run;
    int signal, when;
    scpo_real largest;
    int safe = scpo_roll(&adapter, scpo_active(&adapter), rollout, &run);
    for (signal = 0; signal < SCPO_NSIGNALS && safe; signal++) {
        safe = !scpo_largest_of(&run, rollout, signal, &when, &largest) || largest <= -SCPO_METRIC_ERROR;
    }
    return safe;
}

/* What has just become active is safe on S, and at each point of the last audit. */
static void audit_again(void)
{
    const uint32_t end = adapter.audit.number;
    int k;
    for (k = 0; k < SCPO_NROLLOUTS + adapter.audit.guards; k++) {
        check(safe_in(k), __LINE__);
    }
    for (k = 0; k < SCPO_AUDIT_POINTS; k++) {
        adapter.audit.number = end - 1U - (uint32_t)k;
        check(safe_in(SCPO_NALL), __LINE__);
    }
    adapter.audit.number = end;
}

static void poll_once(void)
{
    const scpo_counts before = adapter.counts;
    const uint32_t trusted = adapter.audit.trusted;
    const scpo_adaptation outcome = scpo_adapter_poll(&adapter, 1);
    const scpo_real *now = scpo_active(&adapter)->theta;
    outcomes[outcome]++;
    check(adapter.counts.pieces - before.pieces <= 1U, __LINE__);
    check(adapter.counts.commits - before.commits == (outcome == SCPO_COMMITTED), __LINE__);
    check(adapter.counts.audits - before.audits <= adapter.counts.fresh - before.fresh, __LINE__);
    if (outcome == SCPO_AUDITED) {
        check(memcmp(now, adapter.audit.committed.theta, SIZE) == 0 && adapter.audit.trusted, __LINE__);
        check(adapter.counts.audits == before.audits + 1, __LINE__);
        audit_again();
        memcpy(first, active, SIZE);
        adapted = 1;
    } else if (outcome == SCPO_WITHDRAWN) {
        check(adapted && memcmp(now, scpo_theta_start, SIZE) == 0, __LINE__);
        adapted = 0;
    } else {
        check(memcmp(now, active, SIZE) == 0, __LINE__);
    }
    if (outcome == SCPO_START_UNSAFE) {
        check(!adapted && memcmp(now, adapter.audit.committed.theta, SIZE) == 0, __LINE__);
    }
    if (outcome == SCPO_CONVERGED) { /* nothing is left that was not audited */
        check(memcmp(now, adapter.audit.committed.theta, SIZE) == 0, __LINE__);
    }
    failed += !adapter.audit.trusted < !trusted ? 0 : adapter.counts.audits > before.audits && adapter.audit.joining > 0;
    memcpy(active, now, SIZE);
    check(adapter.audit.guards <= SCPO_GUARDS && adapter.audit.oldest < SCPO_GUARDS, __LINE__);
    check(adapter.audit.joining >= 0 && adapter.audit.joining <= SCPO_TAKEN, __LINE__);
    check(adapter.audit.interval >= 1 && adapter.audit.left >= 0 && adapter.audit.left <= SCPO_AUDIT_POINTS, __LINE__);
    check(adapter.count >= 0 && adapter.count <= SCPO_NROWS, __LINE__);
}

static void put(void *user, unsigned char byte)
{
    (void)user;
    (void)byte;
}

static void to_server(void *user, unsigned char byte)
{
    (void)user;
    scpo_server_receive(&server, byte);
}

static void ask(unsigned char type, const void *payload, size_t size)
{
    scpo_server host;
    memset(&host, 0, sizeof host);
    host.put = to_server;
    scpo_link_send(&host, type, (const unsigned char *)payload, (uint16_t)size);
}

/* The user's parameters: some that were safe, some that are not, and no numbers, which are refused. */
static void load(void)
{
    scpo_real theta[SCPO_NTHETA];
    const uint32_t kind = draw(8);
    memcpy(theta, kind & 1U ? first : scpo_theta_start, SIZE);
    if (kind > 5) {
        theta[draw(SCPO_NTHETA)] += kind == 6 ? between(-1, 1) : (scpo_real)NAN;
    }
    ask(SCPO_LINK_LOAD, theta, sizeof theta);
    if (kind != 7) {
        memcpy(active, theta, SIZE);
    }
    check(memcmp(scpo_active(&adapter)->theta, active, SIZE) == 0, __LINE__);
    adapted = 0;
}

static void request(void)
{
    switch (draw(8)) {
    case 0:
        load();
        break;
    case 1:
        scpo_adapter_restart(&adapter);
        adapted = 0;
        break;
    case 2:
        ask(SCPO_LINK_COMMITTED, NULL, 0);
        break;
    case 3:
#if SCPO_UPDATABLE
    {
        scpo_real ends[2 * SCPO_NPARAMETERS];
        int i;
        for (i = 0; i < SCPO_NPARAMETERS; i++) {
            ends[i] = draw(4) ? scpo_p_min[i] : between(scpo_p_min[i], scpo_p_max[i]);
            ends[SCPO_NPARAMETERS + i] = draw(8) ? between(ends[i], scpo_p_max[i]) : ends[i];
        }
        ends[0] = draw(10) ? ends[0] : scpo_p_max[0] + 1;
        adapted = adapted && scpo_adapter_parameters(&adapter, ends, ends + SCPO_NPARAMETERS) != SCPO_OK;
        break;
    }
#endif
    default: {
#if SCPO_IMITATION
        scpo_real x[SCPO_NX], u[SCPO_NU];
        uint32_t k = draw(SCPO_FRESH + 2);
        int i;
        if (draw(3) == 0) {
            scpo_adapter_forget(&adapter);
        }
        while (k-- > 0) {
            for (i = 0; i < SCPO_NX; i++) {
                x[i] = between(-1, 1);
            }
            for (i = 0; i < SCPO_NU; i++) {
                u[i] = between(-1, 1);
            }
            (void)scpo_adapter_observe(&adapter, x, u);
        }
#else
        scpo_real reference[SCPO_NREFERENCE];
        memcpy(reference, adapter.reference, sizeof reference);
        reference[draw(SCPO_NREFERENCE)] = draw(20) ? between(-1, 1) : (scpo_real)NAN;
        ask(SCPO_LINK_REFERENCE, reference, sizeof reference);
#endif
    }
    }
}

int main(int count, char **words)
{
    unsigned long left = count > 2 ? strtoul(words[2], NULL, 10) : 0;
    int k;
    state = 88172645463325252ULL + (count > 1 ? strtoull(words[1], NULL, 10) : 0);
    (void)scpo_controller_begin(&controller, scpo_theta_start);
    scpo_adapter_begin(&adapter, &controller);
    adapter.audit.seed = draw(1000);
    memcpy(active, scpo_theta_start, SIZE);
    memcpy(first, scpo_theta_start, SIZE);
    server.controller = &controller;
    server.adapter = &adapter;
    server.put = put;
    while (left-- > 0) {
        static const uint32_t most[] = {3, 30, 300, 6000};
        uint32_t pieces = draw(most[draw(4)]);
        /* mostly just behind what seldom happens */
        const int until = (int)draw(4);
        while (pieces-- > 0 && !(until == 0 && adapter.audit.joining > 0) && !(until == 1 && adapter.audit.halvings > 0)) {
            poll_once();
        }
        request();
        asked++;
    }
    printf("asked %lu wrong %lu failed %lu audits %lu", asked, wrong, failed, (unsigned long)adapter.counts.audits);
    for (k = 0; k <= SCPO_WITHDRAWN; k++) {
        printf(" %d %lu", k, outcomes[k]);
    }
    printf("\n");
    return wrong != 0;
}
