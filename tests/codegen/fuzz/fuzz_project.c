/* libFuzzer target of the projection: any bytes are a problem, and what scpo.h promises must hold.
 *
 * The first bytes choose sizes and whether signs are made valid (otherwise nearly every input would be refused at the
 * door); all others are raw numbers, NaN, infinity and denormals included. Build with clang -fsanitize=fuzzer, the
 * runtime's sources and a scpo_config.h for float or double. SPDX-License-Identifier: MIT
 */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scpo.h"

enum { MAX_COUNT = 12, NUMBERS = 1 + SCPO_MAX_DIM + MAX_COUNT * (SCPO_MAX_DIM + 3) };

static void require(int holds, const char *what)
{
    if (!holds) {
        (void)fprintf(stderr, "broken promise: %s\n", what);
        abort();
    }
}

static scpo_real norm_of(int dim, const scpo_real *x)
{
    scpo_real largest = 0;
    scpo_real sum = 0;
    int j;
    for (j = 0; j < dim; j++) {
        largest = (scpo_real)fmax(largest, fabs(x[j]));
    }
    for (j = 0; j < dim && largest > 0; j++) {
        sum += (x[j] / largest) * (x[j] / largest);
    }
    return largest * (scpo_real)sqrt(sum);
}

/* (E4) as anyone would write it down, in scpo_real. */
static int feasible(const scpo_projection *problem, const scpo_real *delta)
{
    const scpo_real norm = norm_of(problem->dim, delta);
    int i;
    int j;
    for (i = 0; i < problem->count; i++) {
        scpo_real sum = problem->c[i];
        for (j = 0; j < problem->dim; j++) {
            sum += problem->G[i * problem->dim + j] * delta[j];
        }
        sum += problem->e[i] * norm;
        sum += problem->L[i] / 2 * norm * norm;
        if (!(sum <= 0)) {
            return 0;
        }
    }
    return norm <= problem->r;
}

static int all_finite(size_t count, const scpo_real *x)
{
    while (count-- > 0) {
        if (!isfinite(x[count])) {
            return 0;
        }
    }
    return 1;
}

/* The status that scpo.h asks for where nothing can be solved, else SCPO_OK. */
static scpo_status expected(const scpo_projection *problem, size_t numbers)
{
    scpo_status status = SCPO_OK;
    int i;
    if (!all_finite(numbers, problem->u) || !isfinite(problem->r) || !(problem->r > 0)) {
        return SCPO_BAD_PROBLEM;
    }
    for (i = 0; i < problem->count; i++) {
        if (problem->e[i] < 0 || problem->L[i] < 0) {
            return SCPO_BAD_PROBLEM;
        }
        if (problem->c[i] > 0) {
            status = SCPO_UNSAFE_START;
        }
    }
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static scpo_workspace work;
    scpo_real x[NUMBERS] = {0};
    scpo_real delta[SCPO_MAX_DIM];
    if (size < 3) {
        return 0;
    }
    const int dim = 1 + data[0] % SCPO_MAX_DIM;
    const int count = data[1] % (MAX_COUNT + 1);
    const int valid_signs = data[2] & 1;
    const size_t rows = (size_t)count;
    const size_t numbers = (size_t)dim + rows * ((size_t)dim + 3);
    size -= 3;
    memcpy(x, data + 3, size < sizeof x ? size : sizeof x);
    scpo_real *const c = x + 1 + dim;
    if (valid_signs) {
        x[0] = (scpo_real)fabs(x[0]);
        for (size_t i = 0; i < rows; i++) {
            c[i] = -(scpo_real)fabs(c[i]);
            c[rows + i] = (scpo_real)fabs(c[rows + i]);
            c[2 * rows + i] = (scpo_real)fabs(c[2 * rows + i]);
        }
    }
    const scpo_projection problem = {dim, count, x + 1, c, c + 3 * rows, c + rows, c + 2 * rows, x[0], &work};
    memset(&work, 0xff, sizeof work);
    memset(delta, 0xff, sizeof delta);
    const scpo_status status = scpo_project(&problem, delta);
    const scpo_status refused = expected(&problem, numbers);
    require(all_finite((size_t)dim, delta), "delta is finite");
    if (refused == SCPO_OK) {
        require(status == SCPO_OK || status == SCPO_CAPPED, "a valid problem is solved");
        require(feasible(&problem, delta), "delta is feasible");
    } else {
        require(status == refused, "the status says what is wrong");
        require(norm_of(dim, delta) == 0, "delta = 0 where there is no answer");
    }
    return 0;
}
