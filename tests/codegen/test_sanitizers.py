"""The C that only Python calls, under AddressSanitizer and UBSan: projection, kernels of a step, adjoints."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import projection_cases as pc
import pytest
from loops import EXPRESSIONS, linear_case, pendulum_case, scalar_case

from scpo_ctrl.engine.library import header_of

ROOT = Path(__file__).parents[2]
RUNTIME, HOST = ROOT / "codegen" / "runtime", ROOT / "scpo_ctrl" / "projection" / "host"
ENGINE, ADAPTATION = ROOT / "scpo_ctrl" / "engine" / "c", ROOT / "scpo_ctrl" / "adaptation" / "c"
SANITIZE = ("-g1", "-O0", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
SIZES = ((3, 1), (2, 64), (9, 65), (1, 129), (17, 200))

pytestmark = pytest.mark.skipif(not shutil.which("gcc"), reason="gcc is not installed")


def sanitized(folder: Path, main: str, flags: list[str], sources: list[Path], *arguments: Path) -> None:
    """Compile a program in which every array has its own piece of memory, and run it."""
    (folder / "main.c").write_text(main)
    command = ["gcc", *SANITIZE, *flags, folder / "main.c", *sources, "-o", folder / "main", "-lm"]
    subprocess.run([str(x) for x in command], check=True)
    subprocess.run([str(x) for x in (folder / "main", *arguments)], check=True)


def test_the_projection_on_few_of_many_rows(tmp_path):
    data = []
    for name in pc.REGIMES:
        for case in pc.cases(name, 12, SIZES, seed=51):
            sizes = np.array([len(case.u), len(case.c)], dtype=np.int32)
            data += [sizes.tobytes(), np.asarray(case.r).tobytes(), *(x.tobytes() for x in case[:5])]
    (tmp_path / "cases.bin").write_bytes(b"".join(data))
    sources = [*sorted((RUNTIME / "src").glob("scpo_[dp]*.c")), HOST / "scpo_host.c"]
    includes = [f"-I{folder}" for folder in (HOST, RUNTIME / "include", RUNTIME / "src")]
    sanitized(tmp_path, PROJECTION, ["-std=c99", *includes], sources, tmp_path / "cases.bin")


def test_the_kernels_of_a_step(tmp_path):
    sanitized(
        tmp_path,
        KERNELS,
        ["-std=gnu99", "-Wno-psabi", f"-I{ENGINE}"],
        [ADAPTATION / "passes.c", ADAPTATION / "root.c"],
    )


_SOME = ("expressions, signals", "expressions, two inputs")


@pytest.mark.table(5)
@pytest.mark.parametrize(
    "case",
    [linear_case((5, 3)), pendulum_case(), scalar_case(), *(EXPRESSIONS[name] for name in _SOME)],
    ids=["R3", "pendulum", "scalar", *_SOME],
)
def test_rollouts_and_their_derivatives(tmp_path, case):
    (tmp_path / "model.h").write_text(header_of(case.loop))
    sanitized(
        tmp_path,
        ADJOINTS,
        ["-std=gnu99", "-Wno-psabi", "-pthread", f"-I{tmp_path}", f"-I{ENGINE}"],
        [ENGINE / f"{name}.c" for name in ("evaluate", "adjoint", "jacobian", "gauss_newton")],
    )


PROJECTION = r"""
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "scpo_host.h"

static double *take(FILE *file, size_t count)
{
    double *x = malloc(count * sizeof *x);
    if (fread(x, sizeof *x, count, file) != count) {
        exit(2);
    }
    return x;
}

