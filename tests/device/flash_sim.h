/* A flash that is cut off from power: while a unit is programmed or a sector is erased, in every way that it may fail. */
#ifndef FLASH_SIM_H
#define FLASH_SIM_H

#include <setjmp.h>
#include <stdint.h>

#include "scpo_store.h"

#define MOST_BYTES 4096

/* What a unit is. Only a BLANK one may be programmed. */
enum { BLANK, DONE, TORN, UNREADABLE, FLICKERING };

/* What a cut leaves of what was under way. */
enum { NOTHING, ALL, SOME_BITS, ANY_BITS, NO_READING, FLICKERS, TEARS };

/* How flickering units read during a session. */
enum { READS_OLD, READS_NEW, READS_EITHER, MOODS };

typedef struct {
    unsigned char data[MOST_BYTES];  /* as it reads, of flickering units at one time */
    unsigned char other[MOST_BYTES]; /* at another time; of torn units what they should have become */
    unsigned char kind[MOST_BYTES];  /* by units */
    long countdown; /* of units programmed and sectors erased, until the cut; < 0: none */
    int tear;       /* what the cut leaves */
    int mood;       /* of flickering units */
    int saving;     /* whether nothing may be erased now */
    int bad_sector; /* that does not erase; -1: none */
    int bad_silent; /* whether it says that it did */
    int failing;    /* one of so many times a unit fails to be programmed, and says so; 0: never */
    long bad_unit;  /* that always does; -1: none */
    uint64_t random;
    long steps; /* done */
    long erased_in_save;
    long programmed_twice;
    scpo_flash flash;
} sim;

extern jmp_buf power; /* where a cut goes */

uint32_t draw(sim *flash, uint32_t below);

/* A flash of random content, as from the factory or another firmware. */
void sim_make(sim *flash, uint32_t sectors, uint32_t sector_size, uint32_t unit, int erased, uint64_t seed);

#endif
