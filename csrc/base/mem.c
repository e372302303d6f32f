#include "base/mem.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *mem_or_end(void *p)
{
    static const char line[] = "xse-pool: out of memory; this process ends and what it ran is reported lost\n";
    if (p)
        return p;
    if (write(STDERR_FILENO, line, sizeof line - 1) < 0)
        _exit(70);
    _exit(70);
}

void *mem_array(size_t n, size_t size)
{
    return mem_or_end(calloc(n ? n : 1, size ? size : 1));
}

void *mem_new(size_t n)
{
    return mem_array(1, n);
}

void *mem_grow(void *p, size_t n, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(n, size, &total))
        return mem_or_end(NULL);
    return mem_or_end(realloc(p, total ? total : 1));
}

char *mem_text_n(const char *text, size_t n)
{
    char *copy = mem_new(n + 1);
    memcpy(copy, text, n);
    return copy;
}

char *mem_text(const char *text)
{
    return text ? mem_text_n(text, strlen(text)) : NULL;
}

void mem_free(void *p)
{
    free(p);
}

/* Large payloads come one after the other; to give each one's pages back, and have them cleared for the next, took as long
 * as to copy it. These are the limits to which glibc moves by itself in time. */
void mem_keep(void)
{
#ifdef __GLIBC__
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 64 << 20);
#endif
}
