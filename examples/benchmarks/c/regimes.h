/* The regimes of tests/projection_cases.py in C: draw() fills the instance below, in double. For million.c alone.
 * SPDX-License-Identifier: MIT
 */
#ifndef REGIMES_H
#define REGIMES_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "scpo.h"

#define LARGEST SCPO_MAX_DIM

static double u[LARGEST], c[LARGEST], G[LARGEST][LARGEST], e[LARGEST], L[LARGEST], r; /* the instance, before rounding */
static int dim, count;

static uint64_t state;

static uint64_t next(void) /* splitmix64 */
{
    uint64_t z = (state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static double uniform(double low, double high)
{
    return low + (high - low) * ((double)(next() >> 11) * 0x1p-53);
}

static double normal(void)
{
    static double second;
    static int ready;
    double radius, angle;
    ready = !ready;
    if (!ready) {
        return second;
    }
    radius = sqrt(-2 * log(uniform(0x1p-54, 1)));
    angle = uniform(0, 6.283185307179586);
    second = radius * sin(angle);
    return radius * cos(angle);
}

static double power(double low, double high) /* of ten */
{
    return pow(10, uniform(low, high));
}

static double norm(int length, const double *x)
{
    double sum = 0;
    while (length-- > 0) {
        sum += x[length] * x[length];
    }
    return sqrt(sum);
}

static void scale_vector(int length, double factor, double *x)
{
    while (length-- > 0) {
        x[length] *= factor;
    }
}

static void scale_row(int i, double factor)
{
    scale_vector(dim, factor, G[i]);
    c[i] *= factor;
    e[i] *= factor;
    L[i] *= factor;
}

static void plain(void) /* rows that cut into a step of length about 1, strictly feasible at 0 */
{
    int i, j;
    for (j = 0; j < dim; j++) {
        u[j] = normal();
    }
    scale_vector(dim, exp(uniform(-0.5, 1)) / norm(dim, u), u);
    for (i = 0; i < count; i++) {
        double size;
        for (j = 0; j < dim; j++) {
            G[i][j] = normal();
        }
        size = norm(dim, G[i]);
        c[i] = -size * uniform(0.01, 0.5);
        e[i] = size * uniform(0, 0.2);
        L[i] = size * uniform(0, 1);
    }
    r = uniform(0.5, 5);
}

static int copied(void) /* one of the first third of the rows */
{
    return (int)(next() % (uint64_t)(count < 6 ? 1 : count / 3));
}

static void copy_row(int from, int to)
{
    memcpy(G[to], G[from], sizeof G[to]);
    c[to] = c[from];
    e[to] = e[from];
    L[to] = L[from];
}

/* One function a regime; `plain` comes before. */
static void no_change(void) {}
static void exact_gradients(void) { scale_vector(count, 0, e); }
static void small_steps(void) { scale_vector(count, 0.01, c); }
static void already_inside(void) { scale_vector(dim, 1e-3, u); }
static void far_target(void) { scale_vector(dim, power(2, 4), u); }
static void huge_target(void) { scale_vector(dim, power(6, 12), u); }
static void no_target(void) { scale_vector(dim, 0, u); }
static void radius_active(void) { r = 0.3 * uniform(0.1, 1) * norm(dim, u); }
static void all_on_boundary(void) { scale_vector(count, 0, c); }
static void large_errors(void) { scale_vector(count, 20, e); }

static void tiny_target(void)
{
    int i;
    scale_vector(dim, 1e-6, u);
    r *= 1e-6;
    for (i = 0; i < count; i++) {
        scale_vector(dim, 1e6, G[i]);
        e[i] *= 1e6;
        L[i] *= 1e12;
    }
}

static void scaled_rows(void)
{
    int i;
    for (i = 0; i < count; i++) {
        scale_row(i, power(-3, 3));
    }
}

static void some_on_boundary(void)
{
    int i;
    for (i = 0; i < count; i++) {
        c[i] *= next() % 2 ? 1 : 0;
    }
}

static void boundary_and_scaled(void)
{
    all_on_boundary();
    scaled_rows();
}

static void boundary_cone(void)
{
    all_on_boundary();
    scale_vector(count, 0, L);
}

static void boundary_exact(void)
{
    all_on_boundary();
    exact_gradients();
}

static void boundary_wide(void)
{
    double inner[LARGEST];
    int i, j;
    boundary_exact();
    for (j = 0; j < dim; j++) {
        inner[j] = u[j] + 0.5 * normal();
    }
    for (i = 0; i < count; i++) {
        double sum = 0;
        for (j = 0; j < dim; j++) {
            sum += G[i][j] * inner[j];
        }
        scale_vector(dim, sum > 0 ? -1 : 1, G[i]);
        L[i] *= power(-8, 0);
    }
}

static void nearly_boundary(void)
{
    int i;
    for (i = 0; i < count; i++) {
        c[i] *= power(-12, 0);
    }
}

static void duplicates(void)
{
    int i;
    for (i = count - 1; i > 0; i--) {
        copy_row(copied(), i);
    }
}

static void duplicate_gradients(void)
{
    int i;
    for (i = count - 1; i > 0; i--) {
        memcpy(G[i], G[copied()], sizeof G[i]);
    }
}

static void parallel_rows(void)
{
    const double spread = power(-12, -2);
    int i, j;
    for (i = count - 1; i >= 0; i--) {
        const int from = copied();
        c[i] = c[from];
        for (j = 0; j < dim; j++) {
            G[i][j] = G[from][j] * (1 + spread * normal());
        }
    }
}

static void opposed_rows(void)
{
    const int half = count / 2;
    int i, j;
    for (i = 0; i < half; i++) {
        for (j = 0; j < dim; j++) {
            G[half + i][j] = -G[i][j] + 1e-3 * normal();
        }
    }
    scale_vector(count, 0.01, e);
}

static void rank_deficient(void)
{
    static double left[LARGEST][LARGEST], right[LARGEST][LARGEST];
    const int least = dim < count ? dim : count;
    const int rank = least < 6 ? 1 : least / 3;
    int i, j, k;
    for (k = 0; k < rank; k++) {
        for (i = 0; i < count; i++) {
            left[i][k] = normal();
        }
        for (j = 0; j < dim; j++) {
            right[k][j] = normal() / sqrt(rank);
        }
    }
    for (i = 0; i < count; i++) {
        for (j = 0; j < dim; j++) {
            double sum = 0;
            for (k = 0; k < rank; k++) {
                sum += left[i][k] * right[k][j];
            }
            G[i][j] = sum;
        }
    }
}

static void zero_rows(void)
{
    int i;
    for (i = 0; i < count; i++) {
        if (uniform(0, 1) < 0.4) {
            scale_vector(dim, 0, G[i]);
        }
    }
}

static void curvature_spread(void)
{
    int i;
    for (i = 0; i < count; i++) {
        L[i] *= power(-4, 4);
    }
}

static void polyhedron(void)
{
    exact_gradients();
    scale_vector(count, 0, L);
}

static void polyhedron_far(void)
{
    polyhedron();
    scale_vector(dim, 1e4, u);
    r = 1e6;
}

static void normal_cone(void)
{
    int i, j;
    all_on_boundary();
    scale_vector(dim, 0, u);
    for (i = 0; i < count && i < dim; i++) {
        const double weight = uniform(0, 1);
        for (j = 0; j < dim; j++) {
            u[j] += weight * G[i][j];
        }
    }
    scale_vector(dim, 1 / norm(dim, u), u);
}

#define REGIME(name) {#name, name}
static const struct {
    const char *name;
    void (*change)(void);
} regimes[] = {
    {"plain", no_change},          REGIME(exact_gradients),   REGIME(small_steps),      REGIME(already_inside),
    REGIME(far_target),            REGIME(tiny_target),       REGIME(radius_active),    REGIME(scaled_rows),
    REGIME(some_on_boundary),      REGIME(large_errors),      REGIME(no_target),        REGIME(huge_target),
    REGIME(all_on_boundary),       REGIME(boundary_and_scaled), REGIME(boundary_cone),  REGIME(boundary_wide),
    REGIME(boundary_exact),        REGIME(nearly_boundary),   REGIME(duplicates),       REGIME(duplicate_gradients),
    REGIME(parallel_rows),         REGIME(opposed_rows),      REGIME(rank_deficient),   REGIME(zero_rows),
    REGIME(curvature_spread),      REGIME(polyhedron),        REGIME(polyhedron_far),   REGIME(normal_cone),
};
#define REGIMES ((int)(sizeof regimes / sizeof regimes[0]))

static void draw(int regime, uint64_t index)
{
    state = 0;
    state = next() + (uint64_t)regime;
    state = next() + index;
    dim = (int)exp(uniform(0, log(LARGEST + 0.999)));
    count = (int)exp(uniform(0, log(LARGEST + 0.999)));
#ifdef DIM
    dim = DIM;
    count = COUNT;
#endif
    plain();
    regimes[regime].change();
}

#endif /* REGIMES_H */
