/* Flash as the parameter store sees it: reads and programs of a geometry, seals. SPDX-License-Identifier: MIT */
#include "scpo_sectors.h"

#include <string.h>

int scpo_read_flash(const scpo_store *store, uint32_t address, unsigned char *data, uint32_t size)
{
    return store->flash->read(store->flash->user, address, data, size) == 0;
}

int scpo_program_flash(const scpo_store *store, uint32_t address, unsigned char *chunk, uint32_t size)
{
    const scpo_flash *flash = store->flash;
    const uint32_t whole = scpo_units(flash, size);
    if (whole > size) {
        memset(chunk + size, flash->erased < 0 ? 0xff : flash->erased, whole - size);
    }
    return flash->program(flash->user, address, chunk, whole) == 0;
}

int scpo_blank(const scpo_store *store, uint32_t address, uint32_t size)
{
    unsigned char data[SCPO_SEAL_SIZE];
    const uint32_t end = address + size;
    while (address < end) {
        const uint32_t part = end - address < SCPO_SEAL_SIZE ? end - address : SCPO_SEAL_SIZE;
        uint32_t i;
        if (!scpo_read_flash(store, address, data, part)) {
            return 0;
        }
        /* cppcheck-suppress knownConditionTrueFalse ; part > 0, as address < end */
        for (i = 0; i < part; i++) {
            if (data[i] != (unsigned char)store->flash->erased) {
                return 0;
            }
        }
        address += part;
    }
    return 1;
}

/* Whether a cell holds a seal, a number and its complement; that of the sector's first cell. */
static int scpo_read_seal(const scpo_store *store, uint32_t sector, uint32_t cell, uint32_t *number)
{
    unsigned char data[SCPO_SEAL_SIZE];
    int sealed = 0;
    if (scpo_read_flash(store, scpo_cell(store, sector, cell), data, SCPO_SEAL_SIZE)) {
        const uint32_t found = scpo_word(data);
        sealed = found == ~scpo_word(data + 4);
        if (sealed) {
            *number = found - cell * SCPO_JUMP;
        }
    }
    return sealed;
}

uint32_t scpo_read_seals(const scpo_store *store, uint32_t sector, uint32_t *number)
{
    uint32_t cell = SCPO_SEAL_COUNT;
    while (cell > 0U && !scpo_read_seal(store, sector, cell - 1U, number)) {
        cell--;
    }
    return cell;
}

int scpo_seal(const scpo_store *store, uint32_t sector, uint32_t cell, uint32_t number)
{
    unsigned char chunk[SCPO_CHUNK];
    uint32_t found = 0;
    scpo_put_word(number + cell * SCPO_JUMP, chunk);
    scpo_put_word(~(number + cell * SCPO_JUMP), chunk + 4);
    return scpo_program_flash(store, scpo_cell(store, sector, cell), chunk, SCPO_SEAL_SIZE) &&
           scpo_read_seal(store, sector, cell, &found) && found == number;
}