int main(int argc, char **argv)
{
    FILE *file = fopen(argv[argc - 1], "rb");
    scpo_workspace *work = malloc(sizeof *work);
    const double odd[] = {NAN, INFINITY, 1e300, 5e-324};
    int size[2], kind, info[3], i, j;
    while (fread(size, sizeof size, 1, file) == 1) {
        size_t p = (size_t)size[0], m = (size_t)size[1];
        double *r = take(file, 1), *u = take(file, p), *c = take(file, m), *G = take(file, m * p);
        double *e = take(file, m), *L = take(file, m), *norms = malloc(m * sizeof *norms);
        for (kind = 0; kind < 12; kind++) { /* guesses: none, one, all, all twice; the last times with a broken row */
            int guesses = kind % 4 < 2 ? kind % 4 : (kind % 4 - 1) * size[1];
            long long *guess = malloc((size_t)guesses * sizeof *guess);
            double *delta = malloc(p * sizeof *delta);
            int *active = malloc(SCPO_SLOTS * sizeof *active);
            G[m * p - 1] = kind < 8 ? G[m * p - 1] : odd[kind - 8];
            for (i = 0; i < guesses; i++) {
                guess[i] = i % size[1];
            }
            for (i = 0; i < size[1]; i++) {
                double sum = 0;
                for (j = 0; j < size[0]; j++) {
                    sum += G[i * size[0] + j] * G[i * size[0] + j];
                }
                norms[i] = sqrt(sum);
            }
            scpo_host_project(size[0], size[1], u, c, G, e, L, *r, kind % 2 ? norms : NULL, guess, guesses, work, delta,
                              active, info);
            for (i = 0; i < info[0]; i++) {
                if (active[i] < 0 || active[i] >= size[1]) {
                    exit(3);
                }
            }
            free(guess), free(delta), free(active);
        }
        free(r), free(u), free(c), free(G), free(e), free(L), free(norms);
    }
    free(work);
    return fclose(file);
}
"""

KERNELS = r"""
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

double kernel_log_slacks(const double *g, long count, double least, double most);
long kernel_within_reach(const double *g, const double *squares, const double *L, const unsigned char *varies,
                         long count, double reach, double bend, double error, int64_t *rows);
int kernel_inverse_root(long n, const double *H, double damping, double *root);

static double *drawn(long count, int kind)
{
    static const double odd[] = {NAN, INFINITY, -INFINITY, 5e-324, 1.7e308};
    double *x = malloc((size_t)count * sizeof *x);
    long i;
    for (i = 0; i < count; i++) {
        x[i] = kind == 6 ? 0.0 : kind < 5 && i % 5 == kind ? odd[kind] : (double)rand() / RAND_MAX - 0.9;
    }
    return x;
}

int main(void)
{
    const long counts[] = {0, 1, 7, 8, 9, 63, 64, 65, 130}, rows[] = {0, 1, 2, 7, 8, 9, 17, 63, 64, 65};
    int kind;
    size_t k;
    for (kind = 0; kind < 7; kind++) {
        for (k = 0; k < sizeof counts / sizeof *counts; k++) {
            const long count = counts[k];
            double *g = drawn(count, kind), *squares = drawn(count, kind), *L = drawn(count, kind);
            unsigned char *varies = calloc((size_t)count, 1);
            int64_t *found = malloc((size_t)count * sizeof *found);
            kernel_log_slacks(g, count, 1e-9, 1e30);
            if (kernel_within_reach(g, squares, L, varies, count, 0.3, 0.2, 1e-9, found) > 0) {
                return 3;
            }
            free(g), free(squares), free(L), free(varies), free(found);
        }
        for (k = 0; k < sizeof rows / sizeof *rows; k++) {
            const long n = rows[k];
            double *H = drawn(n * n, kind), *root = malloc((size_t)(n * n) * sizeof *root);
            kernel_inverse_root(n, H, 1e-9, root);
            free(H), free(root);
        }
    }
    return 0;
}
"""

ADJOINTS = r"""
#include <stdlib.h>
#include "engine.h"

long engine_gradient_size(const engine_batch *batch);
void engine_gradient(const engine_batch *batch, long count, const double *theta, const double *multipliers,
                     const double *curvatures, lane *terms, long saturated, long groups, double *cost,
                     double *gradient, long threads, lane *work);
long engine_scenario_gradients_size(const engine_batch *batch);
void engine_scenario_gradients(const engine_batch *batch, const double *theta, const double *multipliers,
                               long saturated, double *x0_gradient, double *p_gradient, double *signals_gradient,
                               double *w_gradient, double *rest_gradient, long threads, lane *work);

long engine_evaluate_size(void);
void engine_evaluate(const engine_batch *batch, long count, const double *theta, long saturated, double *metrics,
                     double *cost, long threads, lane *work);
long engine_jacobian_size(long directions);
void engine_jacobian(const engine_batch *batch, const double *theta, long directions, const double *D, long saturated,
                     double *jacobian, long threads, lane *work);
