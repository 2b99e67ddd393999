/* scpo-ctrl runtime: safe adaptation on the device, piece by piece, while the controller is in use.
 *
 * Each step plans a quasi-Newton step of the objective, projects it onto the local safe region of a working set of
 * metrics (E4), (E5), and checks all metrics of all scenarios on the model before it is committed: in the background,
 * by calls of scpo_adapter_poll that are as short as is asked for. scpo_controller_control may interrupt them at any
 * moment. No heap, no global mutable state: an adapter is one struct. C99, also valid C++. SPDX-License-Identifier: MIT
 */
#ifndef SCPO_ADAPT_H
#define SCPO_ADAPT_H

#include "scpo.h"
#include "scpo_adapt_config.h" /* generated: sizes */
#if SCPO_IMITATION
#include "scpo_expert.h"
#endif

#include <stdint.h>

#if SCPO_NROWS < 1 || SCPO_TRIES < 1 || SCPO_PATIENCE < 1
#error "SCPO_NROWS, SCPO_TRIES and SCPO_PATIENCE are 1 or more"
#endif
#if !SCPO_SAMPLED && SCPO_MEMORY < 1
#error "SCPO_MEMORY is 1 or more"
#endif
#if SCPO_SAMPLED
#if SCPO_NDIRECTIONS < 1 || SCPO_NDIRECTIONS > SCPO_NTHETA || SCPO_NDIRECTIONS > 255 || SCPO_CHUNK < 1
#error "SCPO_NDIRECTIONS is 1 ... SCPO_NTHETA and at most 255, SCPO_CHUNK is 1 or more"
#endif
#define SCPO_SPAN SCPO_NDIRECTIONS /* dimensions that a step is planned and projected in */
#else
#define SCPO_SPAN SCPO_NTHETA
#endif
#if SCPO_MAX_DIM < SCPO_SPAN || SCPO_MAX_ACTIVE < SCPO_NROWS
#error "a projection of the adaptation has SCPO_SPAN dimensions and SCPO_NROWS constraints: enlarge SCPO_MAX_DIM, SCPO_MAX_ACTIVE"
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    SCPO_ADAPTING = 0,     /* a step is under way: call again */
    SCPO_COMMITTED = 1,    /* a step has become the active parameters */
    SCPO_REJECTED = 2,     /* a step has ended without: the active parameters stay */
    SCPO_CONVERGED = 3,    /* there is no step that lowers the objective and is safe, or none worth it */
    SCPO_START_UNSAFE = 4, /* the active parameters break a metric at the beginning; they stay, nothing is adapted */
    SCPO_START_BAD = 5,    /* they, the scenarios or the objective are not finite; nothing is adapted */
    SCPO_NO_DATA = 6,      /* there is no example of the expert yet; nothing is adapted until there is one */
    SCPO_AUDITED = 7,      /* the committed parameters have passed an audit and are the active ones now */
    SCPO_WITHDRAWN = 8     /* an audit found where the active parameters break a metric: scpo_theta_start is active */
} scpo_adaptation;

#define SCPO_NSIGNALS (SCPO_NBOUNDS + SCPO_TERMINAL + SCPO_CONTRACTION) /* metrics at a time, at least 1 */
#if SCPO_AUDIT
#if SCPO_GUARDS < SCPO_TAKEN || SCPO_GUARDS < SCPO_EDGES || SCPO_TAKEN < 1 || SCPO_GUARDS > 255 || SCPO_AUDIT_POINTS < 1 || SCPO_AUDIT_FIRST < 1
#error "SCPO_GUARDS holds SCPO_EDGES and SCPO_TAKEN, and is at most 255; SCPO_TAKEN, SCPO_AUDIT_POINTS and SCPO_AUDIT_FIRST are 1 or more"
#endif
#define SCPO_NALL (SCPO_NROLLOUTS + SCPO_GUARDS) /* rollouts that steps are verified in, at most */
#else
#define SCPO_NALL SCPO_NROLLOUTS
#endif

