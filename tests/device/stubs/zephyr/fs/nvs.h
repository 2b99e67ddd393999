/* What store_nvs.c needs of Zephyr, in memory. */
#ifndef STUB_NVS_H
#define STUB_NVS_H
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

struct nvs_fs {
    unsigned char data[4096];
    size_t size;
};
static inline ssize_t nvs_write(struct nvs_fs *fs, uint16_t id, const void *data, size_t size)
{
    memcpy(fs->data, data, size);
    fs->size = size;
    return id == 1 ? (ssize_t)size : -1;
}
static inline ssize_t nvs_read(struct nvs_fs *fs, uint16_t id, void *data, size_t size)
{
    if (id != 1 || fs->size == 0) {
        return -2;
    }
    memcpy(data, fs->data, size < fs->size ? size : fs->size);
    return (ssize_t)fs->size;
}
#endif
