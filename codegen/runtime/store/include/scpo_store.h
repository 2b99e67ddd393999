/* scpo-ctrl runtime: parameters that survive power cuts, in flash, EEPROM or FRAM, and as bytes to send.
 *
 * A record is a blob: a header of 32 bytes, then the parameters. It is appended to a sector of flash that this session
 * has erased, parameters first and header last, and read back. What is in use while something else is erased is made
 * sure of before: a cut at any moment leaves the last record that was saved, or the one that was being saved.
 * No heap, no stdio, no global mutable state. C99, also valid C++. SPDX-License-Identifier: MIT
 */
#ifndef SCPO_STORE_H
#define SCPO_STORE_H

#include "scpo_config.h" /* generated: scpo_real, SCPO_NTHETA, SCPO_PROBLEM_HASH */

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The bytes of a blob, all numbers little-endian, whatever the processor:
 *   0 "SCPO"   4 format   5 bytes of a number: 4 or 8   6 zero   8 count of numbers   12 sequence number
 *   16 problem hash, 8 bytes   24 zero   28 CRC-32 (IEEE 802.3) of bytes 0 ... 27 and of the numbers
 *   32 numbers, IEEE 754 */
#define SCPO_BLOB_FORMAT 1 /* of these bytes; has nothing to do with the version of the library */
#define SCPO_BLOB_HEADER 32U
#define SCPO_BLOB_SIZE (SCPO_BLOB_HEADER + (uint32_t)sizeof(scpo_real) * (uint32_t)(SCPO_NTHETA))

typedef enum {
    SCPO_STORE_OK = 0,
    SCPO_STORE_EMPTY = 1,    /* load: there is no whole record of this problem; theta is zero, the backup alone */
    SCPO_STORE_BUSY = 2,     /* save: no erased place is left; nothing was written. Call scpo_store_prepare when the
                                processor may stop for as long as erasing takes, then save again */
    SCPO_STORE_FAILED = 3,   /* save, prepare: the flash refused, or reads differently; what was saved before stays. Call
                                scpo_store_prepare again: it takes the next sector */
    SCPO_STORE_GEOMETRY = 4, /* begin: the flash is described wrongly, or a record does not fit a sector */
    SCPO_STORE_BAD_THETA = 5, /* save, read: theta is not finite; nothing was written */
    SCPO_STORE_DAMAGED = 6,  /* read: the size or the CRC is wrong */
    SCPO_STORE_FORMAT = 7,   /* read: another format, or another type of numbers */
    SCPO_STORE_FOREIGN = 8,  /* read: parameters of another problem */
    SCPO_STORE_REFUSED = 9   /* read: the verify callback said no */
} scpo_store_status;

/* The flash, or a part of it. Addresses count from 0 at its first byte. The functions return 0, or anything else where
 * they failed. Erasing brings a whole sector to `erased`. */
typedef struct {
    uint32_t sectors;     /* 2 or more */
    uint32_t sector_size; /* [B] of what is erased at once, a multiple of program_unit */
    uint32_t program_unit; /* [B] of what is programmed at once, and once between erasures: 1, 2, 4, 8, 16 or 32 */
    int erased;           /* what an erased byte reads as, such as 0xff; -1 where that is not defined */
    int (*read)(void *user, uint32_t address, unsigned char *data, uint32_t size);
    int (*program)(void *user, uint32_t address, const unsigned char *data, uint32_t size); /* whole units, <= 32 B */
    int (*erase)(void *user, uint32_t address, uint32_t size); /* one sector */
    void *user;
} scpo_flash;

/* Counts since scpo_store_begin, for telemetry. */
typedef struct {
    uint32_t saves;    /* that succeeded */
    uint32_t erasures; /* that were tried */
    uint32_t failures; /* of programming and erasing, found by their answer or by reading back */
    uint32_t damaged;  /* records met whose CRC is wrong: cut off, or aged */
    uint32_t foreign;  /* records met of another problem, type of numbers or format */
} scpo_store_counts;

#define SCPO_STORE_NONE UINT32_MAX

/* A store in use. All but `counts` is its own. */
typedef struct {
    const scpo_flash *flash;
    scpo_store_counts counts;
    uint32_t seal_size; /* [B] of a seal and of a record, in whole units */
    uint32_t slot_size;
    uint32_t slots;     /* of a sector */
    uint32_t sequence;  /* of the newest record */
    uint32_t number;    /* of the newest seal */
    uint32_t slot;      /* of the target that is written next */
    uint32_t home;      /* sector of the newest record, or SCPO_STORE_NONE */
    uint32_t home_slot; /* of the newest record there */
    uint32_t target;    /* sector being written, or none */
    uint32_t ready;     /* sector that this session has erased for later, or none */
    uint32_t last;      /* sector that was erased last, or home */
    int sealed;         /* whether this session has sealed home */
} scpo_store;

/* Looks for the newest record; call it after every reset, before all else. SCPO_STORE_GEOMETRY or SCPO_STORE_OK. */
scpo_store_status scpo_store_begin(scpo_store *store, const scpo_flash *flash);

/* Reads the newest whole record: what was saved last, or, after a cut, what was being saved then. The CRC is that of
 * the numbers in theta, not of an earlier reading. SCPO_STORE_OK or SCPO_STORE_EMPTY. */
scpo_store_status scpo_store_load(scpo_store *store, scpo_real *theta /* [SCPO_NTHETA] */);

/* Appends a record. Never erases. Once it says SCPO_STORE_OK the record survives every cut. */
scpo_store_status scpo_store_save(scpo_store *store, const scpo_real *theta /* [SCPO_NTHETA] */);

/* Erases one sector, never that of the newest record, unless there is room for this many records, or another sector is
 * erased already. SCPO_STORE_OK: there is room for one at least. Needed once after every reset before saving: what was
 * half written at a cut may look blank. After three resets without a save it moves the record to the erased sector;
 * where that has room for one only, the answer is SCPO_STORE_BUSY: call it again. */
scpo_store_status scpo_store_prepare(scpo_store *store, uint32_t records);

/* How many records fit before scpo_store_save answers SCPO_STORE_BUSY. */
uint32_t scpo_store_room(const scpo_store *store);

/* Judges a blob that somebody sent, such as by its signature: `tail` are the bytes behind it. Returns 1 to accept. */
typedef int (*scpo_verify)(void *user, const unsigned char *blob, uint32_t blob_size, const unsigned char *tail,
                           uint32_t tail_size);

/* Parameters to bytes. */
void scpo_blob_write(const scpo_real *theta /* [SCPO_NTHETA] */, uint32_t sequence,
                     unsigned char *blob /* [SCPO_BLOB_SIZE] */);

/* Bytes to parameters; theta and sequence are written only where the answer is SCPO_STORE_OK, and finite then. Without
 * `verify` there are no bytes behind the blob. Stop replays by comparing the sequence number with the last one. */
scpo_store_status scpo_blob_read(const unsigned char *blob, uint32_t size, scpo_verify verify, void *user,
                                 scpo_real *theta /* [SCPO_NTHETA] */, uint32_t *sequence);

#ifdef __cplusplus
}
#endif

#endif /* SCPO_STORE_H */
