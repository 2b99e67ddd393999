/* The frame parser and the server, for every sequence of bytes; the adaptation behind it is analysed by adapt.c.
 * SPDX-License-Identifier: MIT
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
    return length > 0 && payload[length - 1] == 0 && any();
}

int main(void)
{
    static scpo_real theta[SCPO_NTHETA];
    scpo_real x[SCPO_NX], u[SCPO_NU];
    any_reals(theta, SCPO_NTHETA);
    any_reals(x, SCPO_NX);
    any_reals(u, SCPO_NU);
    (void)scpo_controller_begin(&controller, theta);
    server.controller = &controller;
    server.adapter = &adapter;
    server.telemetry = any() ? &telemetry : NULL;
    server.put = put;
    server.clock = any() ? now : NULL;
    server.other = any() ? other : NULL;
    while (any()) {
        scpo_server_receive(&server, (unsigned char)Frama_C_interval(0, 255));
        if (any()) {
            scpo_telemetry_put(&telemetry, x, u, SCPO_OK);
        }
    }
    return 0;
}
