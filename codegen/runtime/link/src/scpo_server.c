/* The answers of a device to its host. SPDX-License-Identifier: MIT */
#include <string.h>

#include "scpo_internal.h"
#include "scpo_link.h"

/* Numbers of samples wrap around at 2^32, and the ring with them; nx and nu are stated in a byte each. */
typedef char scpo_ring_wraps[((uint32_t)(SCPO_TELEMETRY) & ((uint32_t)(SCPO_TELEMETRY) - 1U)) == 0U ? 1 : -1];
typedef char scpo_sizes_fit[SCPO_NX <= 255 && SCPO_NU <= 255 ? 1 : -1];

#define SCPO_MOST_SAMPLES 255U /* in an answer: their count is a byte */

/* An answer that is being written, no longer than a payload. */
typedef struct {
    unsigned char bytes[SCPO_LINK_SIZE];
    uint16_t length;
} scpo_answer;

static void scpo_append(scpo_answer *answer, const void *from, size_t size)
{
    if (size <= sizeof answer->bytes - answer->length) {
        memcpy(answer->bytes + answer->length, from, size);
        answer->length = (uint16_t)(answer->length + size);
    }
}

/* The low byte first. */
static void scpo_append_number(scpo_answer *answer, uint64_t value, int bytes)
{
    while (bytes-- > 0) {
        const unsigned char byte = (unsigned char)(value & 0xFFU);
        scpo_append(answer, &byte, 1);
        value >>= 8;
    }
}

static uint32_t scpo_now(const scpo_server *server)
{
    return server->clock ? server->clock(server->user) : 0;
}

static void scpo_answer_version(scpo_answer *answer)
{
    scpo_append_number(answer, SCPO_LINK_VERSION, 1);
    scpo_append_number(answer, sizeof(scpo_real), 1);
    scpo_append_number(answer, SCPO_NX, 1);
    scpo_append_number(answer, SCPO_NU, 1);
    scpo_append_number(answer, SCPO_NTHETA, 2);
    scpo_append(answer, SCPO_INPUT_HASH, sizeof SCPO_INPUT_HASH - 1);
}

static void scpo_answer_control(scpo_server *server, scpo_answer *answer)
{
    scpo_real x[SCPO_NX];
    scpo_real u[SCPO_NU];
    scpo_status status;
    uint32_t before;
    memcpy(x, server->link.payload, sizeof x);
    before = scpo_now(server);
    status = scpo_controller_control(server->controller, x, u);
    before = scpo_now(server) - before;
    scpo_append_number(answer, (uint64_t)status, 1);
    scpo_append_number(answer, before, 4);
    scpo_append(answer, u, sizeof u);
    if (server->telemetry) {
        scpo_telemetry_put(server->telemetry, x, u, status);
    }
}

static void scpo_answer_load(scpo_server *server, scpo_answer *answer)
{
    scpo_parameters *spare = scpo_controller_spare(server->controller);
    scpo_status status;
    memcpy(spare->theta, server->link.payload, sizeof spare->theta);
    scpo_parameters_prepare(spare);
    status = scpo_controller_switch(server->controller);
    scpo_adapter_restart(server->adapter);
    scpo_append_number(answer, (uint64_t)status, 1);
}

#if SCPO_IMITATION
static void scpo_answer_observe(scpo_server *server, scpo_answer *answer)
{
    scpo_real example[SCPO_NX + SCPO_NU];
    memcpy(example, server->link.payload, sizeof example);
    scpo_append_number(answer, (uint64_t)scpo_adapter_observe(server->adapter, example, example + SCPO_NX), 1);
}
#else
static void scpo_answer_reference(scpo_server *server, scpo_answer *answer)
{
    scpo_real reference[SCPO_NREFERENCE];
    memcpy(reference, server->link.payload, sizeof reference);
    scpo_append_number(answer, (uint64_t)scpo_adapter_refer(server->adapter, reference), 1);
}
#endif

