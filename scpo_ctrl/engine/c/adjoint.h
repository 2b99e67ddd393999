/* What a backward pass works with; how it passes the policy, and expressions of a step. SPDX-License-Identifier: MIT */
#ifndef ADJOINT_H
#define ADJOINT_H

#include "backward.h"

#define STEPS_KEPT 8 /* the parameters' gradient waits for so many steps: it may be too large for the cache */

typedef struct {
    const engine_batch *batch;
    const double *theta; /* [count][NTHETA] */
    const lane *terms; /* [blocks][rows][2] multipliers and curvatures of the metrics, or NULL for none */
    int saturated;
    long groups;
    double *cost;     /* [count][scenarios] mean over the steps, or NULL */
    double *gradient; /* [count][groups][NTHETA] of the sum over scenarios and steps, zero at first */
    const double *multipliers; /* [scenarios][rows] of the metrics, for the gradients of scenarios: */
    double *x0_gradient;       /* [scenarios][NX] */
    double *p_gradient;        /* [scenarios][NP] */
    double *signals_gradient;  /* [scenarios][horizon + 1][SIGNALS] */
    double *w_gradient;        /* [scenarios][horizon][NX], or NULL */
    double *rest_gradient;     /* [scenarios][NX] by where contraction is about, or NULL */
} adjoint;

/* A block's trajectory, and the adjoints. */
typedef struct {
    const double *theta;
    double *cost;
    lane *x;      /* [horizon + 1][NX] */
    lane *u;      /* [horizon][NU] commands before saturation */
    lane *layers; /* [horizon][ACTIVATIONS] */
    network *net;
    lane *deltas;         /* [STEPS_KEPT][ACTIVATIONS] */
    lane *command_deltas; /* [STEPS_KEPT][NU] */
    lane *zero_deltas;    /* [ACTIVATIONS] of the layers at z = 0, summed over the steps */
    lane *gradient;       /* [SUMMED / WIDTH][NTHETA] */
    lane *terms;          /* [rows][2] of a block's metrics, in gradients of scenarios */
} adjoint_work;

#ifdef LAW

/* Adds what the law makes of the adjoints of the command at time t to those of the state, of theta and of p. */
static inline void backward_policy(const adjoint *job, const adjoint_work *parts, long t, const lane *p,
                                   const lane *command_delta, lane *x_delta, int of_scenarios, lane *p_delta)
{
    const lane *x = parts->x + t * NX;
    lane by_x[NX], by_theta[NTHETA], by_p[AT_LEAST_ONE(NP)];
    int i;
    if (job->saturated) {
        law_adjoint(x, p, parts->theta, command_delta, by_x, by_theta, by_p);
    } else {
        law_smooth_adjoint(x, p, parts->theta, command_delta, by_x, by_theta, by_p);
    }
    for (i = 0; i < NX; i++) {
        x_delta[i] += by_x[i];
    }
    for (i = 0; !of_scenarios && i < NTHETA; i++) {
        parts->gradient[i] += by_theta[i];
    }
    for (i = 0; of_scenarios && i < NP; i++) {
        p_delta[i] += by_p[i];
    }
}

#else

/* Adds what W gets of the steps from t on, `steps` of them. */
static inline void add_output(const adjoint_work *parts, long t, int steps)
{
    const lane *zero = parts->net->zero + LAST_AT;
    int i, j, s;
    for (j = 0; j < LAST; j++) {
        lane sum[NU];
        UNROLLED for (i = 0; i < NU; i++) {
            sum[i] = parts->gradient[OUTPUT + i * LAST + j];
        }
        for (s = steps - 1; s >= 0; s--) {
            const lane a = parts->layers[(t + s) * ACTIVATIONS + LAST_AT + j] - zero[j];
            UNROLLED for (i = 0; i < NU; i++) {
                sum[i] += parts->command_deltas[s * NU + i] * a;
            }
        }
        UNROLLED for (i = 0; i < NU; i++) {
            parts->gradient[OUTPUT + i * LAST + j] = sum[i];
        }
    }
}

