/* What store_zephyr.c needs of Zephyr, in memory. */
#ifndef STUB_FLASH_MAP_H
#define STUB_FLASH_MAP_H
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

struct flash_area {
    size_t fa_size;
};
#define FIXED_PARTITION_ID(label) stub_##label
enum { stub_storage_partition = 3 };
static struct flash_area stub_area = {8192};
static unsigned char stub_flash[8192];

static inline int flash_area_open(uint8_t id, const struct flash_area **area)
{
    *area = &stub_area;
    return id == stub_storage_partition ? 0 : -1;
}
static inline int flash_area_read(const struct flash_area *area, off_t at, void *data, size_t size)
{
    memcpy(data, stub_flash + at, size);
    return area == &stub_area ? 0 : -1;
}
static inline int flash_area_write(const struct flash_area *area, off_t at, const void *data, size_t size)
{
    memcpy(stub_flash + at, data, size);
    return area == &stub_area ? 0 : -1;
}
static inline int flash_area_erase(const struct flash_area *area, off_t at, size_t size)
{
    memset(stub_flash + at, 0xff, size);
    return area == &stub_area ? 0 : -1;
}
static inline uint32_t flash_area_align(const struct flash_area *area)
{
    return area == &stub_area ? 8 : 0;
}
static inline uint8_t flash_area_erased_val(const struct flash_area *area)
{
    return area == &stub_area ? 0xff : 0;
}
#endif
