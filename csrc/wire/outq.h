/* outq.h: bytes that wait to leave through one stream socket or pipe-like socket. Each slice is given up as soon as its
 * last byte has left: a peer that reads steadily, and never quite catches up, does not make the queue grow.
 *
 * The queue knows neither the loop nor the messages. Its owner asks the loop for EPOLLOUT after OUTQ_FULL, and calls
 * outq_write again when that comes. */
#ifndef XSE_OUTQ_H
#define XSE_OUTQ_H

#include "base/bytes.h"

struct outq { /* zeroed: empty. Read `length`; leave the rest to outq.c */
    struct slice *v;
    size_t first, end, capacity; /* slices first to end - 1 wait */
    size_t sent; /* bytes of the first that have left */
    uint64_t length; /* bytes that wait */
};

enum outq_state {
    OUTQ_EMPTY, /* all has left */
    OUTQ_FULL, /* the socket takes no more now */
    OUTQ_BROKEN, /* the peer is gone. The queue is empty: nothing can leave any more */
};

void outq_add(struct outq *queue, struct bytes *owner, const uint8_t *p, size_t n); /* takes a reference of its own */
void outq_add_parts(struct outq *queue, const struct parts *parts); /* as well, of each slice */
/* Write as much as the socket fd takes. Never blocks. */
enum outq_state outq_write(struct outq *queue, int fd);
/* Blocks until all has left, the peer is gone, or timeout_ms have passed. */
enum outq_state outq_drain(struct outq *queue, int fd, int timeout_ms);
void outq_clear(struct outq *queue);
const char *outq_check(const struct outq *queue); /* what must always hold: NULL, or what does not */

#endif
