/* bytes.h: payload memory that several owners share, pieces of it, and a buffer that grows.
 *
 * A payload travels as `parts`: slices whose concatenation counts. Cutting one in two copies no byte. Everything here
 * belongs to one thread, but for the count of owners: libzmq's thread gives up what it has sent. */
#ifndef XSE_BYTES_H
#define XSE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct bytes; /* memory with a count of its owners */

struct bytes *bytes_new(size_t n); /* NULL: out of memory. One owner: the caller */
struct bytes *bytes_adopt(const void *data, size_t n, void (*release)(void *owner), void *owner);
struct bytes *bytes_ref(struct bytes *b);
void bytes_unref(struct bytes *b); /* NULL is fine */
uint8_t *bytes_data(struct bytes *b);
size_t bytes_length(const struct bytes *b);

struct slice {
    struct bytes *owner;
    const uint8_t *p;
    size_t n;
};

struct parts {
    struct slice *v;
    size_t n_slices;
    size_t capacity;
    uint64_t length; /* of all slices */
};

/* A place in parts; the same place as long as nothing is added. */
struct place {
    size_t slice;
    size_t offset; /* within that slice */
};

void parts_clear(struct parts *parts); /* gives up every slice; ready for use again */
void parts_add(struct parts *parts, struct bytes *owner, const uint8_t *p, size_t n); /* takes a reference */
void parts_add_range(struct parts *to, const struct parts *from, struct place at, uint64_t n);
struct place parts_step(const struct parts *parts, struct place at, uint64_t n); /* n bytes on; must exist */
void parts_copy(const struct parts *from, struct place at, uint64_t n, uint8_t *to);
/* Up to `most` iovecs for the n bytes at `at`. Returns how many; *covered says how many bytes they hold. */
int parts_iovec(const struct parts *from, struct place at, uint64_t n, struct iovec *v, int most, uint64_t *covered);

struct buf {
    uint8_t *p;
    size_t n;
    size_t capacity;
};

void buf_free(struct buf *buf);
uint8_t *buf_extend(struct buf *buf, size_t n); /* n more bytes, counted already; valid until the next call */
void buf_put(struct buf *buf, const void *data, size_t n);
struct bytes *buf_take(struct buf *buf); /* its content as bytes; buf is empty after */

#endif