#if !SCPO_IMITATION
/* Of x and u, and step by step where the reference is a signal. */
#define SCPO_NREFERENCE ((SCPO_TRACKING ? SCPO_HORIZON : 1) * (SCPO_NX + SCPO_NU))
#endif

/* A rollout: states, commands before saturation, and the hidden layers of each, which only exact gradients need. */
typedef struct {
    scpo_real x[(SCPO_HORIZON + 1) * SCPO_NX];
    scpo_real v[SCPO_HORIZON * SCPO_NU];
    scpo_real a[(SCPO_SAMPLED ? 1 : SCPO_HORIZON) * (SCPO_HIDDEN + 1)];
#if SCPO_UPDATABLE || SCPO_AUDIT
    scpo_real p[SCPO_NPARAMETERS]; /* plant parameters */
#endif
#if SCPO_AUDIT
    uint32_t number; /* of its point, where it is none of the scenarios */
    scpo_real limit; /* of V(x_N) / rho by contraction */
#endif
} scpo_trajectory;

#if SCPO_AUDIT
/* S of (E12) beside the scenarios, and the audits of what was committed on it. */
typedef struct {
    uint32_t seed; /* of the points of audits; may be set between scpo_adapter_begin and the first scpo_adapter_poll */
    scpo_parameters committed;   /* what steps begin at; the active parameters once they have passed an audit */
    int guards;
    int oldest;                  /* of the guards, where there is no room for another */
    uint32_t guard[SCPO_GUARDS]; /* numbers of points: some at the edges of the set, and counterexamples */
    unsigned char order[SCPO_GUARDS]; /* their places, those that broke a try or joined last first */
    unsigned char back_off[SCPO_NALL * SCPO_NSIGNALS]; /* 255ths of SCPO_BACK_OFF, of each signal of each rollout */
    uint32_t number; /* of the next point that is drawn */
    int left;        /* points of this audit */
    int unaudited;   /* commits since the last one, at most interval; those that an audit took back count as one */
    int interval;    /* that many commits are audited */
    int spent;       /* pieces of verifications in this step, at most SCPO_STEP_ROLLOUTS */
    uint32_t found[SCPO_TAKEN]; /* the worst points of the audit so far, each of a part of it */
    scpo_real worst[SCPO_TAKEN];
    int joining;     /* counterexamples whose back-off is still to be found */
    int halvings;    /* of the way back */
    unsigned char trusted; /* whether the active parameters have passed an audit */
    unsigned char own;     /* whether they were adapted here */
} scpo_audit;
#endif

#if SCPO_SAMPLED
/* Rollouts at theta + sigma d_j, side by side with that at theta: where they are, and how far from it on their way. */
typedef struct {
    scpo_trajectory run; /* at theta */
    scpo_real x[SCPO_SPAN * SCPO_NX];
    scpo_real moved[SCPO_SPAN * SCPO_CHUNK * (SCPO_NX + SCPO_NU)]; /* changes of x and u in some steps */
} scpo_lanes;
#endif

#if SCPO_NVERTICES
/* Powers of the loop's derivative at the equilibrium, and its hidden layers before tanh. */
typedef struct {
    scpo_real power[(SCPO_DOUBLINGS + 1) * SCPO_NX * SCPO_NX];
    scpo_real q[SCPO_HIDDEN + 1];
} scpo_powers;
#endif

#if !SCPO_SAMPLED
/* What changes of theta showed of the objective's curvature: the change s, that of the gradient y, and w of the scaling
 * S = sqrt(gamma) (I + s_1 w_1') (I + s_2 w_2') ..., with S S' the inverse of BFGS. */
typedef struct {
    scpo_real s[SCPO_NTHETA];
    scpo_real y[SCPO_NTHETA];
    scpo_real w[SCPO_NTHETA];
    scpo_real determinant; /* of I + s w' */
} scpo_pair;
#endif