#if SCPO_UPDATABLE
static void scpo_answer_parameters(scpo_server *server, scpo_answer *answer)
{
    scpo_real ends[2 * SCPO_NPARAMETERS];
    memcpy(ends, server->link.payload, sizeof ends);
    scpo_append_number(answer, (uint64_t)scpo_adapter_parameters(server->adapter, ends, ends + SCPO_NPARAMETERS), 1);
}
#endif

/* Does pieces until there are no more to do, or a step has ended, and counts what they cost. */
static scpo_adaptation scpo_work(scpo_server *server, uint32_t pieces)
{
    scpo_adaptation outcome = SCPO_ADAPTING;
    while (pieces-- > 0 && outcome == SCPO_ADAPTING) {
        const uint32_t projections = server->adapter->counts.projecting;
#if SCPO_AUDIT
        const uint32_t fresh = server->adapter->counts.fresh;
#endif
        uint32_t cost = scpo_now(server);
        outcome = scpo_adapter_poll(server->adapter, 1);
        cost = scpo_now(server) - cost;
        server->all += cost;
        server->step += cost;
#if SCPO_AUDIT
        if (server->adapter->counts.fresh > fresh) {
            server->audits += cost;
            server->step -= cost;
        }
#endif
        if (server->adapter->counts.projecting > projections) {
            server->projections += cost;
        }
        if (cost > server->dearest_piece) {
            server->dearest_piece = cost;
        }
    }
    if (outcome != SCPO_ADAPTING) {
        if (server->step > server->dearest_step) {
            server->dearest_step = server->step;
        }
        server->step = 0;
    }
    return outcome;
}

static void scpo_answer_adapt(scpo_server *server, scpo_answer *answer)
{
    const unsigned char *from = server->link.payload;
    const uint32_t pieces =
        (uint32_t)from[0] | ((uint32_t)from[1] << 8) | ((uint32_t)from[2] << 16) | ((uint32_t)from[3] << 24);
    const scpo_counts *counts = &server->adapter->counts;
    scpo_append_number(answer, (uint64_t)scpo_work(server, pieces), 1);
    scpo_append_number(answer, counts->steps, 4);
    scpo_append_number(answer, counts->commits, 4);
    scpo_append_number(answer, counts->tries, 4);
    scpo_append_number(answer, counts->unsafe, 4);
    scpo_append_number(answer, counts->pieces, 4);
    scpo_append_number(answer, counts->projections, 4);
    scpo_append(answer, &server->adapter->objective, sizeof(scpo_real));
    scpo_append(answer, &server->adapter->margin, sizeof(scpo_real));
    scpo_append_number(answer, server->dearest_piece, 4);
    scpo_append_number(answer, server->dearest_step, 4);
    scpo_append_number(answer, server->projections, 8);
    scpo_append_number(answer, server->all, 8);
#if SCPO_AUDIT
    scpo_append_number(answer, counts->audits, 4);
    scpo_append_number(answer, counts->fresh, 4);
    scpo_append_number(answer, server->audits, 8);
#endif
}

static void scpo_answer_samples(const scpo_server *server, scpo_answer *answer)
{
    scpo_telemetry *ring = server->telemetry;
    const size_t each = 5 + sizeof(scpo_real) * (SCPO_NX + SCPO_NU);
    uint32_t count = ring ? ring->written - ring->taken : 0;
    const uint32_t most = (uint32_t)((sizeof answer->bytes - 5) / each);
    count = count < most ? count : most;
    count = count < SCPO_MOST_SAMPLES ? count : SCPO_MOST_SAMPLES;
    scpo_append_number(answer, count, 1);
    scpo_append_number(answer, ring ? ring->lost : 0, 4);
    while (count-- > 0) {
        const scpo_sample *sample = ring->sample + ring->taken % SCPO_TELEMETRY;
        scpo_append_number(answer, sample->number, 4);
        scpo_append_number(answer, sample->status, 1);
        scpo_append(answer, sample->x, sizeof sample->x);
        scpo_append(answer, sample->u, sizeof sample->u);
        SCPO_BARRIER();
        ring->taken++;
    }
}