/* Adds what the policy makes of the adjoints of the command at time t to those of the state and of theta. */
static inline void backward_policy(const adjoint *job, const adjoint_work *parts, long t, const lane *p,
                                   const lane *command_delta, lane *x_delta, int of_scenarios, lane *p_delta)
{
    const engine_batch *batch = job->batch;
    const long kept = t % STEPS_KEPT;
    lane *deltas = parts->deltas + kept * ACTIVATIONS;
    int i, j;
    (void)p;
    (void)p_delta;
    for (j = 0; j < LAST; j++) {
        lane sum = all(0.0);
        for (i = 0; i < NU; i++) {
            sum += parts->theta[OUTPUT + i * LAST + j] * command_delta[i];
        }
        deltas[LAST_AT + j] = sum;
        if (!of_scenarios) {
            parts->zero_deltas[LAST_AT + j] -= sum;
        }
    }
    backward_hidden(parts->theta, parts->layers + t * ACTIVATIONS, deltas);
    copy(command_delta, NU, parts->command_deltas + kept * NU);
    if (!of_scenarios && kept == 0) {
        const int steps = (int)(batch->horizon - t < STEPS_KEPT ? batch->horizon - t : STEPS_KEPT);
        add_hidden(steps, parts->layers + t * ACTIVATIONS, parts->deltas, parts->gradient);
        add_output(parts, t, steps);
    }
    for (j = 0; j < NX; j++) {
        lane sum = x_delta[j] + batch->factor[j] * deltas[j];
        for (i = 0; i < NU; i++) {
            sum -= batch->K[i * NX + j] * command_delta[i];
        }
        x_delta[j] = sum;
    }
}

#endif

/* The slope of the term of a metric, multiplier + curvature times metric. */
static inline lane slope_of(const lane *term, lane metric)
{
    return term[0] + term[1] * metric;
}

/* Adds the adjoints of the metrics of time t that are expressions, to those of the parameters too. */
static inline void add_step_rows(const engine_batch *batch, const lane *terms, long t, const lane *x, const lane *u,
                                 const lane *v, const lane *p, lane *x_delta, lane *u_delta, lane *v_delta, lane *p_delta)
{
#ifdef CONSTRAINTS
    lane rows[AT_LEAST_ONE(STEP_ROWS)], by_x[NX], by_u[NU], by_v[NU], by_p[AT_LEAST_ONE(NP)];
    const int is_end = t == batch->horizon;
    long r;
    int i;
    if (!terms) {
        return;
    }
    terms += 2 * step_start(batch, t);
    if (is_end) {
        end_metrics(x, p, rows);
    } else {
        step_metrics(x, u, v, p, rows);
    }
    for (r = 0; r < STEP_ROWS; r++) {
        rows[r] = r < step_count(batch, t) ? slope_of(terms + 2 * r, rows[r]) : all(0.0);
    }
    if (is_end) {
        end_metrics_adjoint(x, p, rows, by_x, by_p);
    } else {
        step_metrics_adjoint(x, u, v, p, rows, by_x, by_u, by_v, by_p);
    }
    for (i = 0; i < NX; i++) {
        x_delta[i] += by_x[i];
    }
    for (i = 0; !is_end && i < NU; i++) {
        u_delta[i] += by_u[i];
        v_delta[i] += by_v[i];
    }
    for (i = 0; p_delta && i < NP; i++) {
        p_delta[i] += by_p[i];
    }
#else
    (void)batch;
    (void)terms;
    (void)t;
    (void)x;
    (void)u;
    (void)v;
    (void)p;
    (void)x_delta;
    (void)u_delta;
    (void)v_delta;
    (void)p_delta;
#endif
}

/* What the step after has to do with the input of this one; at t = 0 the input is the one before itself. */
static inline void pass_before(long t, lane *u_delta, const lane *v_delta, lane *later)
{
#ifdef INPUT_BEFORE
    int i;
    for (i = 0; i < NU; i++) {
        u_delta[i] += later[i];
        if (t == 0) {
            u_delta[i] += v_delta[i];
        }
        later[i] = v_delta[i];
    }
#else
    (void)t;
    (void)u_delta;
    (void)v_delta;
    (void)later;
#endif
}

#endif /* ADJOINT_H */