/* Counts since the beginning, for telemetry. */
typedef struct {
    uint32_t steps;
    uint32_t commits;
    uint32_t tries;      /* parameters that were checked in all scenarios */
    uint32_t unsafe;     /* of these, how many broke a metric */
    uint32_t pieces;     /* of work */
    uint32_t projections;
    uint32_t projecting;  /* pieces of these */
#if SCPO_AUDIT
    uint32_t audits;      /* that have ended */
    uint32_t fresh;       /* points that they drew */
#endif
} scpo_counts;

typedef struct {
    scpo_controller *controller;
#if SCPO_IMITATION
    scpo_expert expert; /* what the objective asks for */
#else
    scpo_real reference[SCPO_NREFERENCE]; /* x and u that the objective asks for; may be changed between steps */
#endif
#if SCPO_UPDATABLE
    scpo_real p_low[SCPO_NPARAMETERS]; /* what plant parameters are spread over, once they were replaced */
    scpo_real p_high[SCPO_NPARAMETERS];
    unsigned char replaced;
#endif
    scpo_counts counts;
    scpo_real objective;       /* of the committed parameters, which are the active ones unless an audit is still due */
    scpo_real start_objective; /* of those to begin with */
    scpo_real margin;          /* -max g of the committed parameters, with what is kept clear of SCPO_BACK_OFF in g */
#if SCPO_AUDIT
    scpo_audit audit;
#endif

    /* all below is the adapter's own */
    scpo_real radius;
    scpo_real gamma;
    scpo_real predicted; /* fall of the objective, to first order */
    scpo_real sum;       /* of the objective, so far */
    scpo_real worst;     /* largest metric, so far */
    scpo_real length;    /* |alpha| */
    int phase;
    int stage; /* of the gradients */
    scpo_adaptation outcome; /* how it has ended, where it has */
    int rollout;
    int row;
    int count;   /* rows of the working set */
    int found;   /* peaks */
    int tries;
    int stalled; /* steps in a row without a commit worth it */
    uint32_t key[SCPO_NROWS];         /* of the metrics of the working set */
    unsigned char joined[SCPO_NROWS]; /* whether a try of this step broke it */
    scpo_real c[SCPO_NROWS];          /* their values */
    scpo_real room[SCPO_NROWS];       /* what of them a step may use up, <= 0 */
    scpo_real e[SCPO_NROWS];          /* errors of their gradients, 0 where these are exact */
    scpo_real L[SCPO_NROWS];          /* smoothness constants in the space of theta */
    scpo_real curved[SCPO_NROWS];     /* the same in scaled coordinates */
    scpo_real tried[SCPO_NROWS];      /* values at the last try */
    scpo_real multiplier[SCPO_NROWS];
    scpo_real G[SCPO_NROWS * SCPO_SPAN]; /* gradients, in scaled coordinates once a step is planned */
    uint32_t peak_key[SCPO_NROWS];    /* the largest metrics of the last try, one for each signal of a rollout */
    scpo_real peak[SCPO_NROWS];
    scpo_real gradient[SCPO_SPAN];
    scpo_real z[SCPO_SPAN];           /* the step to be projected, in scaled coordinates */
    scpo_real alpha[SCPO_SPAN];       /* its projection */
    scpo_real step[SCPO_NTHETA];      /* the same in the space of theta */
#if SCPO_SAMPLED
    uint32_t random;
    int lane; /* direction of a rollout */
    int time; /* that its steps have come to */
    unsigned char group[SCPO_NTHETA]; /* the direction that has a part along this parameter, each has one */
    scpo_real along[SCPO_NTHETA];     /* this part */
    scpo_real curvature[SCPO_SPAN * (SCPO_SPAN + 1) / 2]; /* of the objective, row by row, and its Cholesky factor */
#else
    scpo_real previous[SCPO_NTHETA]; /* gradient of the Lagrangian before the last commit */
    int pairs;
    scpo_pair pair[SCPO_MEMORY]; /* oldest first */
#endif
    scpo_projection projection;
    union { /* what is never needed at once */
        scpo_trajectory run;
        scpo_workspace projection;
#if SCPO_SAMPLED
        scpo_lanes lanes;
#endif
#if SCPO_NVERTICES
        scpo_powers powers;
#endif
    } work;
} scpo_adapter;

