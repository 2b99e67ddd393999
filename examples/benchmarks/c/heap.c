/* Counts what the solver asks of the heap; linked with -Wl,--wrap=malloc and so on, so the C library is not counted. */
#include <stdlib.h>

#include "bench.h"

#define HEADER 16 /* keeps the alignment */

void *__real_malloc(size_t size);
void __real_free(void *block);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);
void __wrap_free(void *block);

static size_t now;
static size_t peak;

void *__wrap_malloc(size_t size)
{
    char *block = __real_malloc(size + HEADER);
    if (block == NULL) {
        return NULL;
    }
    *(size_t *)(void *)block = size;
    now += size;
    peak = now > peak ? now : peak;
    return block + HEADER;
}

void __wrap_free(void *block)
{
    if (block != NULL) {
        char *start = (char *)block - HEADER;
        now -= *(size_t *)(void *)start;
        __real_free(start);
    }
}

void *__wrap_calloc(size_t count, size_t size)
{
    char *block = __wrap_malloc(count * size);
    size_t k;
    for (k = 0; block != NULL && k < count * size; k++) {
        block[k] = 0;
    }
    return block;
}

void *__wrap_realloc(void *block, size_t size)
{
    char *grown = __wrap_malloc(size);
    size_t k;
    if (grown != NULL && block != NULL) {
        const size_t old = *(size_t *)(void *)((char *)block - HEADER);
        for (k = 0; k < (old < size ? old : size); k++) {
            grown[k] = ((char *)block)[k];
        }
        __wrap_free(block);
    }
    return grown;
}

size_t bench_heap_peak(void)
{
    return peak;
}
