/* What store_littlefs.c needs of littlefs, in memory. */
#ifndef STUB_LFS_H
#define STUB_LFS_H
#include <stdint.h>
#include <string.h>

typedef int32_t lfs_ssize_t;
typedef uint32_t lfs_size_t;
typedef struct {
    unsigned char data[4096];
    lfs_ssize_t size;
} lfs_t;
typedef struct {
    int flags;
} lfs_file_t;
enum { LFS_O_RDONLY = 1, LFS_O_WRONLY = 2, LFS_O_CREAT = 0x0100, LFS_O_TRUNC = 0x0400 };

static inline int lfs_file_open(lfs_t *lfs, lfs_file_t *file, const char *path, int flags)
{
    file->flags = flags;
    return strcmp(path, "theta") != 0 || (lfs->size == 0 && !(flags & LFS_O_CREAT)) ? -2 : 0;
}
static inline lfs_ssize_t lfs_file_write(lfs_t *lfs, lfs_file_t *file, const void *data, lfs_size_t size)
{
    memcpy(lfs->data, data, size);
    lfs->size = (lfs_ssize_t)size;
    return file->flags & LFS_O_WRONLY ? lfs->size : -9;
}
static inline lfs_ssize_t lfs_file_read(lfs_t *lfs, lfs_file_t *file, void *data, lfs_size_t size)
{
    memcpy(data, lfs->data, size);
    return file->flags & LFS_O_RDONLY ? lfs->size : -9;
}
static inline int lfs_file_close(lfs_t *lfs, lfs_file_t *file)
{
    return lfs->size > 0 && file->flags != 0 ? 0 : -9;
}
#endif
