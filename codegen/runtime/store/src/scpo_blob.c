/* Parameters as bytes, the same on every processor: numbers are taken apart by shifts. SPDX-License-Identifier: MIT */
#include "scpo_blob.h"

#include <string.h>

/* Numbers are IEEE 754 of the size that the header states: avr-gcc's double of 4 bytes is refused here. */
typedef char scpo_size_of_a_number[sizeof(scpo_real) == (SCPO_REAL_IS_DOUBLE ? 8U : 4U) ? 1 : -1];
typedef char scpo_bits_of_a_byte[(unsigned char)-1 == 255U ? 1 : -1];

#if SCPO_REAL_IS_DOUBLE
typedef uint64_t scpo_pattern;
#define SCPO_EXPONENT 0x7ff0U /* bits of the two highest bytes */
#else
typedef uint32_t scpo_pattern;
#define SCPO_EXPONENT 0x7f80U
#endif

/* All of a header that is the same in each: up to the sequence number, and between that and the CRC. */
#define SCPO_BYTE(k) ((unsigned char)((uint32_t)(SCPO_NTHETA) >> (8 * (k)) & 0xffU)) /* of the count */
static const unsigned char scpo_kind[12] = {
    'S', 'C', 'P', 'O', SCPO_BLOB_FORMAT, (unsigned char)sizeof(scpo_real), 0, 0,
    SCPO_BYTE(0), SCPO_BYTE(1), SCPO_BYTE(2), SCPO_BYTE(3)};
static const unsigned char scpo_problem[12] = {SCPO_PROBLEM_HASH, 0, 0, 0, 0};

uint32_t scpo_crc(uint32_t crc, const unsigned char *data, uint32_t size)
{
    static const uint32_t table[16] = {0x00000000U, 0x1db71064U, 0x3b6e20c8U, 0x26d930acU, 0x76dc4190U, 0x6b6b51f4U,
                                       0x4db26158U, 0x5005713cU, 0xedb88320U, 0xf00f9344U, 0xd6d6a3e8U, 0xcb61b38cU,
                                       0x9b64c2b0U, 0x86d3d2d4U, 0xa00ae278U, 0xbdbdf21cU};
    uint32_t i;
    for (i = 0; i < size; i++) {
        crc ^= data[i];
        crc = crc >> 4 ^ table[crc & 15U];
        crc = crc >> 4 ^ table[crc & 15U];
    }
    return crc;
}

/* Whether the bytes of a number are those of a finite one. */
static int scpo_is_finite(const unsigned char *bytes)
{
    const unsigned char *high = bytes + sizeof(scpo_real) - 2U;
    const uint32_t bits = (uint32_t)high[0] | (uint32_t)high[1] << 8;
    return (bits & SCPO_EXPONENT) != SCPO_EXPONENT;
}

int scpo_encode(const scpo_real *numbers, uint32_t count, unsigned char *bytes)
{
    int finite = 1;
    uint32_t i, k;
    for (i = 0; i < count; i++) {
        scpo_pattern bits;
        memcpy(&bits, numbers + i, sizeof bits);
        for (k = 0; k < (uint32_t)sizeof bits; k++) {
            *bytes++ = (unsigned char)(bits & 0xffU);
            bits >>= 8;
        }
        finite = scpo_is_finite(bytes - sizeof bits) && finite;
    }
    return finite;
}

void scpo_decode(const unsigned char *bytes, uint32_t count, scpo_real *numbers)
{
    uint32_t i, k;
    for (i = 0; i < count; i++) {
        scpo_pattern bits = 0;
        for (k = (uint32_t)sizeof bits; k-- > 0U;) {
            bits = bits << 8 | bytes[k];
        }
        memcpy(numbers + i, &bits, sizeof bits);
        bytes += sizeof bits;
    }
}

uint32_t scpo_word(const unsigned char *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

void scpo_put_word(uint32_t word, unsigned char *bytes)
{
    uint32_t k;
    for (k = 0; k < 4U; k++) {
        bytes[k] = (unsigned char)(word >> (8U * k) & 0xffU);
    }
}

void scpo_write_header(uint32_t sequence, unsigned char *header)
{
    memcpy(header, scpo_kind, sizeof scpo_kind);
    scpo_put_word(sequence, header + 12);
    memcpy(header + 16, scpo_problem, sizeof scpo_problem);
}

void scpo_finish_header(uint32_t crc, unsigned char *header)
{
    scpo_put_word(~crc, header + 28);
}

scpo_store_status scpo_judge_header(const unsigned char *header)
{
    scpo_store_status status = SCPO_STORE_OK;
    if (memcmp(header, scpo_kind, 4) != 0) {
        status = SCPO_STORE_DAMAGED;
    } else if (memcmp(header + 4, scpo_kind + 4, 4) != 0) {
        status = SCPO_STORE_FORMAT;
    } else if (memcmp(header + 8, scpo_kind + 8, 4) != 0 || memcmp(header + 16, scpo_problem, sizeof scpo_problem) != 0) {
        status = SCPO_STORE_FOREIGN;
    }
    return status;
}

void scpo_blob_write(const scpo_real *theta, uint32_t sequence, unsigned char *blob)
{
    uint32_t crc;
    scpo_write_header(sequence, blob);
    (void)scpo_encode(theta, SCPO_NTHETA, blob + SCPO_BLOB_HEADER);
    crc = scpo_crc(SCPO_CRC_START, blob, 28);
    scpo_finish_header(scpo_crc(crc, blob + SCPO_BLOB_HEADER, SCPO_BLOB_SIZE - SCPO_BLOB_HEADER), blob);
}

/* Whether all numbers of a blob are finite. */
static int scpo_are_finite(const unsigned char *bytes)
{
    uint32_t i;
    int finite = 1;
    for (i = 0; i < (uint32_t)(SCPO_NTHETA); i++) {
        finite = scpo_is_finite(bytes + i * (uint32_t)sizeof(scpo_real)) && finite;
    }
    return finite;
}

scpo_store_status scpo_blob_read(const unsigned char *blob, uint32_t size, scpo_verify verify, void *user,
                                 scpo_real *theta, uint32_t *sequence)
{
    scpo_store_status status = SCPO_STORE_DAMAGED;
    if (size >= SCPO_BLOB_HEADER) {
        status = scpo_judge_header(blob);
    }
    if (status == SCPO_STORE_OK) {
        if (size < SCPO_BLOB_SIZE || (verify == NULL && size > SCPO_BLOB_SIZE) ||
            scpo_word(blob + 28) != ~scpo_crc(scpo_crc(SCPO_CRC_START, blob, 28), blob + SCPO_BLOB_HEADER,
                                              SCPO_BLOB_SIZE - SCPO_BLOB_HEADER)) {
            status = SCPO_STORE_DAMAGED;
        } else if (!scpo_are_finite(blob + SCPO_BLOB_HEADER)) {
            status = SCPO_STORE_BAD_THETA;
        } else if (verify != NULL && verify(user, blob, SCPO_BLOB_SIZE, blob + SCPO_BLOB_SIZE, size - SCPO_BLOB_SIZE) != 1) {
            status = SCPO_STORE_REFUSED;
        } else {
            scpo_decode(blob + SCPO_BLOB_HEADER, SCPO_NTHETA, theta);
            *sequence = scpo_word(blob + 12);
        }
    }
    return status;
}
