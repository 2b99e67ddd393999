/* Geometries that a store refuses, and flash that fails or changes where power cuts seldom meet it.
 * SPDX-License-Identifier: MIT
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "scpo_store.h"

enum { SECTORS = 2, SIZE = 512 };

static unsigned char bytes[SECTORS * SIZE];
static int programs, fails_at, reads, read_fails_at, flips_at, wrong;

static int read(void *user, uint32_t address, unsigned char *data, uint32_t size)
{
    (void)user;
    memcpy(data, bytes + address, size);
    return ++reads == read_fails_at;
}

static int program(void *user, uint32_t address, const unsigned char *data, uint32_t size)
{
    (void)user;
    memcpy(bytes + address, data, size);
    programs++;
    if (programs == flips_at) {
        bytes[address] ^= 1U;
    }
    return programs == fails_at;
}

static int erase(void *user, uint32_t address, uint32_t size)
{
    (void)user;
    memset(bytes + address, 0xff, size);
    return 0;
}

static void check(int holds, int line)
{
    if (!holds) {
        printf("line %d\n", line);
        wrong++;
    }
}

static const scpo_flash right = {SECTORS, SIZE, 8, 0xff, read, program, erase, NULL};

static void geometries(void)
{
    static const uint32_t sizes[][3] = {{1, SIZE, 8},   {2, SIZE, 0},  {2, SIZE, 64}, {2, SIZE, 12}, {2, 4, 8},
                                        {2, SIZE + 1, 8}, {0x10000000U, 0x100000U, 8}, {2, 64, 8}, {2, 128, 8}};
    scpo_store store;
    scpo_flash flash;
    size_t k;
    for (k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        flash = right;
        flash.sectors = sizes[k][0];
        flash.sector_size = sizes[k][1];
        flash.program_unit = sizes[k][2];
        check(scpo_store_begin(&store, &flash) == SCPO_STORE_GEOMETRY, __LINE__);
    }
    for (k = 0; k < 5; k++) {
        flash = right;
        flash.erased = k == 0 ? -2 : (k == 1 ? 256 : 0xff);
        flash.read = k == 2 ? NULL : read;
        flash.program = k == 3 ? NULL : program;
        flash.erase = k == 4 ? NULL : erase;
        check(scpo_store_begin(&store, &flash) == SCPO_STORE_GEOMETRY, __LINE__);
    }
}

/* One failure, at every program, read, or as a bit that flips, while records are saved over several boots: what was saved
 * is there, or an answer said that it was not. */
static void failures(int kind, int at)
{
    scpo_store store;
    scpo_real theta[SCPO_NTHETA], loaded[SCPO_NTHETA];
    int boot, k, saved = 0;
    memset(bytes, 0xff, sizeof bytes);
    programs = reads = 0;
    fails_at = kind == 0 ? at : 0;
    read_fails_at = kind == 1 ? at : 0;
    flips_at = kind == 2 ? at : 0;
    for (boot = 1; boot < 20; boot++) { /* some without a save, so that the record moves */
        check(scpo_store_begin(&store, &right) == SCPO_STORE_OK, __LINE__);
        for (k = 0; k < 3; k++) {
            (void)scpo_store_prepare(&store, 1);
        }
        for (k = 0; k < SCPO_NTHETA; k++) {
            theta[k] = (scpo_real)boot;
        }
        saved = boot < 6 && scpo_store_save(&store, theta) == SCPO_STORE_OK ? boot : saved;
        theta[0] = (scpo_real)NAN;
        check(scpo_store_save(&store, theta) == SCPO_STORE_BAD_THETA, __LINE__);
    }
    if (kind != 1 || reads > at) {
        check(scpo_store_load(&store, loaded) == (saved ? SCPO_STORE_OK : SCPO_STORE_EMPTY), __LINE__);
        check(loaded[0] >= (scpo_real)saved, __LINE__);
    }
}

/* Blobs whose numbers are none. */
static void numbers(void)
{
    scpo_real theta[SCPO_NTHETA] = {(scpo_real)NAN}, read_back[SCPO_NTHETA] = {0};
    unsigned char blob[SCPO_BLOB_SIZE];
    uint32_t sequence;
    scpo_blob_write(theta, 1, blob);
    check(scpo_blob_read(blob, sizeof blob, NULL, NULL, read_back, &sequence) == SCPO_STORE_BAD_THETA, __LINE__);
}

int main(void)
{
    int kind, at;
    geometries();
    numbers();
    for (kind = 0; kind < 3; kind++) {
        for (at = 1; at < 200; at++) {
            failures(kind, at);
        }
    }
    printf("wrong %d\n", wrong);
    return wrong != 0;
}
