/* Saves, cuts the power, looks at what is left, and goes on: at random, or in every possible way.
 *
 *     power_cuts random SEED BOOTS         sessions over many geometries, most of them cut off
 *     power_cuts failing SEED BOOTS        besides, of two sectors units that now and then do not program; of more, a
 *                                          sector that never erases and a unit that never programs
 *     power_cuts every CUTS UNIT SECTORS RECORDS   all cuts, one in each of so many sessions in a row; records of a sector
 */
#include "flash_sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A device: its flash, and what is known of what it saved. */
typedef struct {
    sim flash;
    uint32_t saved; /* the last one that was saved for certain; 0: none */
    uint32_t begun; /* the last one that was begun */
    uint32_t first; /* sequence number to begin with */
} device;

static struct {
    long boots, cuts, saves, prepared, lost, older, wrong, refused, failed;
} count;

static device present; /* in use; a cut leaves it as it is */
static scpo_store store;
static int ahead; /* whether sectors are erased ahead in every session */

static void make_theta(uint32_t number, scpo_real *theta)
{
    int i;
    for (i = 0; i < SCPO_NTHETA; i++) {
        theta[i] = (scpo_real)number * (scpo_real)(i + 1) + (scpo_real)0.25;
    }
}

/* Loads, and compares with what may be there: what was saved last, or begun since. */
static void look(void)
{
    scpo_real theta[SCPO_NTHETA], wanted[SCPO_NTHETA];
    const scpo_store_status status = scpo_store_load(&store, theta);
    if (status == SCPO_STORE_EMPTY) {
        memset(wanted, 0, sizeof wanted);
        count.wrong += memcmp(theta, wanted, sizeof theta) != 0;
        count.lost += present.saved != 0;
    } else {
        const uint32_t number = theta[0] > 0 && theta[0] < (scpo_real)1e7 ? (uint32_t)theta[0] : 0;
        make_theta(number, wanted);
        count.wrong += memcmp(theta, wanted, sizeof theta) != 0 || number > present.begun;
        count.older += number < present.saved;
    }
}

static void boot(void)
{
    count.boots++;
    present.flash.flash.user = &present.flash;
    if (scpo_store_begin(&store, &present.flash.flash) != SCPO_STORE_OK) {
        abort();
    }
    if (store.home == SCPO_STORE_NONE) {
        store.number = present.first;
    }
    look();
}

static scpo_store_status prepare(uint32_t records)
{
    count.prepared++;
    return scpo_store_prepare(&store, records);
}

static scpo_store_status save(void)
{
    scpo_real theta[SCPO_NTHETA];
    scpo_store_status status;
    if (scpo_store_room(&store) > 0) {
        present.begun++;
    }
    make_theta(present.begun, theta);
    present.flash.saving = 1;
    status = scpo_store_save(&store, theta);
    present.flash.saving = 0;
    if (status == SCPO_STORE_OK) {
        present.saved = present.begun;
        count.saves++;
    }
    return status;
}

/* Saves once, whatever has to be prepared for it; how often something failed. */
static int save_for_certain(int patience)
{
    int failures = 0;
    while (save() != SCPO_STORE_OK && failures <= patience) {
        const scpo_store_status status = prepare(1);
        failures += status == SCPO_STORE_FAILED || (status == SCPO_STORE_OK && scpo_store_room(&store) == 0);
    }
    return failures;
}

static void finish(const char *what)
{
    const long bad = count.lost + count.older + count.wrong + count.refused + present.flash.erased_in_save +
                     present.flash.programmed_twice;
    printf("%s: boots %ld cuts %ld saves %ld prepared %ld: lost %ld older %ld wrong %ld refused %ld failed %ld, "
           "erased in a save %ld, programmed twice %ld\n", what, count.boots, count.cuts, count.saves, count.prepared,
           count.lost, count.older, count.wrong, count.refused, count.failed, present.flash.erased_in_save,
           present.flash.programmed_twice);
    exit(bad != 0);
}

/* A session of random calls. */
static void session(void)
{
    sim *flash = &present.flash;
    int calls = (int)draw(flash, 8);
    boot();
    while (calls-- > 0) {
        const uint32_t what = draw(flash, 10);
        if (what == 0) {
            look();
        } else if (what < 3) {
            const scpo_store_status status = prepare(1 + draw(flash, 4));
            count.failed += status == SCPO_STORE_FAILED;
            count.refused += status == SCPO_STORE_OK && scpo_store_room(&store) == 0;
        } else if (what < 5) {
            count.failed += save() == SCPO_STORE_FAILED;
        } else {
            count.failed += save_for_certain(10);
        }
    }
}

