/* See flash_sim.h. */
#include "flash_sim.h"

#include <string.h>

jmp_buf power;

uint32_t draw(sim *flash, uint32_t below)
{
    flash->random = flash->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(flash->random >> 33) % below;
}

static unsigned char any(sim *flash)
{
    return (unsigned char)draw(flash, 256);
}

static unsigned char erased(const sim *flash)
{
    return (unsigned char)(flash->flash.erased < 0 ? 0xff : flash->flash.erased);
}

static int cut_now(sim *flash)
{
    flash->steps++;
    return flash->countdown >= 0 && flash->countdown-- == 0;
}

static int sim_read(void *user, uint32_t address, unsigned char *data, uint32_t size)
{
    sim *flash = (sim *)user;
    uint32_t i;
    for (i = address; i < address + size; i++) {
        const int kind = flash->kind[i / flash->flash.program_unit];
        int new = flash->mood == READS_NEW;
        if (kind == UNREADABLE || (kind == BLANK && flash->flash.erased < 0 && draw(flash, 4) == 0)) {
            return -1;
        }
        if (flash->mood == READS_EITHER) {
            new = (int)draw(flash, 2);
        }
        data[i - address] = kind == FLICKERING && new ? flash->other[i] : flash->data[i];
        if (kind == BLANK && flash->flash.erased < 0) {
            data[i - address] = any(flash);
        }
    }
    return 0;
}

/* Leaves a unit as a cut does, on the way from what it is to other[]. */
static void tear_unit(sim *flash, uint32_t unit, int tear, int done)
{
    const uint32_t size = flash->flash.program_unit;
    const uint32_t start = unit * size;
    uint32_t i;
    for (i = start; i < start + size; i++) {
        const unsigned char old = flash->data[i], new = flash->other[i], mask = any(flash);
        if (tear == ALL) {
            flash->data[i] = new;
        } else if (tear == SOME_BITS) {
            flash->data[i] = (unsigned char)((old & mask) | (new & ~mask));
        } else if (tear == ANY_BITS) {
            flash->data[i] = mask;
        }
    }
    if (tear == ALL) {
        flash->kind[unit] = (unsigned char)done;
    } else if (tear == NO_READING) {
        flash->kind[unit] = UNREADABLE;
    } else if (tear == FLICKERS) {
        flash->kind[unit] = FLICKERING;
    } else if (tear != NOTHING) {
        flash->kind[unit] = TORN;
    }
}

static int sim_program(void *user, uint32_t address, const unsigned char *data, uint32_t size)
{
    sim *flash = (sim *)user;
    const uint32_t unit_size = flash->flash.program_unit;
    uint32_t at;
    if (size == 0 || size > 32 || address % unit_size != 0 || size % unit_size != 0) {
        return -1;
    }
    for (at = 0; at < size; at += unit_size) {
        const uint32_t unit = (address + at) / unit_size;
        const int torn = flash->kind[unit] == TORN || flash->kind[unit] == FLICKERING;
        const int same = torn || (flash->kind[unit] == DONE && data[at] == erased(flash));
        if (same && memcmp(flash->other + address + at, data + at, unit_size) == 0) {
            ; /* the same bits once more: those that are missing */
        } else if (flash->kind[unit] != BLANK) {
            flash->programmed_twice += flash->flash.erased >= 0;
            return -1;
        }
        memcpy(flash->other + address + at, data + at, unit_size);
        if (cut_now(flash)) {
            tear_unit(flash, unit, flash->tear, DONE);
            longjmp(power, 1);
        }
        if ((flash->failing > 0 && draw(flash, (uint32_t)flash->failing) == 0) || (long)unit == flash->bad_unit) {
            tear_unit(flash, unit, SOME_BITS + (int)draw(flash, 3), DONE);
            return -1;
        }
        tear_unit(flash, unit, ALL, DONE);
    }
    return 0;
}

static int sim_erase(void *user, uint32_t address, uint32_t size)
{
    sim *flash = (sim *)user;
    const uint32_t unit_size = flash->flash.program_unit;
    const int sector = (int)(address / flash->flash.sector_size);
    uint32_t unit;
    int now;
    if (size != flash->flash.sector_size || address % size != 0) {
        return -1;
    }
    flash->erased_in_save += flash->saving;
    now = cut_now(flash);
    if (sector == flash->bad_sector && !now) {
        for (unit = address / unit_size; unit < (address + size) / unit_size; unit++) {
            tear_unit(flash, unit, ANY_BITS, BLANK);
        }
        return flash->bad_silent ? 0 : -1;
    }
    for (unit = address / unit_size; unit < (address + size) / unit_size; unit++) {
        int tear = now ? flash->tear : ALL;
        if (now && tear == ANY_BITS) { /* each unit in its own way */
            tear = (int)draw(flash, TEARS);
        }
        if (tear == FLICKERS && (flash->kind[unit] == UNREADABLE || flash->kind[unit] == FLICKERING)) {
            tear = NOTHING;
        }
        if (tear != NOTHING) {
            memset(flash->other + unit * unit_size, erased(flash), unit_size);
        }
        if (flash->kind[unit] != BLANK || tear == ALL) {
            tear_unit(flash, unit, tear, BLANK);
        }
    }
    if (now) {
        longjmp(power, 1);
    }
    return 0;
}

void sim_make(sim *flash, uint32_t sectors, uint32_t sector_size, uint32_t unit, int erased_value, uint64_t seed)
{
    const scpo_flash made = {sectors, sector_size, unit, erased_value, sim_read, sim_program, sim_erase, 0};
    uint32_t i;
    memset(flash, 0, sizeof *flash);
    flash->flash = made;
    flash->countdown = -1;
    flash->bad_sector = -1;
    flash->bad_unit = -1;
    flash->random = seed;
    for (i = 0; i < sectors * sector_size; i++) {
        flash->data[i] = any(flash);
        flash->kind[i / unit] = DONE;
    }
}
