/* scpo-ctrl runtime: what stands between a controller and the plant where something is wrong: measurements that are no
 * numbers or do not come, parameters whose memory has changed, calls that stay away. Every case has a finite input
 * within its bounds, a status and a counter. SPDX-License-Identifier: MIT
 */
#ifndef SCPO_SUPERVISE_H
#define SCPO_SUPERVISE_H

#include <stdint.h>

#include "scpo.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What is applied where a measurement is missing or no number. */
typedef enum {
    SCPO_FALL_BACK = 0, /* the backup's command for the last good measurement */
    SCPO_HOLD_LAST = 1,      /* the last input */
    SCPO_RELEASE = 2    /* the equilibrium input */
} scpo_fallback;

/* How often something was so, since the beginning. Counters stop at their largest value. */
typedef struct {
    uint32_t calls;
    uint32_t missing;   /* no measurement */
    uint32_t invalid;   /* one that is no number, or outside the limits */
    uint32_t released;  /* for so long that the equilibrium input was applied */
    uint32_t guarded;   /* the guard applied the backup's input */
    uint32_t saturated; /* an input at its bound */
    uint32_t stalled;   /* V did not halve in time: the backup's input was applied */
    uint32_t corrupted; /* parameters whose memory had changed: the backup's are active since */
} scpo_incidents;

typedef struct {
    scpo_controller *controller;
    const scpo_real *low;  /* [SCPO_NX] what a measurement can be; NULL: any number */
    const scpo_real *high; /* [SCPO_NX] */
    scpo_fallback fallback;
    uint32_t patience;    /* calls without a good measurement for which the fallback goes on; then it releases */
    uint32_t halving;     /* calls within which V is to halve, else the backup takes over until it does; 0: no matter */
    scpo_real floor;      /* of V / rho, below which V need not fall */
    scpo_real level;      /* of V / rho, from which it is to halve */
    uint32_t waited;      /* calls for that */
    uint32_t age;         /* of the last good one, in calls */
    uint32_t token;       /* for a watchdog: see scpo_supervisor_token */
    uint32_t checksum[2]; /* of both sets of parameters */
    scpo_incidents incidents;
    scpo_real x[SCPO_NX]; /* last good measurement; the equilibrium at first */
    scpo_real u[SCPO_NU]; /* last input */
} scpo_supervisor;

void scpo_supervisor_begin(scpo_supervisor *supervisor, scpo_controller *controller, scpo_fallback fallback,
                           uint32_t patience);

/* The input for a sample. x is NULL where no new measurement has come. u is always written. SCPO_OK, SCPO_GUARDED,
 * SCPO_BAD_THETA as of scpo_control; SCPO_GUARDED also where the liveness timer has applied the backup;
 * SCPO_BAD_STATE where a fallback is applied. */
scpo_status scpo_supervisor_control(scpo_supervisor *supervisor, const scpo_real *x, scpo_real *u);

/* A liveness timer: a guard keeps the loop in a set, and invariance is not convergence. From now on the backup takes
 * over where V has not halved within so many calls, down to `floor` of rho, such as 0.01. */
void scpo_supervisor_watch(scpo_supervisor *supervisor, uint32_t halving, scpo_real floor);

/* From the background, now and then: whether the active parameters are, bit by bit, what was made active. Where they
 * are not, the backup's become active. Returns 1 where all was well. */
int scpo_supervisor_check(scpo_supervisor *supervisor);

/* After parameters were made active, by a commit or otherwise: takes their checksum. */
void scpo_supervisor_accept(scpo_supervisor *supervisor);

/* A number that changes when control has run and a check has passed since the last call, and else stays: feed a
 * watchdog by it, and nothing else. */
uint32_t scpo_supervisor_token(scpo_supervisor *supervisor);

#ifdef __cplusplus
}
#endif

#endif /* SCPO_SUPERVISE_H */
