/* The parameter store: records appended to sectors of flash.
 *
 * A sector begins with SCPO_SEALS cells; the records follow. Once its first record is written and read back, the first
 * cell is programmed: the sector is sealed. So a seal, whatever of it can be read, says that a whole record is there, and
 * older sectors may be erased. What a cut leaves behind may read as whole now and not later. Therefore a session that
 * has not sealed the sector of the newest record itself programs another cell before it erases anything: from then on
 * what it relies on is certain. To lose a record takes as many cuts in a row as there are cells, each while one is
 * programmed. Only sectors that this session has erased are written.
 *
 * Sequence numbers grow by one within a sector and by SCPO_JUMP to the next. A record that a cut left, and that may be
 * seen only later, is one above the newest in its sector, or in the sector that is erased next: no other is equal to it
 * or below. SPDX-License-Identifier: MIT
 */
#include "scpo_blob.h"

#include <string.h>

#define SCPO_SEALS 4U
#define SCPO_SEAL_SIZE 8U
#define SCPO_JUMP 16U /* of sequence numbers from sector to sector */

static const unsigned char scpo_seal_bytes[SCPO_SEAL_SIZE] = {0x53, 0x65, 0x61, 0x6c, 0x65, 0x64, 0x2e, 0x0a};

/* Whether sequence number a is newer than b; they wrap around. */
static int scpo_newer(uint32_t a, uint32_t b)
{
    return a != b && a - b < 0x80000000U;
}

/* Of a size, whole program units. */
static uint32_t scpo_units(const scpo_flash *flash, uint32_t size)
{
    return (size + flash->program_unit - 1U) & ~(flash->program_unit - 1U);
}

static uint32_t scpo_cell(const scpo_store *store, uint32_t sector, uint32_t cell)
{
    return sector * store->flash->sector_size + cell * store->seal_size;
}

static uint32_t scpo_record(const scpo_store *store, uint32_t sector, uint32_t slot)
{
    return scpo_cell(store, sector, SCPO_SEALS) + slot * store->slot_size;
}

static int scpo_read_flash(const scpo_store *store, uint32_t address, unsigned char *data, uint32_t size)
{
    return store->flash->read(store->flash->user, address, data, size) == 0;
}

/* Programs a chunk or less, filled up to whole units. */
static int scpo_program_flash(const scpo_store *store, uint32_t address, unsigned char *chunk, uint32_t size)
{
    const scpo_flash *flash = store->flash;
    const uint32_t whole = scpo_units(flash, size);
    memset(chunk + size, flash->erased < 0 ? 0xff : flash->erased, whole - size);
    return flash->program(flash->user, address, chunk, whole) == 0;
}

/* Whether so many bytes are erased. */
static int scpo_blank(const scpo_store *store, uint32_t address, uint32_t size)
{
    unsigned char data[SCPO_SEAL_SIZE];
    const uint32_t end = address + size;
    while (address < end) {
        const uint32_t part = end - address < SCPO_SEAL_SIZE ? end - address : SCPO_SEAL_SIZE;
        uint32_t i;
        if (!scpo_read_flash(store, address, data, part)) {
            return 0;
        }
        for (i = 0; i < part; i++) {
            if (data[i] != (unsigned char)store->flash->erased) {
                return 0;
            }
        }
        address += part;
    }
    return 1;
}

/* Whether most of a cell is a seal: it still is where a bit has aged. */
static int scpo_is_seal(const scpo_store *store, uint32_t sector, uint32_t cell)
{
    unsigned char data[SCPO_SEAL_SIZE];
    uint32_t equal = 0;
    if (scpo_read_flash(store, scpo_cell(store, sector, cell), data, SCPO_SEAL_SIZE)) {
        uint32_t i;
        for (i = 0; i < SCPO_SEAL_SIZE; i++) {
            equal += data[i] == scpo_seal_bytes[i] ? 1U : 0U;
        }
    }
    return equal > SCPO_SEAL_SIZE / 2U;
}

static int scpo_is_sealed(const scpo_store *store, uint32_t sector)
{
    uint32_t cell;
    for (cell = 0; cell < SCPO_SEALS; cell++) {
        if (scpo_is_seal(store, sector, cell)) {
            return 1;
        }
    }
    return 0;
}

