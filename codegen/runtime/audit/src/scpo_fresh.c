/* Points of the declared set by their numbers: what a point is depends on its number and the seed alone, so that a
 * counterexample is kept as four bytes. Sums and products are of few operations in a fixed order, so that another
 * implementation can give the same bits. SPDX-License-Identifier: MIT
 */
#include "scpo_fresh.h"
#include "scpo_rollout.h"

#define SCPO_WORDS 6 /* of a coordinate's direction: twelve halves, that make a normal number of their sum */
#define SCPO_OF_DIRECTION (1 + SCPO_NX)
#define SCPO_OF_PARAMETERS (SCPO_OF_DIRECTION + SCPO_WORDS * SCPO_NX)
#define SCPO_OF_DISTURBANCES (SCPO_OF_PARAMETERS + SCPO_NPARAMETERS)
#define SCPO_OF_SWITCH (SCPO_OF_DISTURBANCES + SCPO_NX)

/* Word `place` of a point: Philox 2x32 with ten rounds (J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2,
 * 3", SC 2011), of which every block is two words. */
static uint32_t scpo_random_word(const scpo_adapter *adapter, uint32_t number, int place)
{
    uint32_t left = (uint32_t)place >> 1;
    uint32_t right = number;
    uint32_t key = adapter->audit.seed;
    int round;
    for (round = 0; round < 10; round++) {
        const uint64_t product = (uint64_t)0xD256D193U * left;
        left = (uint32_t)(product >> 32) ^ key ^ right;
        right = (uint32_t)product;
        key += 0x9E3779B9U;
    }
    return ((uint32_t)place & 1U) ? right : left;
}

/* A number in (0, 1), of 23 bits, which float holds too. */
static scpo_real scpo_unit(const scpo_adapter *adapter, uint32_t number, int place)
{
    return (SCPO_R(scpo_random_word(adapter, number, place) >> 9) + SCPO_R(0.5)) / SCPO_R(8388608.0);
}

/* What kind of edge a point is: bits that no number of scpo_unit has. */
static uint32_t scpo_edge_kind(const scpo_adapter *adapter, uint32_t number)
{
    return scpo_random_word(adapter, number, 1) & 511U;
}

/* -1 or 1. */
static scpo_real scpo_end(const scpo_adapter *adapter, uint32_t number, int place)
{
    return (scpo_random_word(adapter, number, place) >> 31) ? SCPO_R(1.0) : SCPO_R(-1.0);
}

/* How far from the centre, in parts of the set: uniform in a ball's volume, as the largest of SCPO_NX numbers is. Of
 * the edges three of four are at its end, the others on levels down to nothing. */
static scpo_real scpo_distance(const scpo_adapter *adapter, uint32_t number)
{
    scpo_real largest = 0;
    int i;
    if ((number & 1U) && (number >> 1) % 4U != 3U) {
        return 1;
    }
    for (i = 0; i < SCPO_NX; i++) {
        const scpo_real drawn = scpo_unit(adapter, number, 1 + i);
        largest = drawn > largest ? drawn : largest;
    }
    return (number & 1U) ? largest * largest * largest : largest;
}

#if SCPO_SET_BOX
/* z = a point of [-1, 1]^SCPO_NX; of the edges one coordinate is at its end. */
static void scpo_offset(const scpo_adapter *adapter, uint32_t number, scpo_real *z)
{
    const scpo_real size = (number & 1U) ? scpo_distance(adapter, number) : 1;
    int face = SCPO_NX; /* none */
    int i;
    if (number & 1U) {
        face = (int)(scpo_random_word(adapter, number, 0) % (uint32_t)SCPO_NX);
    }
    for (i = 0; i < SCPO_NX; i++) {
        z[i] = size * (i == face ? scpo_end(adapter, number, SCPO_OF_DIRECTION + i)
                                 : 2 * scpo_unit(adapter, number, SCPO_OF_DIRECTION + i) - 1);
    }
}
#else
/* A normal number of what is random in a coordinate, by a polynomial of the sum (D. Teichroew's, in D. E. Knuth, "The Art
 * of Computer Programming", vol. 2, 3.4.1): without it directions along the axes would be too few. */
static scpo_real scpo_normal(const scpo_adapter *adapter, uint32_t number, int i)
{
    uint32_t sum = 0;
    scpo_real r;
    scpo_real square;
    int k;
    for (k = 0; k < SCPO_WORDS; k++) {
        const uint32_t word = scpo_random_word(adapter, number, SCPO_OF_DIRECTION + SCPO_WORDS * i + k);
        sum += (word >> 16) + (word & 0xFFFFU);
    }
    r = (SCPO_R(sum) - SCPO_R(393210.0)) / SCPO_R(262144.0); /* less its mean */
    square = r * r;
    return ((((SCPO_R(0.029899776) * square + SCPO_R(0.008355968)) * square + SCPO_R(0.076542912)) * square +
             SCPO_R(0.252408784)) * square + SCPO_R(3.949846138)) * r;
}

