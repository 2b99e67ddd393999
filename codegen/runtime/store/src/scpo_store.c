/* The parameter store: records appended to sectors of flash.
 *
 * A sector begins with SCPO_SEAL_COUNT cells; the records follow. Once its first record is written and read back, the
 * first cell is programmed with a seal, a number larger than that of any sector before. The sector of the largest
 * number is home: its last whole record is the newest. So a seal, whatever of it can be read, says that a whole
 * record is there.
 *
 * What a cut leaves behind may read as whole now and not later, or the other way round. Therefore a session that did
 * not seal home itself does so again, by the next two cells and numbers SCPO_JUMP larger, before it erases anything:
 * from then on home is home whatever else comes to light, and what is half erased is not. The number of a cell
 * follows from that of the first one: what was cut off is never programmed with other bits. Before home has no cells
 * left its record moves to the sector that was erased. Only sectors that this session has erased are written.
 * SPDX-License-Identifier: MIT
 */
#include "scpo_sectors.h"

#include <string.h>

#define SCPO_SPARE 6U /* of SCPO_SEAL_COUNT, which only cuts use up */

/* Whether number a is newer than b; they wrap around. */
static int scpo_newer(uint32_t a, uint32_t b)
{
    return a != b && a - b < 0x80000000U;
}

/* Seals home again, by the first two cells behind all that were touched which take it. The cells up to that one, all
 * where none does; 0 where no seal can be read now. */
static uint32_t scpo_seal_again(scpo_store *store)
{
    uint32_t number = 0;
    uint32_t cell = SCPO_SEAL_COUNT;
    const uint32_t seals = scpo_read_seals(store, store->home, &number);
    uint32_t done = 0;
    if (seals == 0U) {
        return 0;
    }
    while (cell > seals && (store->flash->erased < 0 ||
                            scpo_blank(store, scpo_cell(store, store->home, cell - 1U), store->seal_size))) {
        cell--;
    }
    while (cell < SCPO_SEAL_COUNT && done < 2U) { /* two: the second one may have been begun and look blank */
        store->number = number + cell * SCPO_JUMP;
        done += scpo_seal(store, store->home, cell, number) ? 1U : 0U;
        cell++;
    }
    if (done == 0U) {
        store->number = number + SCPO_SEAL_COUNT * SCPO_JUMP;
    }
    return cell;
}

/* Whether the numbers behind a header that was read fit its CRC; they go to theta where that is not 0. */
static int scpo_check_numbers(const scpo_store *store, uint32_t address, const unsigned char *header, scpo_real *theta)
{
    unsigned char chunk[SCPO_CHUNK];
    uint32_t crc = scpo_crc(SCPO_CRC_START, header, 28);
    uint32_t left = (uint32_t)(SCPO_NTHETA);
    address += SCPO_BLOB_HEADER;
    while (left > 0U) {
        const uint32_t count = left < SCPO_NUMBERS ? left : SCPO_NUMBERS;
        const uint32_t size = count * (uint32_t)sizeof(scpo_real);
        if (!scpo_read_flash(store, address, chunk, size)) {
            return 0;
        }
        crc = scpo_crc(crc, chunk, size);
        if (theta != NULL) {
            scpo_decode(chunk, count, theta);
            theta += count;
        }
        address += size;
        left -= count;
    }
    return scpo_word(header + 28) == ~crc;
}

/* Reads a header; whether it is one of this problem. */
static int scpo_read_header(scpo_store *store, uint32_t address, unsigned char *header)
{
    scpo_store_status status = SCPO_STORE_DAMAGED; /* blank, unreadable or cut off */
    if (scpo_read_flash(store, address, header, SCPO_BLOB_HEADER)) {
        status = scpo_judge_header(header);
    }
    if (status == SCPO_STORE_FORMAT || status == SCPO_STORE_FOREIGN) {
        store->counts.foreign++;
    }
    return status == SCPO_STORE_OK;
}

/* The last whole record of a sector, into theta unless that is 0: its slot, or store->slots where there is none. */
static uint32_t scpo_find_in_sector(scpo_store *store, uint32_t sector, scpo_real *theta, uint32_t *sequence)
{
    unsigned char header[SCPO_BLOB_HEADER];
    uint32_t slot = store->slots;
    while (slot > 0U) {
        const uint32_t address = scpo_record(store, sector, slot - 1U);
        slot--;
        if (scpo_read_header(store, address, header)) {
            if (scpo_check_numbers(store, address, header, theta)) {
                *sequence = scpo_word(header + 12);
                return slot;
            }
            store->counts.damaged++;
        }
    }
    return store->slots;
}

