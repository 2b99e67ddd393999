/* Blobs of any bytes and any size, and the store on a flash that reads, programs and erases as it likes.
 * SPDX-License-Identifier: MIT
 */
#include "eva.h"
#include "scpo_store.h"

#define SECTORS 2U
#define SECTOR_SIZE 256U

static int accepts(void *user, const unsigned char *blob, uint32_t blob_size, const unsigned char *tail, uint32_t tail_size)
{
    (void)user;
    return blob[blob_size - 1U] == 0 || (tail_size > 0U && tail[tail_size - 1U] == 0) ? any() : 1;
}

/* Whatever it reads; what is asked for lies within the flash. */
static int read(void *user, uint32_t address, unsigned char *data, uint32_t size)
{
    (void)user;
    /*@ assert within: address + size <= SECTORS * SECTOR_SIZE; */
    Frama_C_make_unknown((char *)data, size);
    return any();
}

static int program(void *user, uint32_t address, const unsigned char *data, uint32_t size)
{
    (void)user;
    /*@ assert within: address + size <= SECTORS * SECTOR_SIZE; */
    /*@ assert chunk: 0 < size <= 32 && \initialized(data + (0 .. size - 1)); */
    return any();
}

static int erase(void *user, uint32_t address, uint32_t size)
{
    (void)user;
    /*@ assert within: address + size <= SECTORS * SECTOR_SIZE; */
    return any();
}

int main(void)
{
    static unsigned char bytes[SCPO_BLOB_SIZE + 16];
    static scpo_real theta[SCPO_NTHETA];
    static scpo_store store;
    scpo_flash flash = {SECTORS, SECTOR_SIZE, 8U, 0xff, read, program, erase, NULL};
    uint32_t sequence;
    any_reals(theta, SCPO_NTHETA);
    scpo_blob_write(theta, Frama_C_unsigned_int_interval(0, UINT32_MAX), bytes);
    Frama_C_make_unknown((char *)bytes, sizeof bytes);
    (void)scpo_blob_read(bytes, Frama_C_unsigned_int_interval(0, sizeof bytes), any() ? accepts : NULL, NULL, theta,
                         &sequence);
    flash.erased = any() ? 0xff : -1;
    if (scpo_store_begin(&store, &flash) != SCPO_STORE_OK) {
        return 1;
    }
    while (any()) {
        switch (Frama_C_interval(0, 3)) {
        case 0:
            (void)scpo_store_load(&store, theta);
            break;
        case 1:
            any_reals(theta, SCPO_NTHETA);
            (void)scpo_store_save(&store, theta);
            break;
        case 2:
            (void)scpo_store_prepare(&store, Frama_C_unsigned_int_interval(0, 8));
            break;
        default:
            (void)scpo_store_room(&store);
            break;
        }
    }
    return 0;
}