/* The size of a sector with so many records. */
static uint32_t sector_of(uint32_t unit, uint32_t records)
{
    const uint32_t numbers = ((uint32_t)sizeof(scpo_real) * SCPO_NTHETA + unit - 1) / unit * unit;
    return 12 * (unit > 8 ? unit : 8) + records * (32 + numbers);
}

static void at_random(uint64_t seed, long boots, int failing)
{
    static const int blank[] = {0xff, 0x00, 0xff, -1};
    sim chance;
    memset(&chance, 0, sizeof chance);
    chance.random = seed;
    while (count.boots < boots) {
        const uint32_t unit = 1u << draw(&chance, 6), sectors = 2 + draw(&chance, 3);
        const uint32_t size = sector_of(unit, 1 + draw(&chance, 4)) + unit * draw(&chance, 2);
        const long twice = present.flash.programmed_twice, erased = present.flash.erased_in_save;
        int sessions = 40;
        sim_make(&present.flash, sectors, size, unit, blank[draw(&chance, 4)], chance.random);
        present.flash.programmed_twice = twice;
        present.flash.erased_in_save = erased;
        present.saved = present.begun = 0;
        present.first = draw(&chance, 2) ? 0 : UINT32_MAX - draw(&chance, 200); /* soon to wrap around */
        if (failing && sectors > 2) {
            present.flash.bad_sector = (int)draw(&chance, sectors);
            present.flash.bad_silent = present.flash.flash.erased >= 0 && draw(&chance, 2) == 0;
            present.flash.bad_unit = (long)draw(&chance, size / unit) + present.flash.bad_sector * (long)(size / unit);
            present.flash.bad_sector = draw(&chance, 2) ? -1 : present.flash.bad_sector;
        }
        while (sessions-- > 0) {
            present.flash.failing = failing && sectors == 2 && draw(&chance, 4) == 0 ? 100 : 0;
            present.flash.mood = (int)draw(&chance, MOODS);
            present.flash.tear = (int)draw(&chance, TEARS);
            present.flash.countdown = draw(&chance, 5) == 0 ? -1 : (long)draw(&chance, draw(&chance, 2) ? 12 : 120);
            if (setjmp(power) == 0) {
                session();
            } else {
                count.cuts++;
            }
            present.flash.saving = 0;
        }
        present.flash.failing = 0;
        present.flash.countdown = -1;
        boot(); /* it is in order still */
        count.refused += save_for_certain(8) > 8;
        look();
    }
}

/* A session that is cut off after so many steps, or comes to its end; whether it was cut off. */
static int script(long steps, int tear, int mood)
{
    present.flash.mood = mood;
    present.flash.tear = tear;
    present.flash.countdown = steps;
    present.flash.saving = 0;
    if (setjmp(power) == 0) {
        boot();
        (void)save_for_certain(8);
        if (ahead) {
            (void)prepare(9);
        }
        (void)save_for_certain(8);
        look();
        return 0;
    }
    count.cuts++;
    return 1;
}

/* All cuts of a session, and for each of them all of the next one. */
static void every(const device *from, int cuts)
{
    int mood, tear;
    long steps;
    for (mood = 0; mood < MOODS; mood++) {
        int cut = 1;
        for (steps = 0; cut; steps++) {
            for (tear = 0; tear < TEARS && cut; tear++) {
                const long twice = present.flash.programmed_twice, erased = present.flash.erased_in_save;
                present = *from;
                present.flash.programmed_twice = twice;
                present.flash.erased_in_save = erased;
                cut = script(cuts > 0 ? steps : -1, tear, mood);
                if (cut) {
                    const device left = present;
                    every(&left, cuts - 1);
                } else {
                    count.refused += present.saved != present.begun;
                }
            }
        }
    }
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "every") != 0) {
        at_random((uint64_t)atol(argv[2]), atol(argv[3]), strcmp(argv[1], "failing") == 0);
    } else if (argc == 6) {
        const uint32_t unit = (uint32_t)atoi(argv[3]);
        device from;
        memset(&from, 0, sizeof from);
        sim_make(&from.flash, (uint32_t)atoi(argv[4]), sector_of(unit, (uint32_t)atoi(argv[5])), unit, 0xff, 1);
        every(&from, atoi(argv[2]));
        ahead = 1;
        every(&from, atoi(argv[2]));
    } else {
        return 2;
    }
    finish(argv[1]);
    return 0;
}