/* Finds home, the sector of the largest seal that has a whole record, and reads that. */
static int scpo_find(scpo_store *store, scpo_real *theta)
{
    uint32_t home, slot = 0, limit = 0, best = 0, sequence = 0;
    int first = 1, found = 0;
    do {
        uint32_t sector;
        home = SCPO_STORE_NONE;
        for (sector = 0; sector < store->flash->sectors; sector++) {
            uint32_t number = 0;
            const uint32_t cells = scpo_read_seals(store, sector, &number);
            number += (cells - 1U) * SCPO_JUMP;
            if (cells > 0U && (first || scpo_newer(limit, number)) &&
                (home == SCPO_STORE_NONE || scpo_newer(number, best))) {
                home = sector;
                best = number;
            }
        }
        if (home != SCPO_STORE_NONE) {
            slot = scpo_find_in_sector(store, home, theta, &sequence);
            found = slot < store->slots;
        }
        limit = best;
        first = 0;
    } while (!found && home != SCPO_STORE_NONE);
    if (home != store->home) {
        store->last = home;
        store->target = SCPO_STORE_NONE;
        store->ready = SCPO_STORE_NONE;
        store->sealed = 0;
    }
    if (home != store->home || scpo_newer(sequence, store->sequence)) {
        store->sequence = sequence;
    }
    if (found && (home != store->home || scpo_newer(best, store->number))) {
        store->number = best;
    }
    store->home = home;
    store->home_slot = slot;
    return found;
}

static int scpo_is_flash(const scpo_flash *flash)
{
    const uint32_t unit = flash->program_unit;
    return flash->sectors >= 2U && unit >= 1U && unit <= SCPO_CHUNK && (unit & (unit - 1U)) == 0U &&
           flash->sector_size >= unit && flash->sector_size % unit == 0U &&
           flash->sector_size <= UINT32_MAX / flash->sectors && flash->erased >= -1 && flash->erased <= 255 &&
           flash->read != NULL && flash->program != NULL && flash->erase != NULL;
}

scpo_store_status scpo_store_begin(scpo_store *store, const scpo_flash *flash)
{
    scpo_store_status status = SCPO_STORE_GEOMETRY;
    memset(store, 0, sizeof *store);
    store->flash = flash;
    store->home = SCPO_STORE_NONE;
    store->target = SCPO_STORE_NONE;
    store->ready = SCPO_STORE_NONE;
    store->last = SCPO_STORE_NONE;
    if (scpo_is_flash(flash)) {
        uint32_t seals;
        store->seal_size = scpo_units(flash, SCPO_SEAL_SIZE);
        seals = SCPO_SEAL_COUNT * store->seal_size;
        store->slot_size = SCPO_BLOB_HEADER + scpo_units(flash, SCPO_BLOB_SIZE - SCPO_BLOB_HEADER);
        store->slots = flash->sector_size > seals ? (flash->sector_size - seals) / store->slot_size : 0U;
        if (store->slots > 0U) {
            (void)scpo_find(store, 0);
            status = SCPO_STORE_OK;
        }
    }
    return status;
}

scpo_store_status scpo_store_load(scpo_store *store, scpo_real *theta)
{
    const int found = scpo_find(store, theta);
    if (!found && theta != NULL) {
        uint32_t i;
        for (i = 0; i < (uint32_t)(SCPO_NTHETA); i++) {
            theta[i] = 0;
        }
    }
    return found ? SCPO_STORE_OK : SCPO_STORE_EMPTY;
}

/* Takes theta to bytes, chunk by chunk: for its CRC, and to program it where address is not 0, as that of no record is.
 * Whether all is finite, or was programmed. */
static int scpo_pass(const scpo_store *store, const scpo_real *theta, uint32_t address, uint32_t *crc)
{
    unsigned char chunk[SCPO_CHUNK];
    uint32_t left = (uint32_t)(SCPO_NTHETA);
    int good = 1;
    while (left > 0U && good) {
        const uint32_t count = left < SCPO_NUMBERS ? left : SCPO_NUMBERS;
        const uint32_t size = count * (uint32_t)sizeof(scpo_real);
        good = scpo_encode(theta, count, chunk);
        *crc = scpo_crc(*crc, chunk, size);
        if (address != 0U) {
            good = scpo_program_flash(store, address, chunk, size);
            address += size;
        }
        theta += count;
        left -= count;
    }
    return good;
}

/* Programs a record, numbers first, and reads it back. */
static int scpo_write_record(const scpo_store *store, uint32_t address, const scpo_real *theta)
{
    unsigned char header[SCPO_CHUNK];
    unsigned char again[SCPO_CHUNK];
    uint32_t crc;
    scpo_write_header(store->sequence, header);
    crc = scpo_crc(SCPO_CRC_START, header, 28);
    if (!scpo_pass(store, theta, address + SCPO_BLOB_HEADER, &crc)) {
        return 0;
    }
    scpo_finish_header(crc, header);
    return scpo_program_flash(store, address, header, SCPO_BLOB_HEADER) &&
           scpo_read_flash(store, address, again, SCPO_BLOB_HEADER) && memcmp(header, again, SCPO_BLOB_HEADER) == 0 &&
           scpo_check_numbers(store, address, again, 0);
}

