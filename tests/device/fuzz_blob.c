/* What reads bytes of others: the blob reader and the store, on random and on nearly right bytes.
 *
 *     fuzz_blob SEED BLOBS FLASHES
 */
#include "flash_sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int accepts(void *user, const unsigned char *blob, uint32_t blob_size, const unsigned char *tail, uint32_t tail_size)
{
    uint32_t i, sum = blob_size;
    for (i = 0; i < blob_size; i++) {
        sum += blob[i];
    }
    for (i = 0; i < tail_size; i++) {
        sum += tail[i];
    }
    return user != 0 ? 1 : (int)(sum & 1u);
}

/* Mutates a right blob in memory of exactly its size, at any alignment; whether it was accepted though it is not the right one. */
static int read_one(sim *chance, long *accepted)
{
    scpo_real theta[SCPO_NTHETA], before[SCPO_NTHETA];
    unsigned char page[SCPO_BLOB_SIZE + 8], *right;
    uint32_t size = SCPO_BLOB_SIZE + (draw(chance, 4) ? 0 : draw(chance, 80)), sequence = 7, i, changes;
    unsigned char *block, *blob;
    const uint32_t odd = draw(chance, 8);
    scpo_store_status status;
    int same, signed_too = draw(chance, 2) != 0;
    for (i = 0; i < SCPO_NTHETA; i++) {
        theta[i] = before[i] = (scpo_real)draw(chance, 1000) - (scpo_real)0.5;
    }
    right = page + odd;
    scpo_blob_write(theta, draw(chance, 100), right);
    if (draw(chance, 4) == 0) {
        size = draw(chance, SCPO_BLOB_SIZE + 1);
    }
    block = (unsigned char *)malloc(odd + (size > 0 ? size : 1));
    blob = block + odd;
    for (i = 0; i < size; i++) {
        blob[i] = i < SCPO_BLOB_SIZE ? right[i] : (unsigned char)draw(chance, 256);
    }
    changes = draw(chance, 6) == 0 ? size : draw(chance, 4);
    while (changes-- > 0 && size > 0) {
        blob[draw(chance, size)] = (unsigned char)draw(chance, 256);
    }
    same = size >= SCPO_BLOB_SIZE && memcmp(blob, right, SCPO_BLOB_SIZE) == 0;
    status = scpo_blob_read(blob, size, signed_too ? accepts : 0, chance, theta, &sequence);
    free(block);
    *accepted += status == SCPO_STORE_OK;
    if (status == SCPO_STORE_OK) {
        return !same;
    }
    return sequence != 7 || memcmp(theta, before, sizeof theta) != 0 || (same && (signed_too || size == SCPO_BLOB_SIZE));
}

/* A flash of records, seals and noise, which is read, prepared and saved to. */
static int use_one(sim *chance, sim *flash)
{
    const uint32_t unit = 1u << draw(chance, 6), sectors = 2 + draw(chance, 3);
    const uint32_t size = 12 * (unit > 8 ? unit : 8) + (1 + draw(chance, 4)) * (32 + (unit > 16 ? unit : 16));
    unsigned char seal[8] = {0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff};
    scpo_real theta[SCPO_NTHETA] = {1};
    unsigned char blob[SCPO_BLOB_SIZE];
    scpo_store store;
    uint32_t i;
    sim_make(flash, sectors, size, unit, draw(chance, 4) ? 0xff : -1, chance->random);
    flash->flash.user = flash;
    flash->mood = READS_EITHER;
    for (i = 0; i < sectors; i++) {
        uint32_t at = i * size + 12 * (unit > 8 ? unit : 8);
        seal[0] = (unsigned char)draw(chance, 256);
        seal[4] = (unsigned char)~seal[0];
        memcpy(flash->data + i * size, seal, sizeof seal);
        while (at + sizeof blob <= (i + 1) * size) {
            scpo_blob_write(theta, chance->random & 1 ? draw(chance, 50) : (uint32_t)chance->random, blob);
            memcpy(flash->data + at, blob, sizeof blob);
            at += 32 + ((uint32_t)sizeof blob - 32 + unit - 1) / unit * unit;
        }
    }
    for (i = draw(chance, 100); i > 0; i--) {
        const uint32_t at = draw(chance, sectors * size);
        flash->data[at] = (unsigned char)draw(chance, 256);
        flash->kind[at / unit] = (unsigned char)(DONE + (draw(chance, 8) ? 0 : draw(chance, 3)));
    }
    if (scpo_store_begin(&store, &flash->flash) != SCPO_STORE_OK) {
        return 1;
    }
    if (scpo_store_load(&store, theta) == SCPO_STORE_OK ? theta[0] != 1 : theta[0] != 0) {
        return 1;
    }
    theta[0] = 1;
    for (i = 0; i < 20 && scpo_store_prepare(&store, 1) != SCPO_STORE_OK; i++) {
        ; /* until home can be sealed, or is another one */
    }
    return scpo_store_save(&store, theta) != SCPO_STORE_OK ||
           scpo_store_load(&store, theta) != SCPO_STORE_OK || theta[0] != 1;
}

int main(int argc, char **argv)
{
    static sim chance, flash;
    const long blobs = argc > 2 ? atol(argv[2]) : 1000, flashes = argc > 3 ? atol(argv[3]) : 1000;
    long k, accepted = 0, faults = 0;
    chance.random = argc > 1 ? (uint64_t)atol(argv[1]) : 1;
    for (k = 0; k < blobs; k++) {
        faults += read_one(&chance, &accepted);
    }
    for (k = 0; k < flashes; k++) {
        faults += use_one(&chance, &flash);
    }
    printf("fuzz: blobs %ld accepted %ld flashes %ld faults %ld\n", blobs, accepted, flashes, faults);
    return faults != 0;
}