/* What the run in Python began with: the safe start. */
extern const scpo_real scpo_theta_start[SCPO_NTHETA];

/* Begins at the controller's active parameters. */
void scpo_adapter_begin(scpo_adapter *adapter, scpo_controller *controller);

/* Does at most this many pieces of work (a rollout, a gradient, a step of the projection), and returns what came of it:
 * SCPO_ADAPTING, or how a step or an audit ended, and then the next call begins the next one. Where it does not go on,
 * every call returns the same. */
scpo_adaptation scpo_adapter_poll(scpo_adapter *adapter, int pieces);

/* Whether there is more to do after this outcome. */
static inline int scpo_adaptation_goes_on(scpo_adaptation outcome)
{
    return outcome < SCPO_CONVERGED || outcome > SCPO_NO_DATA;
}

/* Goes on after SCPO_CONVERGED, such as with another reference: what was learnt of curvature is forgotten. */
void scpo_adapter_restart(scpo_adapter *adapter);

#if SCPO_UPDATABLE
/* The plant parameters of all rollouts are spread over low ... high from now on, as they were over the declared ranges:
 * both are the same for a parameter that is known. In the background, between calls of scpo_adapter_poll; all of it is
 * taken over at once. A step under way is given up, and the active parameters theta are verified before the next one:
 * where they break a metric now, scpo_adapter_poll says SCPO_START_UNSAFE. They stay active then, and nothing is
 * committed, until scpo_adapter_parameters, or other parameters theta and scpo_adapter_restart, make them safe.
 * SCPO_BAD_STATE where low ... high does not lie in scpo_p_min ... scpo_p_max: then nothing has changed. */
scpo_status scpo_adapter_parameters(scpo_adapter *adapter, const scpo_real *low /* [SCPO_NPARAMETERS] */,
                                    const scpo_real *high /* [SCPO_NPARAMETERS] */);
#endif

#if SCPO_UPDATABLE || SCPO_AUDIT
extern const scpo_real scpo_p_min[SCPO_NPARAMETERS]; /* the declared ranges */
extern const scpo_real scpo_p_max[SCPO_NPARAMETERS];
#endif

#if !SCPO_IMITATION
/* Replaces the reference in one piece, and goes on as scpo_adapter_restart does. In the background, between calls of
 * scpo_adapter_poll. SCPO_BAD_STATE where an entry is no number: then nothing has changed. */
scpo_status scpo_adapter_refer(scpo_adapter *adapter, const scpo_real *reference /* [SCPO_NREFERENCE] */);
#endif

#if SCPO_IMITATION
/* Takes in what the expert does at a state, in a time that depends on nothing. From one context: the interrupt that
 * samples, or the background, and then at any moment. SCPO_OK; SCPO_BUSY where the ring is full until the next step
 * begins, and the example is lost; SCPO_BAD_STATE where an entry is no number, or beyond 1e12. After SCPO_CONVERGED and
 * SCPO_NO_DATA, scpo_adapter_poll goes on once there are enough of them. */
scpo_status scpo_adapter_observe(scpo_adapter *adapter, const scpo_real *x /* [SCPO_NX] */,
                                 const scpo_real *u /* [SCPO_NU] */);

/* Forgets all examples, such as those of the export where the device has an expert of its own; a step under way is
 * given up. In the background, between calls of scpo_adapter_poll, which says SCPO_NO_DATA until there is one. */
void scpo_adapter_forget(scpo_adapter *adapter);
#endif

#ifdef __cplusplus
}
#endif

#endif /* SCPO_ADAPT_H */