long engine_gauss_newton_size(void);
void engine_gauss_newton(const engine_batch *batch, const double *theta, long groups, double *cost, double *gradient,
                         double *H, long threads, lane *work);

static void *kept[48]; /* NULL where the caller has no array either */
static int keeping;

static double *numbers(long count)
{
    double *x = count ? malloc((size_t)count * sizeof *x) : NULL;
    long i;
    for (i = 0; i < count; i++) {
        x[i] = 0.1 + 0.01 * (double)(i % 7);
    }
    kept[keeping++] = x;
    return x;
}

static lane *lanes(long count)
{
    return kept[keeping++] = aligned_alloc(sizeof(lane), (size_t)count * sizeof(lane));
}

static void try(long scenarios, long horizon, long kinds, long disturbed, long saturated)
{
    engine_batch batch = {.scenarios = scenarios, .horizon = horizon, .path = kinds & 1, .command = kinds >> 1 & 1,
                          .terminal = kinds >> 2 & 1, .contraction = kinds >> 3 & 1, .rho = 2.0, .gamma = 0.5,
                          .floor = disturbed ? 1.0 : 0.0};
    const long threads = 1 + saturated, groups = 1, count = 2, w = disturbed ? scenarios * horizon * NX : 0;
    const long rests = disturbed ? scenarios * NX : 0, signals = scenarios * (horizon + 1) * SIGNALS;
    double *theta = numbers(count * NTHETA), *multipliers, *curvatures;
    double *cost = numbers(count * scenarios), *gradient = numbers(count * groups * NTHETA);
    lane *terms;
    batch.rows = batch.terminal + batch.contraction +
                 batch.path * ((horizon + 1) * STATE_ROWS + batch.command * horizon * COMMAND_ROWS);
#ifdef CONSTRAINTS
    batch.rows += step_start(&batch, horizon) - step_start(&batch, 0) + END_ROWS;
#endif
    batch.x0 = numbers(scenarios * NX), batch.p = numbers(scenarios * NP), batch.w = numbers(w);
    batch.signals = numbers(signals), batch.x_rest = numbers(rests);
    batch.x_eq = numbers(NX), batch.u_eq = numbers(NU), batch.factor = numbers(NX);
    batch.x_min = numbers(NX), batch.x_max = numbers(NX), batch.u_min = numbers(NU), batch.u_max = numbers(NU);
    batch.K = numbers(NU * NX), batch.P = numbers(NX * NX), batch.Q = numbers(NX), batch.R = numbers(NU);
    multipliers = numbers(scenarios * batch.rows), curvatures = numbers(scenarios * batch.rows);
    terms = lanes(2 * block_count(&batch) * batch.rows);
    engine_gradient(&batch, count, theta, multipliers, curvatures, terms, saturated, groups, cost, gradient, threads,
                    lanes(threads * engine_gradient_size(&batch)));
    engine_scenario_gradients(&batch, theta, multipliers, saturated, numbers(scenarios * NX), numbers(scenarios * NP),
                              numbers(signals), numbers(w), numbers(rests), threads,
                              lanes(threads * engine_scenario_gradients_size(&batch)));
    engine_evaluate(&batch, count, theta, saturated, numbers(count * scenarios * batch.rows), cost, threads,
                    lanes(threads * engine_evaluate_size()));
    engine_jacobian(&batch, theta, 3, numbers(3 * NTHETA), saturated, numbers(3 * scenarios * batch.rows), threads,
                    lanes(threads * engine_jacobian_size(3)));
    engine_jacobian(&batch, theta, NTHETA, NULL, saturated, numbers(NTHETA * scenarios * batch.rows), threads,
                    lanes(threads * engine_jacobian_size(NTHETA)));
    engine_gauss_newton(&batch, theta, groups, cost, numbers(NTHETA), numbers(NTHETA * NTHETA), 1,
                        lanes(engine_gauss_newton_size()));
    while (keeping) {
        free(kept[--keeping]);
    }
}

int main(void)
{
    static const long counts[] = {1, 8, 21};
    long k;
    for (k = 0; k < 3 * 2 * 16 * 2 * 2; k++) {
        if ((k / 6 % 16) & 13) { /* some metric is switched on */
            try(counts[k % 3], k / 3 % 2 ? 5 : 1, k / 6 % 16, k / 96 % 2, k / 192);
        }
    }
    return 0;
}
"""
