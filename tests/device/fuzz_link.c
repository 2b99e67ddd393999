/* What comes over a serial line: the frame parser and the server, on random bytes and on nearly right frames.
 *
 *     fuzz_link SEED BYTES
 *
 * Prints how many messages and bytes were given, frames passed, were answered and were refused. Sanitizers judge memory, alignment and
 * arithmetic; here is checked that every answer is a right frame, and that parameters in use stay finite.
 */
#include "scpo_internal.h"
#include "scpo_link.h"

#include <stdio.h>
#include <stdlib.h>

#define LONGEST (sizeof(scpo_link) + 600)

static scpo_controller controller;
static scpo_adapter adapter;
static scpo_telemetry telemetry;
static scpo_server server;
static scpo_link host; /* reads the answers */
static unsigned long answered, refused, wrong;
static uint64_t state;

static uint32_t draw(uint32_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32) % below;
}

/* The server's way out: what it says has to be frames, one after the other. */
static void put(void *user, unsigned char byte)
{
    (void)user;
    if (scpo_link_receive(&host, byte)) {
        answered++;
        refused += host.type == SCPO_LINK_NO;
    }
    wrong += host.bad;
    host.bad = 0;
}

/* A clock that wraps around. */
static uint32_t now(void *user)
{
    static uint32_t ticks = 0xFFFFFF00U;
    (void)user;
    return ticks += draw(50);
}

static size_t length;
static unsigned char *bytes;

static void keep(void *user, unsigned char byte)
{
    (void)user;
    bytes[length++] = byte;
}

/* A payload of the size that the type asks for, or of another one; its numbers are small, or any bits. */
static uint16_t fill(unsigned char type, unsigned char *payload)
{
    static const scpo_real small[4] = {0, SCPO_R(0.25), SCPO_R(-1.5), SCPO_R(3e-3)};
    const uint32_t reals = type == SCPO_LINK_LOAD        ? (uint32_t)SCPO_NTHETA
                           : type == SCPO_LINK_CONTROL   ? (uint32_t)SCPO_NX
                           : type == SCPO_LINK_REFERENCE ? (uint32_t)(SCPO_NX + SCPO_NU)
                                                         : 0U;
    uint32_t size = reals * (uint32_t)sizeof(scpo_real), k;
    for (k = 0; k < SCPO_LINK_SIZE; k++) {
        payload[k] = (unsigned char)draw(256);
    }
    if (draw(4) == 0) { /* such as the backup, from which steps are taken */
        memset(payload, 0, SCPO_LINK_SIZE);
    } else if (draw(3) != 0) {
        for (k = 0; k < reals; k++) {
            memcpy(payload + k * sizeof(scpo_real), small + draw(4), sizeof(scpo_real));
        }
    }
    if (type == SCPO_LINK_ADAPT) { /* few pieces, as each takes its time, or seldom a step */
        size = 4;
        payload[0] = (unsigned char)draw(4);
        payload[1] = (unsigned char)(draw(4) ? 0U : 255U);
        payload[2] = payload[3] = 0;
    }
    return (uint16_t)(draw(8) ? size : draw((uint32_t)SCPO_LINK_SIZE + 1U));
}

/* A frame, right or damaged, in memory of exactly its size. */
static void frame(void)
{
    static const unsigned char types[] = "VXTGCFARN?";
    unsigned char payload[SCPO_LINK_SIZE];
    scpo_server writer;
    uint32_t changes = draw(3) ? 0 : 1 + draw(3), cut;
    const unsigned char type = types[draw(sizeof types - 1)];
    memset(&writer, 0, sizeof writer);
    writer.put = keep;
    length = 0;
    scpo_link_send(&writer, type, payload, fill(type, payload));
    while (changes-- > 0) {
        bytes[draw((uint32_t)length)] = (unsigned char)draw(256);
    }
    cut = draw(12) ? 0 : draw((uint32_t)length);
    length -= cut;
}

static void random_bytes(void)
{
    length = 1 + draw(300);
    for (size_t k = 0; k < length; k++) {
        bytes[k] = (unsigned char)(draw(20) ? draw(256) : SCPO_LINK_START);
    }
}

int main(int count, char **words)
{
    unsigned long given = 0, passed = 0, messages = 0;
    const unsigned long most = count > 2 ? strtoul(words[2], NULL, 10) : 0;
    state = 88172645463325252ULL + (count > 1 ? strtoull(words[1], NULL, 10) : 0);
    bytes = (unsigned char *)malloc(LONGEST);
    if (bytes == NULL) {
        return 2;
    }
    (void)scpo_controller_begin(&controller, scpo_theta_start);
    scpo_adapter_begin(&adapter, &controller);
    server.controller = &controller;
    server.adapter = &adapter;
    server.put = put;
    server.clock = now;
    while (given < most) {
        server.telemetry = draw(8) ? &telemetry : NULL;
        if (draw(3)) {
            frame();
        } else {
            random_bytes();
        }
        for (size_t k = 0; k < length; k++) {
            const unsigned char before = server.link.state;
            scpo_server_receive(&server, bytes[k]);
            passed += before == 6 && server.link.state == 0;
        }
        messages++;
        given += (unsigned long)length;
        wrong += scpo_largest(SCPO_NTHETA, controller.set[controller.active & 1U].theta, 0) >= SCPO_INFINITY;
        wrong += telemetry.written - telemetry.taken > SCPO_TELEMETRY;
    }
    free(bytes);
    printf("messages %lu bytes %lu ended %lu answered %lu refused %lu wrong %lu steps %lu\n", messages, given, passed, answered, refused, wrong,
           (unsigned long)adapter.counts.steps);
    return wrong != 0;
}
