/* R3's rollouts as one would write them by hand: a loop over scenarios and steps in scalar C, tanh from the C library.
 * Threads take every k-th rollout. */
#include <math.h>
#include <pthread.h>

#define NX 2
#define HIDDEN 12
#define NTHETA (HIDDEN * (NX + 2))
#define MOST_THREADS 64

typedef struct {
    long thetas, scenarios, horizon, threads;
    const double *theta; /* [thetas][NTHETA] */
    const double *x0;    /* [scenarios][NX] */
    const double *K;     /* [NX] */
    const double *P;     /* [NX][NX] */
    const double *x_max; /* [NX], x_min is its negative */
    double u_max, gamma, dt;
    double *metrics; /* [thetas][scenarios][rows] */
} job;

typedef struct {
    const job *work;
    long first;
} share;

static double level(const double *P, const double *x)
{
    return x[0] * (P[0] * x[0] + P[1] * x[1]) + x[1] * (P[2] * x[0] + P[3] * x[1]);
}

static void roll(const job *work, const double *theta, long s, double *metrics)
{
    const double *W1 = theta, *b1 = theta + HIDDEN * NX, *W2 = b1 + HIDDEN;
    double *rows = metrics, *command_rows = metrics + 2 * NX * (work->horizon + 1);
    double x[NX] = {work->x0[s * NX], work->x0[s * NX + 1]}, at_zero[HIDDEN];
    const double start = level(work->P, x);
    for (int i = 0; i < HIDDEN; i++) {
        at_zero[i] = tanh(b1[i]);
    }
    for (long t = 0; t <= work->horizon; t++) {
        double u = -(work->K[0] * x[0] + work->K[1] * x[1]);
        for (int i = 0; i < NX; i++) {
            rows[i] = x[i] - work->x_max[i];
            rows[NX + i] = -work->x_max[i] - x[i];
        }
        rows += 2 * NX;
        if (t == work->horizon) {
            break;
        }
        for (int i = 0; i < HIDDEN; i++) {
            u += W2[i] * (tanh(W1[2 * i] * x[0] + W1[2 * i + 1] * x[1] + b1[i]) - at_zero[i]);
        }
        command_rows[2 * t] = u - work->u_max;
        command_rows[2 * t + 1] = -work->u_max - u;
        x[0] += work->dt * x[1] + work->dt * work->dt / 2 * u;
        x[1] += work->dt * u;
    }
    command_rows[2 * work->horizon] = level(work->P, x) - work->gamma * start;
}

static void *take(void *argument)
{
    const share *mine = argument;
    const job *work = mine->work;
    const long rows = 2 * NX * (work->horizon + 1) + 2 * work->horizon + 1;
    for (long k = mine->first; k < work->thetas * work->scenarios; k += work->threads) {
        roll(work, work->theta + k / work->scenarios * NTHETA, k % work->scenarios, work->metrics + k * rows);
    }
    return 0;
}

void rollouts(const job *work)
{
    pthread_t threads[MOST_THREADS];
    share shares[MOST_THREADS];
    for (long k = 0; k < work->threads; k++) {
        shares[k] = (share){work, k};
    }
    for (long k = 1; k < work->threads; k++) {
        pthread_create(&threads[k], 0, take, &shares[k]);
    }
    take(&shares[0]);
    for (long k = 1; k < work->threads; k++) {
        pthread_join(threads[k], 0);
    }
}