/* What was written to the target has come to its end: it is home now, or left alone until it is erased. */
static scpo_store_status scpo_settle(scpo_store *store, int written)
{
    scpo_store_status status = SCPO_STORE_FAILED;
    if (written && store->slot == 0U) {
        store->number++;
        written = scpo_seal(store, store->target, 0, store->number);
    }
    if (written) {
        store->home = store->target;
        store->home_slot = store->slot;
        store->sealed = 1;
        store->slot++;
        status = SCPO_STORE_OK;
    } else {
        store->target = SCPO_STORE_NONE;
        store->counts.failures++;
    }
    return status;
}

/* The sector that was erased becomes the one that is written. */
static void scpo_take_ready(scpo_store *store)
{
    store->target = store->ready;
    store->ready = SCPO_STORE_NONE;
    store->slot = 0;
}

scpo_store_status scpo_store_save(scpo_store *store, const scpo_real *theta)
{
    scpo_store_status status;
    uint32_t crc = 0;
    if (!scpo_pass(store, theta, 0, &crc)) {
        return SCPO_STORE_BAD_THETA;
    }
    if (scpo_store_room(store) == 0U) {
        return SCPO_STORE_BUSY;
    }
    if (store->target == SCPO_STORE_NONE || store->slot == store->slots) {
        scpo_take_ready(store);
    }
    store->sequence++;
    status = scpo_settle(store, scpo_write_record(store, scpo_record(store, store->target, store->slot), theta));
    store->counts.saves += status == SCPO_STORE_OK ? 1U : 0U;
    return status;
}

/* Copies the newest record to the sector that was erased, numbers first. */
static scpo_store_status scpo_move_record(scpo_store *store)
{
    unsigned char chunk[SCPO_CHUNK];
    const uint32_t from = scpo_record(store, store->home, store->home_slot);
    scpo_store_status status;
    uint32_t to, left = store->slot_size;
    int good = 1;
    scpo_take_ready(store);
    to = scpo_record(store, store->target, 0);
    while (left > 0U && good) { /* from the end to the header, which is a chunk */
        const uint32_t size = left % SCPO_CHUNK == 0U ? SCPO_CHUNK : left % SCPO_CHUNK;
        left -= size;
        good = scpo_read_flash(store, from + left, chunk, size) && scpo_program_flash(store, to + left, chunk, size);
    }
    good = good && scpo_read_header(store, to, chunk) && scpo_check_numbers(store, to, chunk, 0);
    status = scpo_settle(store, good);
    return status == SCPO_STORE_OK && store->slot == store->slots ? SCPO_STORE_BUSY : status;
}

/* The next sector that neither holds the newest record nor is being written, or none. */
static uint32_t scpo_next_sector(const scpo_store *store)
{
    uint32_t sector = store->last;
    uint32_t k;
    for (k = 0; k < store->flash->sectors; k++) {
        sector = sector == SCPO_STORE_NONE || sector + 1U == store->flash->sectors ? 0U : sector + 1U;
        if (sector != store->home && sector != store->target) {
            return sector;
        }
    }
    return SCPO_STORE_NONE;
}

scpo_store_status scpo_store_prepare(scpo_store *store, uint32_t records)
{
    const scpo_flash *flash = store->flash;
    const uint32_t room = scpo_store_room(store);
    const uint32_t sector = scpo_next_sector(store);
    uint32_t address;
    uint32_t cells = 1;
    if (room > 0U && (room >= records || store->ready != SCPO_STORE_NONE || sector == SCPO_STORE_NONE)) {
        return SCPO_STORE_OK;
    }
    if (store->home != SCPO_STORE_NONE && !store->sealed) {
        cells = scpo_seal_again(store);
        store->sealed = cells > 0U && cells < SCPO_SEAL_COUNT - SCPO_SPARE;
    }
    if (cells == 0U) { /* what made it home is not there any more */
        (void)scpo_find(store, 0);
        store->counts.failures++;
        return SCPO_STORE_FAILED;
    }
    store->last = sector;
    store->counts.erasures++;
    address = sector * flash->sector_size;
    if (flash->erase(flash->user, address, flash->sector_size) != 0 ||
        (flash->erased >= 0 && !scpo_blank(store, address, flash->sector_size))) {
        store->counts.failures++;
        return SCPO_STORE_FAILED;
    }
    store->ready = sector;
    return cells < SCPO_SEAL_COUNT - SCPO_SPARE ? SCPO_STORE_OK : scpo_move_record(store);
}

uint32_t scpo_store_room(const scpo_store *store)
{
    return (store->target == SCPO_STORE_NONE ? 0U : store->slots - store->slot) +
           (store->ready == SCPO_STORE_NONE ? 0U : store->slots);
}
