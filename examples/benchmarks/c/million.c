/* Random instances of (E5) by the million: drawn, solved and judged one after the other, so only the counts are kept.
 *
 * main REGIME FIRST COUNT LIMIT [FILE]: instances FIRST ... FIRST + COUNT - 1 of a regime of tests/projection_cases.py,
 * sizes log-uniform up to SCPO_MAX_DIM, or DIM and COUNT. The judge is weak duality in long double: the solver's
 * multipliers, whatever they are, bound the optimum from below. FILE receives the instances that were capped, infeasible
 * or have a gap above LIMIT: two int, then r, u, c, G, e, L. SPDX-License-Identifier: MIT
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "regimes.h"
#include "scpo_internal.h"

static scpo_real numbers[LARGEST * (LARGEST + 4)]; /* u, c, G, e, L */
static scpo_real delta[LARGEST];
static scpo_workspace work;

static scpo_real *rounded(int length, const double *x, scpo_real *to)
{
    while (length-- > 0) {
        *to++ = (scpo_real)*x++;
    }
    return to;
}

static scpo_projection problem(void)
{
    scpo_projection made;
    scpo_real *to = numbers;
    int i;
    made.dim = dim, made.count = count, made.r = (scpo_real)r, made.work = &work;
    made.u = to, to = rounded(dim, u, to);
    made.c = to, to = rounded(count, c, to);
    made.G = to;
    for (i = 0; i < count; i++) {
        to = rounded(dim, G[i], to);
    }
    made.e = to, to = rounded(count, e, to);
    made.L = to, (void)rounded(count, L, to);
    return made;
}

/* (E4) as scpo.h states it, in scpo_real and in long double. */
static int feasible(const scpo_projection *x)
{
    scpo_real square = 0, length;
    long double wide = 0;
    int i, j;
    for (j = 0; j < dim; j++) {
        square += delta[j] * delta[j];
        wide += (long double)delta[j] * delta[j];
    }
    length = SCPO_SQRT(square);
    wide = sqrtl(wide);
    for (i = 0; i < count; i++) {
        scpo_real sum = x->c[i];
        long double exact = x->c[i];
        for (j = 0; j < dim; j++) {
            sum += x->G[i * dim + j] * delta[j];
            exact += (long double)x->G[i * dim + j] * delta[j];
        }
        sum += x->e[i] * length + x->L[i] / 2 * length * length;
        exact += x->e[i] * wide + x->L[i] / 2.0L * wide * wide;
        if (!(sum <= 0 && exact <= 0)) {
            return 0;
        }
    }
    return length <= x->r && wide <= x->r;
}

/* |delta - u|^2 less the dual function at the solver's multipliers, relative to the objective (or 1e-6 |u|^2). */
static double gap(const scpo_projection *x)
{
    long double w[LARGEST], gain = 0, total = 0, square = 0, bound = 0, errors = 0, curvature = 2, t, scale, size;
    int j, k;
    for (j = 0; j < dim; j++) {
        w[j] = 2 * (long double)x->u[j];
        gain += delta[j] * ((long double)delta[j] - 2 * (long double)x->u[j]);
        total += (long double)x->u[j] * x->u[j];
    }
    size = sqrtl(total);
    for (k = 0; k < work.size; k++) {
        const long double weight = (long double)work.lambda[k] * work.scale[k] * size;
        if (weight > 0) {
            const int i = (int)((work.row[k] - x->G) / dim);
            for (j = 0; j < dim; j++) {
                w[j] -= weight * x->G[i * dim + j];
            }
            bound += weight * x->c[i];
            errors += weight * x->e[i];
            curvature += weight * x->L[i];
        }
    }
    for (j = 0; j < dim; j++) {
        square += w[j] * w[j];
    }
    t = (sqrtl(square) - errors) / curvature;
    t = t < 0 ? 0 : t > x->r ? x->r : t;
    bound += t * (curvature * t / 2 + errors - sqrtl(square));
    scale = fmaxl(gain + total, 1e-6L * total);
    return scale > 0 ? (double)((gain - bound) / scale) : 0;
}

static void keep(FILE *file, const scpo_projection *x)
{
    const int sizes[2] = {dim, count};
    (void)fwrite(sizes, sizeof sizes, 1, file);
    (void)fwrite(&x->r, sizeof x->r, 1, file);
    (void)fwrite(numbers, sizeof numbers[0], (size_t)(dim + count * (dim + 3)), file);
}

int main(int argc, char **argv)
{
    long index, capped = 0, infeasible = 0, loose = 0, steps = 0;
    int regime = 0, most = 0;
    double worst = 0;
    FILE *file = argc > 5 ? fopen(argv[5], "wb") : NULL;
    if (argc < 5) {
        return 2;
    }
    while (regime < REGIMES && strcmp(regimes[regime].name, argv[1]) != 0) {
        regime++;
    }
    if (regime == REGIMES) {
        return 2;
    }
    for (index = atol(argv[2]); index < atol(argv[2]) + atol(argv[3]); index++) {
        scpo_projection x;
        scpo_status status;
        int newton;
        int bad;
        double loss;
        draw(regime, (uint64_t)index);
        x = problem();
        work.size = 0;
        work.budget = SCPO_MAX_NEWTON;
        status = scpo_project(&x, delta);
        newton = SCPO_MAX_NEWTON - (work.budget > 0 ? work.budget : 0);
        most = newton > most ? newton : most;
        steps += newton;
        capped += status != SCPO_OK;
        bad = !feasible(&x);
        infeasible += bad;
        loss = gap(&x);
        loose += loss > atof(argv[4]);
        worst = loss > worst ? loss : worst;
        if (file != NULL && (status != SCPO_OK || bad || loss > atof(argv[4]))) {
            keep(file, &x);
        }
    }
    printf("%ld %ld %ld %.3g %d %.3f\n", capped, infeasible, loose, worst, most, (double)steps / (double)atol(argv[3]));
    return file != NULL ? fclose(file) : 0;
}
