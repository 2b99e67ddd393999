/* What the files of the parameter store share: bytes of a blob. SPDX-License-Identifier: MIT */
#ifndef SCPO_BLOB_H
#define SCPO_BLOB_H

#include "scpo_store.h"

#define SCPO_CHUNK 32U /* [B] a header, or as many numbers as fit */
#define SCPO_NUMBERS (SCPO_CHUNK / (uint32_t)sizeof(scpo_real)) /* of a chunk */
#define SCPO_CRC_START 0xffffffffU

/* Goes on with a CRC-32 of IEEE 802.3, which begins with SCPO_CRC_START and ends with its complement. */
uint32_t scpo_crc(uint32_t crc, const unsigned char *data, uint32_t size);

/* Numbers to bytes, whether all are finite; and back. */
int scpo_encode(const scpo_real *numbers, uint32_t count, unsigned char *bytes);
void scpo_decode(const unsigned char *bytes, uint32_t count, scpo_real *numbers);

uint32_t scpo_word(const unsigned char *bytes); /* of 4 bytes */
void scpo_put_word(uint32_t word, unsigned char *bytes);

/* A header but for its CRC; the CRC of what is to follow then goes there by scpo_finish_header. */
void scpo_write_header(uint32_t sequence, unsigned char *header);
void scpo_finish_header(uint32_t crc, unsigned char *header);

/* SCPO_STORE_OK where a header is one of this problem, this type and this format; nothing is said of its CRC. */
scpo_store_status scpo_judge_header(const unsigned char *header);

#endif /* SCPO_BLOB_H */
