/* The frame parser and the server, for every byte in every state that the invariant allows; it holds again behind it, so
 * for every sequence of bytes. Nothing but scpo_link_receive changes that state. The adaptation behind it is analysed by adapt.c. SPDX-License-Identifier: MIT
 */
#include "eva.h"
#include "scpo_link.h"

static scpo_controller controller;
static scpo_adapter adapter;
static scpo_telemetry telemetry;
static scpo_server server;

/* In the place of the adaptation. */
scpo_adaptation scpo_adapter_poll(scpo_adapter *of, int pieces)
{
    of->counts.projecting += (uint32_t)any();
    return pieces > 0 ? (scpo_adaptation)Frama_C_interval(SCPO_ADAPTING, SCPO_START_BAD) : SCPO_ADAPTING;
}

void scpo_adapter_restart(scpo_adapter *of)
{
    of->phase = 0;
}

static void put(void *user, unsigned char byte)
{
    (void)user;
    (void)byte;
}

static uint32_t now(void *user)
{
    (void)user;
    return Frama_C_unsigned_int_interval(0, UINT32_MAX);
}

static int other(void *user, unsigned char type, const unsigned char *payload, uint16_t length)
{
    (void)user;
    (void)type;
    return length > 0 && payload[0] == 0 && payload[length - 1] == 0 && any();
}

enum { RECEIVE, SERVE };

int main(void)
{
    static scpo_real theta[SCPO_NTHETA];
    scpo_real x[SCPO_NX], u[SCPO_NU];
    int state;
    any_reals(theta, SCPO_NTHETA);
    any_reals(x, SCPO_NX);
    any_reals(u, SCPO_NU);
    (void)scpo_controller_begin(&controller, theta);
    state = Frama_C_interval_split(0, 6);
    Frama_C_make_unknown((char *)&server.link, sizeof server.link);
    server.link.state = (unsigned char)state;
    if (state >= 4) {
        server.link.length = (uint16_t)Frama_C_interval(0, sizeof server.link.payload);
        server.link.filled = (uint16_t)Frama_C_interval(0, sizeof server.link.payload - 1);
    }
    server.controller = &controller;
    server.adapter = &adapter;
    server.telemetry = Frama_C_interval_split(0, 1) ? &telemetry : NULL;
    server.put = put;
    server.clock = Frama_C_interval_split(0, 1) ? now : NULL;
    server.other = Frama_C_interval_split(0, 1) ? other : NULL;
    Frama_C_make_unknown((char *)&telemetry, sizeof telemetry);
    scpo_telemetry_put(&telemetry, x, u, SCPO_OK);
    if (PART == SERVE) {
        scpo_server_receive(&server, (unsigned char)Frama_C_interval(0, 255));
        return 0;
    }
    (void)scpo_link_receive(&server.link, (unsigned char)Frama_C_interval(0, 255));
    /*@ assert state: server.link.state <= 6; */
    /*@ assert length: server.link.state >= 4 ==> server.link.length <= SCPO_LINK_SIZE; */
    /*@ assert filled: server.link.state == 4 ==> server.link.filled < SCPO_LINK_SIZE; */
    return 0;
}