/* How long the payload of a request is, or -1 where it is unknown. */
static long scpo_expected(unsigned char type)
{
    switch (type) {
    case SCPO_LINK_VERSION_OF:
    case SCPO_LINK_ACTIVE:
#if SCPO_AUDIT
    case SCPO_LINK_COMMITTED:
#endif
    case SCPO_LINK_SAMPLES:
        return 0;
    case SCPO_LINK_CONTROL:
        return (long)sizeof(scpo_real) * SCPO_NX;
    case SCPO_LINK_LOAD:
        return (long)sizeof(scpo_real) * SCPO_NTHETA;
#if SCPO_IMITATION
    case SCPO_LINK_OBSERVE:
        return (long)sizeof(scpo_real) * (SCPO_NX + SCPO_NU);
#else
    case SCPO_LINK_REFERENCE:
        return (long)sizeof(scpo_real) * SCPO_NREFERENCE;
#endif
#if SCPO_UPDATABLE
    case SCPO_LINK_PARAMETERS:
        return (long)sizeof(scpo_real) * 2 * SCPO_NPARAMETERS;
#endif
    case SCPO_LINK_ADAPT:
        return 4;
    default:
        return -1;
    }
}

void scpo_server_receive(scpo_server *server, unsigned char byte)
{
    const scpo_link *link = &server->link;
    scpo_answer answer;
    if (!scpo_link_receive(&server->link, byte)) {
        return;
    }
    answer.length = 0;
    if (server->other && server->other(server->user, link->type, link->payload, link->length)) {
        return;
    }
    if (scpo_expected(link->type) != (long)link->length) {
        scpo_link_send(server, SCPO_LINK_NO, &link->type, 1);
        return;
    }
    switch (link->type) {
    case SCPO_LINK_CONTROL:
        scpo_answer_control(server, &answer);
        break;
    case SCPO_LINK_LOAD:
        scpo_answer_load(server, &answer);
        break;
    case SCPO_LINK_ACTIVE:
        scpo_append(&answer, server->controller->set[server->controller->active & 1U].theta,
                    sizeof server->controller->set[0].theta);
        break;
#if SCPO_AUDIT
    case SCPO_LINK_COMMITTED:
        scpo_append(&answer, server->adapter->audit.committed.theta, sizeof server->controller->set[0].theta);
        break;
#endif
#if SCPO_IMITATION
    case SCPO_LINK_OBSERVE:
        scpo_answer_observe(server, &answer);
        break;
#else
    case SCPO_LINK_REFERENCE:
        scpo_answer_reference(server, &answer);
        break;
#endif
#if SCPO_UPDATABLE
    case SCPO_LINK_PARAMETERS:
        scpo_answer_parameters(server, &answer);
        break;
#endif
    case SCPO_LINK_ADAPT:
        scpo_answer_adapt(server, &answer);
        break;
    case SCPO_LINK_SAMPLES:
        scpo_answer_samples(server, &answer);
        break;
    default:
        scpo_answer_version(&answer);
        break;
    }
    scpo_link_send(server, link->type, answer.bytes, answer.length);
}

void scpo_telemetry_put(scpo_telemetry *telemetry, const scpo_real *x, const scpo_real *u, scpo_status status)
{
    const uint32_t written = telemetry->written;
    scpo_sample *sample = telemetry->sample + written % SCPO_TELEMETRY;
    if (written - telemetry->taken == SCPO_TELEMETRY) {
        telemetry->lost++;
        return;
    }
    sample->number = written + telemetry->lost;
    sample->status = (unsigned char)status;
    memcpy(sample->x, x, sizeof sample->x);
    memcpy(sample->u, u, sizeof sample->u);
    SCPO_BARRIER();
    telemetry->written = written + 1;
}
