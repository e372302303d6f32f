#include "wire/outq.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/mem.h"

#define WRITE_SLICES 64 /* in one write */
#define KEEP_SLICES 1024u /* a longer table is given back when the queue is empty */

const char *outq_check(const struct outq *q)
{
    uint64_t length = 0;
    if (q->first > q->end || q->end > q->capacity)
        return "the queue lies outside of its table";
    for (size_t i = q->first; i < q->end; i++)
        length += q->v[i].n;
    if (q->first < q->end ? q->sent >= q->v[q->first].n : q->sent)
        return "a slice that has left is kept";
    return length - q->sent == q->length ? NULL : "the bytes that wait are not counted right";
}

void outq_clear(struct outq *q)
{
    for (size_t i = q->first; i < q->end; i++)
        bytes_unref(q->v[i].owner);
    mem_free(q->v);
    *q = (struct outq){0};
}

static void outq_make_room(struct outq *q)
{
    if (q->end < q->capacity)
        return;
    if (q->first > q->capacity / 2) { /* each slice is moved once at most for one that has left */
        memmove(q->v, q->v + q->first, (q->end - q->first) * sizeof *q->v);
        q->end -= q->first;
        q->first = 0;
        return;
    }
    q->capacity = q->capacity ? 2 * q->capacity : 8;
    q->v = mem_grow(q->v, q->capacity, sizeof *q->v);
}

void outq_add(struct outq *q, struct bytes *owner, const uint8_t *p, size_t n)
{
    struct slice *last = q->first < q->end ? &q->v[q->end - 1] : NULL;
    q->length += n;
    if (last && last->owner == owner && last->p + last->n == p) { /* neighbours in one memory are one slice */
        last->n += n;
        return;
    }
    if (!n)
        return;
    outq_make_room(q);
    q->v[q->end++] = (struct slice){bytes_ref(owner), p, n};
}

void outq_add_parts(struct outq *q, const struct parts *parts)
{
    for (size_t i = 0; i < parts->n_slices; i++)
        outq_add(q, parts->v[i].owner, parts->v[i].p, parts->v[i].n);
}

static int outq_iovec(const struct outq *q, struct iovec *v, int most)
{
    int n = 0;
    for (size_t i = q->first; i < q->end && n < most; i++)
        v[n++] = (struct iovec){(void *)(uintptr_t)q->v[i].p, q->v[i].n};
    v[0].iov_base = (uint8_t *)v[0].iov_base + q->sent;
    v[0].iov_len -= q->sent;
    return n;
}

static void outq_have_left(struct outq *q, size_t n)
{
    q->length -= n;
    q->sent += n;
    while (q->first < q->end && q->sent >= q->v[q->first].n) {
        q->sent -= q->v[q->first].n;
        bytes_unref(q->v[q->first++].owner);
    }
    if (q->first < q->end)
        return;
    q->first = q->end = 0;
    if (q->capacity > KEEP_SLICES)
        outq_clear(q);
}

enum outq_state outq_write(struct outq *q, int fd)
{
    while (q->length) {
        struct iovec v[WRITE_SLICES];
        struct msghdr m = {.msg_iov = v, .msg_iovlen = (size_t)outq_iovec(q, v, WRITE_SLICES)};
        ssize_t n = sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n >= 0)
            outq_have_left(q, (size_t)n);
        else if (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM)
            return OUTQ_FULL;
        else if (errno != EINTR) {
            outq_clear(q);
            return OUTQ_BROKEN;
        }
    }
    return OUTQ_EMPTY;
}

static int64_t outq_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

enum outq_state outq_drain(struct outq *q, int fd, int timeout_ms)
{
    struct pollfd out = {.fd = fd, .events = POLLOUT};
    int64_t until = outq_now_ms() + timeout_ms, left = timeout_ms;
    enum outq_state state;
    while ((state = outq_write(q, fd)) == OUTQ_FULL && left > 0) {
        poll(&out, 1, (int)left); /* EINTR: the time is looked at again */
        left = until - outq_now_ms();
    }
    return state;
}