/* Seals a sector by the first of so many cells that takes it. Where none does, each of them has been begun. */
static int scpo_seal(const scpo_store *store, uint32_t sector, uint32_t cells)
{
    unsigned char chunk[SCPO_CHUNK];
    uint32_t cell;
    int done = 0;
    for (cell = 0; cell < cells && !done; cell++) {
        const uint32_t address = scpo_cell(store, sector, cell);
        if (store->flash->erased < 0 ? !scpo_is_seal(store, sector, cell)
                                     : scpo_blank(store, address, store->seal_size)) {
            memcpy(chunk, scpo_seal_bytes, SCPO_SEAL_SIZE);
            done = scpo_program_flash(store, address, chunk, SCPO_SEAL_SIZE) && scpo_is_seal(store, sector, cell);
        }
    }
    return done;
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
        if (theta != 0) {
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

/* A record that was found. */
typedef struct {
    uint32_t sequence;
    uint32_t sector;
    uint32_t slot;
    int there; /* whether there is one */
} scpo_place;

/* Takes the newest whole record of a sector if it is newer than the one found so far, and older than the limit. */
static void scpo_find_in_sector(scpo_store *store, uint32_t sector, const scpo_place *limit, scpo_place *found)
{
    unsigned char header[SCPO_BLOB_HEADER];
    uint32_t slot = store->slots;
    while (slot-- > 0U) { /* the last first: those before it are older */
        const uint32_t address = scpo_record(store, sector, slot);
        if (scpo_read_header(store, address, header)) {
            const uint32_t sequence = scpo_word(header + 12);
            const int older = !limit->there || scpo_newer(limit->sequence, sequence);
            if (older && (!found->there || scpo_newer(sequence, found->sequence))) {
                if (scpo_check_numbers(store, address, header, 0)) {
                    found->sequence = sequence;
                    found->sector = sector;
                    found->slot = slot;
                    found->there = 1;
                } else {
                    store->counts.damaged++;
                }
            }
        }
    }
}

/* Finds the newest whole record and reads it, unless theta is 0. One that does not read as whole again is passed over. */
static scpo_place scpo_find(scpo_store *store, scpo_real *theta)
{
    unsigned char header[SCPO_BLOB_HEADER];
    scpo_place limit = {0, 0, 0, 0};
    scpo_place found;
    int done;
    do {
        uint32_t sector;
        memset(&found, 0, sizeof found);
        for (sector = 0; sector < store->flash->sectors; sector++) {
            if (scpo_is_sealed(store, sector)) {
                scpo_find_in_sector(store, sector, &limit, &found);
            }
        }
        done = !found.there || theta == 0;
        if (!done) {
            const uint32_t address = scpo_record(store, found.sector, found.slot);
            done = scpo_read_header(store, address, header) && scpo_word(header + 12) == found.sequence &&
                   scpo_check_numbers(store, address, header, theta);
            limit = found;
        }
    } while (!done);
    return found;
}

/* From now on the session relies on this record; it does so already, or begins anew. */
static void scpo_rely(scpo_store *store, const scpo_place *found)
{
    const uint32_t home = found->there ? found->sector : SCPO_STORE_NONE;
    const uint32_t after = found->sequence + 1U;
    if (found->there && (store->home == SCPO_STORE_NONE || scpo_newer(after, store->sequence))) {
        store->sequence = after;
        store->fresh = found->sequence + SCPO_JUMP;
    }
    if (home != store->home) {
        store->home = home;
        store->last = home;
        store->target = SCPO_STORE_NONE;
        store->ready = SCPO_STORE_NONE;
        store->sealed = 0;
    }
}

static int scpo_is_flash(const scpo_flash *flash)
{
    const uint32_t unit = flash->program_unit;
    return flash->sectors >= 2U && unit >= 1U && unit <= SCPO_CHUNK && (unit & (unit - 1U)) == 0U &&
           flash->sector_size >= unit && flash->sector_size % unit == 0U &&
           flash->sector_size <= UINT32_MAX / flash->sectors && flash->erased >= -1 && flash->erased <= 255 &&
           flash->read != 0 && flash->program != 0 && flash->erase != 0;
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
        seals = SCPO_SEALS * store->seal_size;
        store->slot_size = SCPO_BLOB_HEADER + scpo_units(flash, SCPO_BLOB_SIZE - SCPO_BLOB_HEADER);
        store->slots = flash->sector_size > seals ? (flash->sector_size - seals) / store->slot_size : 0U;
        if (store->slots > 0U) {
            const scpo_place found = scpo_find(store, 0);
            scpo_rely(store, &found);
            status = SCPO_STORE_OK;
        }
    }
    return status;
}

scpo_store_status scpo_store_load(scpo_store *store, scpo_real *theta)
{
    const scpo_place found = scpo_find(store, theta);
    scpo_rely(store, &found);
    if (!found.there) {
        uint32_t i;
        for (i = 0; i < (uint32_t)(SCPO_NTHETA); i++) {
            theta[i] = 0;
        }
    }
    return found.there ? SCPO_STORE_OK : SCPO_STORE_EMPTY;
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
static int scpo_write_record(const scpo_store *store, uint32_t address, uint32_t sequence, const scpo_real *theta)
{
    unsigned char header[SCPO_CHUNK];
    unsigned char again[SCPO_CHUNK];
    uint32_t crc;
    scpo_write_header(sequence, header);
    crc = scpo_crc(SCPO_CRC_START, header, 28);
    if (!scpo_pass(store, theta, address + SCPO_BLOB_HEADER, &crc)) {
        return 0;
    }
    scpo_finish_header(crc, header);
    return scpo_program_flash(store, address, header, SCPO_BLOB_HEADER) &&
           scpo_read_flash(store, address, again, SCPO_BLOB_HEADER) && memcmp(header, again, SCPO_BLOB_HEADER) == 0 &&
           scpo_check_numbers(store, address, again, 0);
}

scpo_store_status scpo_store_save(scpo_store *store, const scpo_real *theta)
{
    scpo_store_status status = SCPO_STORE_OK;
    uint32_t crc = 0;
    uint32_t sequence;
    if (!scpo_pass(store, theta, 0, &crc)) {
        return SCPO_STORE_BAD_THETA;
    }
    if (scpo_store_room(store) == 0U) {
        return SCPO_STORE_BUSY;
    }
    if (store->target == SCPO_STORE_NONE || store->slot == store->slots) {
        store->target = store->ready;
        store->ready = SCPO_STORE_NONE;
        store->slot = 0;
    }
    sequence = store->slot == 0U ? store->fresh : store->sequence;
    if (scpo_write_record(store, scpo_record(store, store->target, store->slot), sequence, theta) &&
        (store->slot > 0U || scpo_seal(store, store->target, 1U))) {
        store->home = store->target;
        store->sealed = 1;
        store->slot++;
        store->sequence = sequence + 1U;
        store->fresh = sequence + SCPO_JUMP;
        store->counts.saves++;
    } else {
        store->target = SCPO_STORE_NONE; /* what failed is left alone until it is erased */
        store->fresh += SCPO_JUMP;
        store->counts.failures++;
        status = SCPO_STORE_FAILED;
    }
    return status;
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
    if (room > 0U && (room >= records || store->ready != SCPO_STORE_NONE || sector == SCPO_STORE_NONE)) {
        return SCPO_STORE_OK;
    }
    if (store->home != SCPO_STORE_NONE && !store->sealed) {
        (void)scpo_seal(store, store->home, SCPO_SEALS);
        store->sealed = 1;
    }
    store->last = sector;
    store->counts.erasures++;
    address = sector * flash->sector_size;
    if (flash->erase(flash->user, address, flash->sector_size) != 0 ||
        (flash->erased >= 0 && !scpo_blank(store, address, flash->sector_size))) {
        store->fresh += SCPO_JUMP;
        store->counts.failures++;
        return SCPO_STORE_FAILED;
    }
    store->ready = sector;
    return SCPO_STORE_OK;
}

uint32_t scpo_store_room(const scpo_store *store)
{
    return (store->target == SCPO_STORE_NONE ? 0U : store->slots - store->slot) +
           (store->ready == SCPO_STORE_NONE ? 0U : store->slots);
}
