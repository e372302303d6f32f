#include "base/bytes.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct bytes {
    atomic_size_t n_owners;
    size_t n;
    uint8_t *data;
    void (*release)(void *owner);
    void *owner;
};

struct bytes *bytes_new(size_t n)
{
    if (n > SIZE_MAX - sizeof(struct bytes))
        return NULL;
    struct bytes *b = malloc(sizeof *b + n);
    if (!b)
        return NULL;
    atomic_init(&b->n_owners, 1);
    b->n = n;
    b->data = (uint8_t *)(b + 1);
    b->release = NULL;
    b->owner = NULL;
    return b;
}

struct bytes *bytes_adopt(const void *data, size_t n, void (*release)(void *owner), void *owner)
{
    struct bytes *b = mem_new(sizeof *b);
    atomic_init(&b->n_owners, 1);
    b->n = n;
    b->data = (uint8_t *)(uintptr_t)data;
    b->release = release;
    b->owner = owner;
    return b;
}

struct bytes *bytes_ref(struct bytes *b)
{
    atomic_fetch_add_explicit(&b->n_owners, 1, memory_order_relaxed);
    return b;
}

void bytes_unref(struct bytes *b)
{
    if (!b || atomic_fetch_sub_explicit(&b->n_owners, 1, memory_order_acq_rel) > 1)
        return;
    if (b->release)
        b->release(b->owner);
    free(b);
}

uint8_t *bytes_data(struct bytes *b)
{
    return b->data;
}

size_t bytes_length(const struct bytes *b)
{
    return b->n;
}

void parts_clear(struct parts *parts)
{
    for (size_t i = 0; i < parts->n_slices; i++)
        bytes_unref(parts->v[i].owner);
    mem_free(parts->v);
    *parts = (struct parts){0};
}

void parts_add(struct parts *parts, struct bytes *owner, const uint8_t *p, size_t n)
{
    if (!n)
        return;
    parts->length += n;
    if (parts->n_slices) { /* neighbours in one memory are one slice */
        struct slice *last = &parts->v[parts->n_slices - 1];
        if (last->owner == owner && last->p + last->n == p) {
            last->n += n;
            return;
        }
    }
    if (parts->n_slices == parts->capacity) {
        parts->capacity = parts->capacity ? 2 * parts->capacity : 4;
        parts->v = mem_grow(parts->v, parts->capacity, sizeof *parts->v);
    }
    parts->v[parts->n_slices++] = (struct slice){bytes_ref(owner), p, n};
}

void parts_add_range(struct parts *to, const struct parts *from, struct place at, uint64_t n)
{
    while (n) {
        assert(at.slice < from->n_slices);
        const struct slice *s = &from->v[at.slice];
        size_t here = s->n - at.offset;
        if (here > n)
            here = (size_t)n;
        parts_add(to, s->owner, s->p + at.offset, here);
        n -= here;
        at = (struct place){at.slice + 1, 0};
    }
}

struct place parts_step(const struct parts *parts, struct place at, uint64_t n)
{
    while (n) {
        assert(at.slice < parts->n_slices);
        size_t here = parts->v[at.slice].n - at.offset;
        if (n < here)
            return (struct place){at.slice, at.offset + (size_t)n};
        n -= here;
        at = (struct place){at.slice + 1, 0};
    }
    return at;
}

int parts_iovec(const struct parts *from, struct place at, uint64_t n, struct iovec *v, int most, uint64_t *covered)
{
    int used = 0;
    *covered = 0;
    while (n && used < most) {
        assert(at.slice < from->n_slices);
        const struct slice *s = &from->v[at.slice];
        size_t here = s->n - at.offset;
        if (here > n)
            here = (size_t)n;
        v[used++] = (struct iovec){(void *)(uintptr_t)(s->p + at.offset), here};
        *covered += here;
        n -= here;
        at = (struct place){at.slice + 1, 0};
    }
    return used;
}

void parts_copy(const struct parts *from, struct place at, uint64_t n, uint8_t *to)
{
    while (n) {
        struct iovec v;
        uint64_t here;
        parts_iovec(from, at, n, &v, 1, &here);
        memcpy(to, v.iov_base, v.iov_len);
        to += here;
        n -= here;
        at = parts_step(from, at, here);
    }
}

void buf_free(struct buf *buf)
{
    mem_free(buf->p);
    *buf = (struct buf){0};
}

uint8_t *buf_extend(struct buf *buf, size_t n)
{
    if (n > buf->capacity - buf->n || !buf->p) { /* never NULL: to that not even 0 may be added */
        size_t capacity = buf->capacity ? 2 * buf->capacity : 256;
        while (capacity - buf->n < n)
            capacity *= 2;
        buf->p = mem_grow(buf->p, capacity, 1);
        buf->capacity = capacity;
    }
    buf->n += n;
    return buf->p + buf->n - n;
}

void buf_put(struct buf *buf, const void *data, size_t n)
{
    if (n)
        memcpy(buf_extend(buf, n), data, n);
}

struct bytes *buf_take(struct buf *buf)
{
    struct bytes *b = bytes_adopt(buf->p, buf->n, mem_free, buf->p);
    *buf = (struct buf){0};
    return b;
}
