/* Flash as the parameter store sees it: cells with seals at a sector's start, records behind them.
 * SPDX-License-Identifier: MIT
 */
#ifndef SCPO_SECTORS_H
#define SCPO_SECTORS_H

#include "scpo_blob.h"

#define SCPO_SEAL_COUNT 12U
#define SCPO_SEAL_SIZE 8U
#define SCPO_JUMP 16U /* of the number of a seal from cell to cell */

/* Of a size, whole program units. */
static inline uint32_t scpo_units(const scpo_flash *flash, uint32_t size)
{
    return (size + flash->program_unit - 1U) & ~(flash->program_unit - 1U);
}

static inline uint32_t scpo_cell(const scpo_store *store, uint32_t sector, uint32_t cell)
{
    return sector * store->flash->sector_size + cell * store->seal_size;
}

static inline uint32_t scpo_record(const scpo_store *store, uint32_t sector, uint32_t slot)
{
    return scpo_cell(store, sector, SCPO_SEAL_COUNT) + slot * store->slot_size;
}

int scpo_read_flash(const scpo_store *store, uint32_t address, unsigned char *data, uint32_t size);

/* Programs a chunk or less, filled up to whole units. */
int scpo_program_flash(const scpo_store *store, uint32_t address, unsigned char *chunk, uint32_t size);

/* Whether so many bytes are erased. */
int scpo_blank(const scpo_store *store, uint32_t address, uint32_t size);

/* The cells of a sector up to the last seal, and the first one's number; 0 where there is none. */
uint32_t scpo_read_seals(const scpo_store *store, uint32_t sector, uint32_t *number);

/* Programs the seal of a cell, of a sector whose first cell has this number. */
int scpo_seal(const scpo_store *store, uint32_t sector, uint32_t cell, uint32_t number);

#endif /* SCPO_SECTORS_H */
