/* scpo-ctrl runtime: a controller and its adaptation behind a byte stream, such as a serial line.
 *
 * A frame is SCPO_LINK_START, type, length (2 bytes), payload, CRC-16/CCITT-FALSE of what lies between (2 bytes); all
 * numbers have the low byte first, and reals are as the device has them. The host asks, the device answers each request
 * with one frame of the same type, or SCPO_LINK_NO. What does not pass the CRC is dropped without an answer. Nothing
 * here waits or reads a device: give it bytes, take bytes from it. SPDX-License-Identifier: MIT
 */
#ifndef SCPO_LINK_H
#define SCPO_LINK_H

#include "scpo_adapt.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SCPO_LINK_VERSION 1
#define SCPO_LINK_START 0xA5U
#if !SCPO_IMITATION && SCPO_TRACKING
#define SCPO_LINK_REALS (SCPO_NTHETA + SCPO_NREFERENCE) /* more than what is longer */
typedef char scpo_reference_fits[sizeof(scpo_real) * SCPO_LINK_REALS + 80 < 65536 ? 1 : -1]; /* in a frame */
#else
#define SCPO_LINK_REALS SCPO_NTHETA
#endif
#ifndef SCPO_LINK_SIZE
#define SCPO_LINK_SIZE (sizeof(scpo_real) * SCPO_LINK_REALS + 80) /* longest payload; below 65536 */
#endif
#ifndef SCPO_TELEMETRY
#define SCPO_TELEMETRY 16 /* samples that wait for the host; a power of two */
#endif

/* Types of requests, with what they carry and what the answer does. */
enum {
    SCPO_LINK_NO = 'N',        /* answer only: the request is unknown, too short, or refused; payload: its type */
    SCPO_LINK_VERSION_OF = 'V', /* -> version, bytes of a real, nx, nu, d (2), SCPO_INPUT_HASH (64 characters) */
    SCPO_LINK_CONTROL = 'X',   /* x -> status, cost of the call (4), u */
    SCPO_LINK_LOAD = 'T',      /* theta -> status; the parameters become the active ones */
    SCPO_LINK_ACTIVE = 'G',    /* -> theta that is active */
    SCPO_LINK_COMMITTED = 'C', /* -> theta that is committed, and active once it has passed an audit; where it audits */
    SCPO_LINK_REFERENCE = 'F', /* x and u that the objective asks for -> status; the adaptation begins anew;
                                * where it tracks, of each step of the horizon */
    SCPO_LINK_OBSERVE = 'O',   /* x and u of an expert -> status, as scpo_adapter_observe; where it imitates */
    SCPO_LINK_PARAMETERS = 'P', /* low and high of plant parameters -> status, as scpo_adapter_parameters */
    SCPO_LINK_ADAPT = 'A',     /* pieces (4) -> outcome, steps, commits, tries, unsafe, pieces, projections (4 each),
                                * objective, margin, costs: dearest piece, dearest step, all of projections, all
                                * (4, 4, 8, 8); where it audits: audits, points of them (4 each), their cost (8) */
    SCPO_LINK_SAMPLES = 'R'    /* -> count, lost (4), then as many samples as fit: number (4), status, x, u */
};

/* Receives frames. */
typedef struct {
    unsigned char payload[SCPO_LINK_SIZE];
    unsigned char type;
    unsigned char state;
    uint16_t length;
    uint16_t filled;
    uint16_t crc;
    uint32_t bad; /* frames that did not pass */
} scpo_link;

/* A sample for the host. */
typedef struct {
    uint32_t number;
    scpo_real x[SCPO_NX];
    scpo_real u[SCPO_NU];
    unsigned char status;
} scpo_sample;

/* A ring with one writer, which may be an interrupt, and one reader. */
typedef struct {
    scpo_sample sample[SCPO_TELEMETRY];
    volatile uint32_t written;
    volatile uint32_t taken;
    volatile uint32_t lost; /* samples that found the ring full */
} scpo_telemetry;

/* What the device brings along. */
typedef struct {
    scpo_controller *controller;
    scpo_adapter *adapter;
    scpo_telemetry *telemetry;            /* may be NULL */
    void (*put)(void *user, unsigned char byte);
    uint32_t (*clock)(void *user);        /* what costs are counted in, such as instructions; NULL for none */
    /* Requests of the user's own: returns whether it has answered, by scpo_link_send; may be NULL. */
    int (*other)(void *user, unsigned char type, const unsigned char *payload, uint16_t length);
    void *user;
    scpo_link link;
    uint32_t dearest_piece;
    uint32_t dearest_step;
    uint32_t step; /* cost of the present one */
    uint64_t projections;
    uint64_t all;
#if SCPO_AUDIT
    uint64_t audits; /* cost of their points, which no step counts */
#endif
} scpo_server;

/* Takes in a byte. Returns 1 where it completes a frame: type, length and payload are those of the frame until the next
 * byte. */
int scpo_link_receive(scpo_link *link, unsigned char byte);

/* Puts a frame out. */
void scpo_link_send(const scpo_server *server, unsigned char type, const unsigned char *payload, uint16_t length);

/* Takes in a byte from the host, and answers where it completes a request. */
void scpo_server_receive(scpo_server *server, unsigned char byte);

/* Keeps a sample for the host; drops it where the ring is full. */
void scpo_telemetry_put(scpo_telemetry *telemetry, const scpo_real *x, const scpo_real *u, scpo_status status);

#ifdef __cplusplus
}
#endif

#endif /* SCPO_LINK_H */
