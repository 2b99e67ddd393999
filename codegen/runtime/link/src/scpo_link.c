/* Frames: receiving, byte by byte, and sending. SPDX-License-Identifier: MIT */
#include "scpo_link.h"

/* A frame states its length in two bytes. */
typedef char scpo_payload_is_short[SCPO_LINK_SIZE <= 65535U ? 1 : -1];

enum { SCPO_AT_START, SCPO_AT_TYPE, SCPO_AT_LENGTH, SCPO_AT_HIGH, SCPO_AT_PAYLOAD, SCPO_AT_CRC, SCPO_AT_CRC_HIGH };

static uint16_t scpo_crc16(uint16_t crc, unsigned char byte)
{
    int bit;
    crc = (uint16_t)(crc ^ ((uint16_t)byte << 8));
    for (bit = 0; bit < 8; bit++) {
        crc = (uint16_t)((crc & 0x8000U) ? (unsigned)(crc << 1) ^ 0x1021U : (unsigned)(crc << 1));
    }
    return crc;
}

/* What a byte completes where the CRC has come: 1 a frame, 0 nothing. */
static int scpo_link_end(scpo_link *link, int passed)
{
    link->state = SCPO_AT_START;
    link->bad += passed ? 0U : 1U;
    return passed;
}

int scpo_link_receive(scpo_link *link, unsigned char byte)
{
    if (link->state > SCPO_AT_START && link->state < SCPO_AT_CRC) {
        link->crc = scpo_crc16(link->crc, byte);
    }
    switch (link->state) {
    case SCPO_AT_TYPE:
        link->type = byte;
        link->state = SCPO_AT_LENGTH;
        break;
    case SCPO_AT_LENGTH:
        link->length = byte;
        link->state = SCPO_AT_HIGH;
        break;
    case SCPO_AT_HIGH:
        link->length = (uint16_t)(link->length | ((uint16_t)byte << 8));
        link->filled = 0;
        if (link->length > sizeof link->payload) {
            return scpo_link_end(link, 0);
        }
        link->state = link->length ? SCPO_AT_PAYLOAD : SCPO_AT_CRC;
        break;
    case SCPO_AT_PAYLOAD:
        link->payload[link->filled++] = byte;
        link->state = link->filled < link->length ? SCPO_AT_PAYLOAD : SCPO_AT_CRC;
        break;
    case SCPO_AT_CRC:
        if (byte != (link->crc & 0xFFU)) {
            return scpo_link_end(link, 0);
        }
        link->state = SCPO_AT_CRC_HIGH;
        break;
    case SCPO_AT_CRC_HIGH:
        return scpo_link_end(link, byte == (link->crc >> 8));
    default:
        link->state = byte == SCPO_LINK_START ? SCPO_AT_TYPE : SCPO_AT_START;
        link->crc = 0xFFFFU;
        break;
    }
    return 0;
}

void scpo_link_send(const scpo_server *server, unsigned char type, const unsigned char *payload, uint16_t length)
{
    const unsigned char head[3] = {type, (unsigned char)(length & 0xFFU), (unsigned char)(length >> 8)};
    uint16_t crc = 0xFFFFU;
    int i;
    server->put(server->user, SCPO_LINK_START);
    for (i = 0; i < 3 + length; i++) {
        const unsigned char byte = i < 3 ? head[i] : payload[i - 3];
        crc = scpo_crc16(crc, byte);
        server->put(server->user, byte);
    }
    server->put(server->user, (unsigned char)(crc & 0xFFU));
    server->put(server->user, (unsigned char)(crc >> 8));
}
