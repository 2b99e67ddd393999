/* scpo-ctrl runtime: a policy that stays inside its bounds, and the projection of its updates onto local regions.
 *
 * Method: S. Cao, F. Borrelli, E. Joa, "Constrained Policy Optimization via Sampling-Based Weight-Space
 * Projection" (SCPO), arXiv 2512.13788. No heap, no stdio, no global mutable state, no recursion; every function is
 * reentrant. C99, also valid C++. SPDX-License-Identifier: MIT
 */
#ifndef SCPO_H
#define SCPO_H

#include "scpo_config.h" /* generated: scpo_real, SCPO_NX, SCPO_NU, SCPO_NTHETA, the policy's shape */

#ifdef __cplusplus
extern "C" {
#endif

/* Largest dimension of a projection, and the number of constraints that it solves for at once. A problem may have more:
 * those that matter take turns. dim + 1 at once are always enough. */
#ifndef SCPO_MAX_DIM
#define SCPO_MAX_DIM 64
#endif
#ifndef SCPO_MAX_ACTIVE
#define SCPO_MAX_ACTIVE 24
#endif

typedef enum {
    SCPO_OK = 0,           /* the answer is the one asked for */
    SCPO_CAPPED = 1,       /* projection: a cap or rounding stopped it; delta is feasible, perhaps not the closest */
    SCPO_UNSAFE_START = 2, /* projection: some c > 0, so the current parameters are unsafe; delta = 0 */
    SCPO_BAD_PROBLEM = 3,  /* projection: NaN, infinity, negative e or L, r <= 0 or a size out of range; delta = 0 */
    SCPO_BAD_STATE = 4,    /* control: x is not finite; u is the equilibrium input, within its bounds */
    SCPO_BAD_THETA = 5,    /* control: the policy is not finite; u is the backup's command, within its bounds */
    SCPO_GUARDED = 6,      /* control: the policy's input might leave the proved set; u is the backup's command */
    SCPO_BUSY = 8,         /* of what is done piece by piece: there is more to do, call again */
    SCPO_BAD_MODE = 9      /* projection: the processor does not round to nearest; delta = 0 */
} scpo_status;

#define SCPO_SLOTS (SCPO_MAX_ACTIVE + 1) /* the radius is a constraint too */

struct scpo_projection;

/* Scratch memory of one projection. Its content means nothing between calls. It holds the working set, the constraints
 * solved for at once, each divided by its size, and the present point of their dual function.
 *
 * In units of `length`, with u/|u| = unit, (E5) reads: minimise inertia |a|^2 - 2 unit'a over the working set, the
 * radius in it as -1/2 + |a|^2/2 <= 0 where it matters. The Lagrangian for multipliers lambda >= 0 has the minimiser
 *     a = t/n w,  w = 2 unit - G'lambda,  n = |w|,  t = max(0, n - lambda'e) / (2 inertia + lambda'L). */
typedef struct {
    const struct scpo_projection *problem;
    scpo_real *delta;   /* [dim] the answer; while working on it w, of which it is a multiple */
    int size;           /* constraints in the working set */
    int budget;         /* Newton steps and rounds left */
    int maximising;     /* whether the next piece is a Newton step, else it is a sweep over all constraints */
    int steps;          /* Newton steps in a row, -1 before their start is evaluated */
    int changes;        /* of the basis of a Newton step under way that are left; 0 where none is */
    int count;          /* constraints in that basis */
    int factored;       /* rows of its factor that are known */
    int trials;         /* halvings of the last one that are left */
    scpo_real tau;      /* part of it that the last halving took back */
    scpo_real rise;     /* derivative of the dual function at its start */
    scpo_status status; /* what ends the projection unless something else does */
    scpo_real margin;   /* next tightening of violated constraints, relative */
    scpo_real room;     /* what a shortened answer leaves, relative */
    scpo_real given;    /* inertia of the problem, while a homotopy adds more */
    scpo_real more;     /* inertia that it adds now */
    scpo_real ratio;    /* by which it takes that away */
    scpo_real rounding; /* bound on the rounding errors of a constraint, here and elsewhere, relative to its terms */
    scpo_real length;   /* min(|u|, r): no answer is longer */
    scpo_real inertia;  /* length / |u| */
    scpo_real t;
    scpo_real noise;   /* rounding errors of n - lambda'e */
    scpo_real value;   /* the dual function, <= 0 */
    scpo_real across;  /* dual Hessian = across (G G' - p p') + along q q' */
    scpo_real along;
    scpo_real c[SCPO_SLOTS];      /* value at 0 */
    scpo_real e[SCPO_SLOTS];      /* error of the gradient, and room for rounding */
    scpo_real L[SCPO_SLOTS];      /* smoothness */
    scpo_real scale[SCPO_SLOTS];  /* 1 / size */
    scpo_real lambda[SCPO_SLOTS]; /* multiplier, >= 0 */
    scpo_real slope[SCPO_SLOTS];  /* derivative of the dual function: the constraint's value */
    scpo_real p[SCPO_SLOTS];      /* gradient times the direction of the answer */
    scpo_real q[SCPO_SLOTS];      /* derivative of the constraint along that direction */
    scpo_real step[SCPO_SLOTS];   /* Newton step of the multiplier */
    scpo_real gain[SCPO_SLOTS];   /* derivative of the quadratic model at the step */
    scpo_real move[SCPO_SLOTS];   /* part of the step, in the order of the basis */
    const scpo_real *row[SCPO_SLOTS]; /* gradient, in the problem; of the radius, pull */
    int basis[SCPO_SLOTS];        /* of the quadratic model, and behind it the other constraints */
    scpo_real pull[SCPO_MAX_DIM]; /* 2 unit */
    scpo_real triangles[SCPO_SLOTS * (SCPO_SLOTS + 1)]; /* G G' and a factor of the quadratic model's Hessian */
} scpo_workspace;

/* minimise |delta - u|^2  subject to  c_i + G_i delta + e_i |delta| + L_i/2 |delta|^2 <= 0,  |delta| <= r      (E5)
 *
 * Feasible means: evaluated in scpo_real as  c_i + (G_i delta + e_i norm) + L_i / 2 * norm * norm  with norm = |delta|,
 * the sum is <= 0 by more than any other order of summation, fused or not, or a wider type could make of it. */
typedef struct scpo_projection {
    int dim;             /* length of delta, 1 ... SCPO_MAX_DIM */
    int count;           /* number of constraints, 0 ... any */
    const scpo_real *u;  /* [dim] the step to be projected */
    const scpo_real *c;  /* [count] metrics at the current parameters, <= 0 */
    const scpo_real *G;  /* [count*dim] their sampled gradients, a row each */
    const scpo_real *e;  /* [count] error of these gradients, >= 0 */
    const scpo_real *L;  /* [count] smoothness constants, >= 0 */
    scpo_real r;         /* radius of the region, > 0 */
    scpo_workspace *work;
} scpo_projection;

/* The exported parameters. */
extern const scpo_real scpo_theta_initial[SCPO_NTHETA];
#define scpo_theta scpo_theta_initial /* their name from the next version on, in which the other one goes */

/* u = sat(backup(x) + residual(x; theta)). u is always written, finite and within its bounds. */
scpo_status scpo_control(const scpo_real *theta /* [SCPO_NTHETA] */, const scpo_real *x /* [SCPO_NX] */,
                         scpo_real *u /* [SCPO_NU] */);

/* Parameters ready for use. */
typedef struct {
    scpo_real theta[SCPO_NTHETA];
    scpo_real at_zero[SCPO_HIDDEN + 1]; /* the network's hidden layers at the equilibrium, which every command needs */
} scpo_parameters;

/* A controller in use: two sets of parameters, of which one is active. An interrupt may ask for commands at any moment
 * while the other set is written: each command comes from one whole set. What is interrupted must not ask for commands
 * itself; where two processors share a controller, define SCPO_BARRIER as a barrier between them. */
typedef struct {
    scpo_parameters set[2];
    volatile unsigned char active; /* 0 or 1; always written last */
} scpo_controller;

/* Makes theta the active parameters. SCPO_BAD_THETA where it is not finite, and the backup's are active then. */
scpo_status scpo_controller_begin(scpo_controller *controller, const scpo_real *theta /* [SCPO_NTHETA] */);

/* scpo_control with the active parameters, in half the time. */
scpo_status scpo_controller_control(const scpo_controller *controller, const scpo_real *x /* [SCPO_NX] */,
                                    scpo_real *u /* [SCPO_NU] */);

/* The set that is not active, to be written; scpo_parameters_prepare completes it, and the switch makes it the active
 * one at once. SCPO_BAD_THETA where theta is not finite: then nothing is switched. */
scpo_parameters *scpo_controller_spare(scpo_controller *controller);
scpo_status scpo_controller_switch(scpo_controller *controller);
void scpo_parameters_prepare(scpo_parameters *parameters);

#if SCPO_GUARD
/* Returns 1 if u keeps the next state of the model in the set that the backup is proved to keep, for all parameters and
 * disturbances in range, and 0 if it might not, or x or u is no number. scpo_control asks it: from a state in the set
 * no state leaves it then, whatever theta holds, as far as the plant is its model and x is measured without error. */
int scpo_guard(const scpo_real *x /* [SCPO_NX] */, const scpo_real *u /* [SCPO_NU], within its bounds */);
#endif

/* Solves (E5). Steps shorter than 1e-280 (float: 1e-22) count as 0. delta [dim], which is none of the inputs, is always
 * written, finite, and feasible when every c <= 0; also where the processor flushes subnormal numbers to zero, as far
 * as none of the inputs is one. Where it does not round to nearest the answer is SCPO_BAD_MODE. */
scpo_status scpo_project(const scpo_projection *problem, scpo_real *delta);

/* The same piece by piece, each a sweep over the constraints or a Newton step: begin, then poll while the answer is
 * SCPO_BUSY. Problem and delta stay as they are until then. */
scpo_status scpo_project_begin(const scpo_projection *problem, scpo_real *delta);
scpo_status scpo_project_poll(scpo_workspace *work);

/* Between begin and the first poll: constraint `index` [0 ... count - 1], each at most once, is likely to be active,
 * with this multiplier >= 0 (0 where it is not known). It costs or saves pieces, and nothing else depends on it. */
void scpo_project_guess(scpo_workspace *work, int index, scpo_real multiplier);

/* The multiplier of a constraint at the answer: delta - u + sum_i multiplier_i (G_i + L_i delta) = 0, where e = 0.
 * It is 0 or more, and infinite where it is no number of this type. */
scpo_real scpo_project_multiplier(const scpo_workspace *work, int index);

#ifdef __cplusplus
}
#endif

#endif /* SCPO_H */
