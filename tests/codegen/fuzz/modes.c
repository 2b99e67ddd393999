/* The projection where the processor rounds in another direction, or flushes what is small to zero.
 *
 *     modes SEED COUNT
 *
 * Prints for each mode how many random problems were solved, were refused, and were answered by what breaks (E4) or the
 * radius, evaluated forwards in the same mode and backwards in the usual one. Lengths and gradients reach down to where
 * squares and products are no normal numbers.
 * SPDX-License-Identifier: MIT
 */
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scpo.h"

enum { MOST = 6 };
enum { NEAREST, FLUSHING, UPWARD, DOWNWARD, TOWARDS_ZERO, MODES };

static uint64_t state;

/* Between -1 and 1, made of integers so that modes do not matter. */
static scpo_real draw(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (scpo_real)((int32_t)(state >> 32) >> 8) / (scpo_real)(1 << 23);
}

#if defined(__x86_64__)
#include <immintrin.h>
static void enter(int mode)
{
    static const unsigned bits[MODES] = {0x1f80U, 0x9fc0U, 0x5f80U, 0x3f80U, 0x7f80U};
    _mm_setcsr(bits[mode]);
}
#elif defined(__arm__) && defined(__ARM_FP)
static void enter(int mode)
{
    static const unsigned bits[MODES] = {0U, 1U << 24, 1U << 22, 2U << 22, 3U << 22};
    __asm__ volatile("vmsr fpscr, %0" : : "r"(bits[mode]) : "memory");
}
#endif

static scpo_real ten(scpo_real power)
{
    return (scpo_real)pow(10.0, (double)power);
}

/* (E4) in the order of scpo.h, or from the last product to the first. */
static int feasible(const scpo_projection *problem, const scpo_real *delta, int backwards)
{
    scpo_real square = 0, largest = 0, norm;
    int i, j;
    for (j = 0; j < problem->dim; j++) {
        largest = (scpo_real)fmax((double)largest, fabs((double)delta[j]));
    }
    for (j = 0; j < problem->dim && largest > 0; j++) { /* squares of the whole would underflow */
        const scpo_real part = delta[backwards ? problem->dim - 1 - j : j] / largest;
        square += part * part;
    }
    norm = largest * (scpo_real)sqrt((double)square);
    for (i = 0; i < problem->count; i++) {
        scpo_real slope = 0;
        for (j = 0; j < problem->dim; j++) {
            const int at = backwards ? problem->dim - 1 - j : j;
            slope += problem->G[i * problem->dim + at] * delta[at];
        }
        if (!(problem->c[i] + (slope + problem->e[i] * norm) + problem->L[i] / 2 * norm * norm <= 0)) {
            return 0;
        }
    }
    return norm <= problem->r;
}

static void run(int mode, long count)
{
    static scpo_workspace work;
    scpo_real u[MOST], c[MOST], G[MOST * MOST], e[MOST], L[MOST], delta[MOST];
    scpo_projection problem = {0, 0, u, c, G, e, L, 1, &work};
    const scpo_real least = SCPO_REAL_IS_DOUBLE ? -160 : -20;
    long solved = 0, refused = 0, broken = 0, moved = 0;
    while (count-- > 0) {
        const scpo_real size = ten(least + 3 * draw()), steep = ten((draw() < 0 ? least : 0) + 2 * draw());
        int i, any = 0;
        enter(NEAREST);
        problem.dim = 1 + (int)((draw() + 1) * (MOST - 1) / 2);
        problem.count = 1 + (int)((draw() + 1) * (MOST - 1) / 2);
        problem.r = size * ten(draw());
        for (i = 0; i < problem.dim; i++) {
            u[i] = size * draw();
        }
        for (i = 0; i < problem.count * problem.dim; i++) {
            G[i] = steep * draw();
        }
        for (i = 0; i < problem.count; i++) {
            c[i] = draw() < -1 + (scpo_real)0.5 ? 0 : -steep * size * ten(-1 + draw());
            e[i] = draw() < 0 ? 0 : steep * (scpo_real)fabs((double)draw()) / 10;
            L[i] = draw() < 0 ? 0 : steep / size * (scpo_real)fabs((double)draw());
        }
        enter(mode);
        {
            const scpo_status status = scpo_project(&problem, delta);
            solved += status == SCPO_OK || status == SCPO_CAPPED;
            refused += status == SCPO_BAD_MODE;
            const int is_feasible = feasible(&problem, delta, 0);
            enter(NEAREST);
            broken += !is_feasible || !feasible(&problem, delta, 1);
            for (i = 0; i < problem.dim; i++) {
                any |= delta[i] != 0;
            }
            moved += any;
        }
    }
    printf("mode %d solved %ld refused %ld moved %ld broken %ld\n", mode, solved, refused, moved, broken);
}

#ifndef COUNT
#define COUNT atol(words[2])
#define SEED strtoull(words[1], NULL, 10)
#endif

int main(int number, char **words)
{
    int mode;
    (void)number;
    (void)words;
    for (mode = NEAREST; mode < MODES; mode++) {
        state = 88172645463325252ULL + SEED;
        run(mode, COUNT);
    }
    return 0;
}