/* z = a point of the unit ball. */
static void scpo_offset(const scpo_adapter *adapter, uint32_t number, scpo_real *z)
{
    scpo_real length;
    int i;
    for (i = 0; i < SCPO_NX; i++) {
        z[i] = scpo_normal(adapter, number, i);
    }
    length = SCPO_SQRT(scpo_inner(SCPO_NX, z, z));
    length = scpo_distance(adapter, number) / (length > 0 ? length : 1);
    for (i = 0; i < SCPO_NX; i++) {
        z[i] *= length;
    }
}
#endif

/* The initial state, and the plant parameters in parts of their ranges. */
static void scpo_fresh_point(const scpo_adapter *adapter, uint32_t number, scpo_real *x, scpo_real *p)
{
    const uint32_t centre = scpo_random_word(adapter, number, 0) % (uint32_t)SCPO_SET_CENTRES;
    const int at_corner = (number & 1U) && (scpo_edge_kind(adapter, number) & 1U);
    scpo_real z[SCPO_NX];
    int i;
    scpo_offset(adapter, number, z);
    for (i = 0; i < SCPO_NX; i++) {
        const scpo_real at = scpo_set_centres[centre][i] + scpo_inner(SCPO_NX, scpo_set_shape[i], z);
        x[i] = at < scpo_set_low[i] ? scpo_set_low[i] : (at > scpo_set_high[i] ? scpo_set_high[i] : at);
    }
    for (i = 0; i < SCPO_NPARAMETERS; i++) { /* of the edges half are at a corner */
        const int place = SCPO_OF_PARAMETERS + i;
        p[i] = at_corner ? (scpo_end(adapter, number, place) + 1) / 2 : scpo_unit(adapter, number, place);
    }
}

void scpo_begin_fresh(const scpo_adapter *adapter, int rollout, scpo_trajectory *run)
{
    scpo_real half[SCPO_NX];
    scpo_real limit;
    int i;
    run->number = rollout < SCPO_NALL ? adapter->audit.guard[rollout - SCPO_NROLLOUTS] : adapter->audit.number;
    scpo_fresh_point(adapter, run->number, run->x, run->p);
    for (i = 0; i < SCPO_NPARAMETERS; i++) {
        run->p[i] = scpo_p_min[i] + run->p[i] * (scpo_p_max[i] - scpo_p_min[i]);
    }
    limit = SCPO_CONTRACTION_RATE * scpo_level(run->x, scpo_rests[0], half);
    limit = limit > SCPO_CONTRACTION_FLOOR ? limit : SCPO_CONTRACTION_FLOOR;
    run->limit = limit > 0 ? limit : 1; /* at rest V stays zero */
}

#if SCPO_SET_DISTURBED
/* The part of a disturbance that varies, in (-1, 1): of the edges it is constant, alternates, switches once, or is at
 * either end at random. */
static scpo_real scpo_varying(const scpo_adapter *adapter, uint32_t number, int t, int i, scpo_real constant)
{
    const int place = SCPO_OF_DISTURBANCES + SCPO_NX * (1 + t) + i;
    if (!(number & 1U)) {
        return 2 * scpo_unit(adapter, number, place) - 1;
    }
    switch ((scpo_edge_kind(adapter, number) >> 1) & 3U) {
    case 0:
        return constant;
    case 1:
        return (t & 1) ? -constant : constant;
    case 2:
        return (scpo_real)t < scpo_unit(adapter, number, SCPO_OF_SWITCH) * SCPO_HORIZON ? constant : -constant;
    default:
        return scpo_end(adapter, number, place);
    }
}

void scpo_fresh_disturb(const scpo_adapter *adapter, uint32_t number, int t, scpo_real *next)
{
    int i;
    for (i = 0; i < SCPO_NX; i++) {
        const int place = SCPO_OF_DISTURBANCES + i;
        const scpo_real constant = (number & 1U) ? scpo_end(adapter, number, place)
                                                 : 2 * scpo_unit(adapter, number, place) - 1;
        const scpo_real varying = scpo_varying(adapter, number, t, i, constant);
        next[i] += (SCPO_SET_FIXED * constant + (1 - SCPO_SET_FIXED) * varying) * scpo_set_half[i];
    }
}
#endif
