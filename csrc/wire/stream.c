#include "wire/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "wire/outq.h"

#ifndef BUFFER /* tests/fuzz has smaller ones, so that messages that are larger are cheap */
#define BUFFER (256u << 10) /* smaller messages are read many at a time */
#define CHUNK (64u << 20) /* a large payload is taken in pieces, so that a length alone takes no memory */
#endif
#define READS 16 /* at a time; then others have their turn */
#define BUSY_BYTES 8192 /* in the kernel's count: some ten small messages */

struct stream {
    struct loop *loop;
    int fd;
    struct stream_events events;
    int taken; /* a copy of fd, to be notified when the peer has read */
    bool over, writing, watches_taken, was_busy;
    struct outq out;
    struct buf in; /* what has come and is not used yet */
    size_t in_at;
    /* A message that is too large for the buffer: */
    struct bytes *head;
    struct parts payload; /* its pieces, the last of them filled up to `filled` */
    uint64_t missing; /* of the payload, beyond that piece */
    size_t filled;
};

static void stream_end(struct stream *s, const char *reason)
{
    if (s->over)
        return;
    s->over = true;
    loop_unwatch(s->loop, s->fd);
    s->events.ended(s->events.arg, reason);
}

/* ---- in --------------------------------------------------------------------------------------------------------- */

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void stream_deliver(struct stream *s, struct bytes *head, struct parts *payload)
{
    char reason[80];
    struct msg *msg;
    enum wire_error error = msg_read(head, payload, &msg);
    if (error) {
        snprintf(reason, sizeof reason, "what came is no message (%s)", wire_error_name(error));
        stream_end(s, reason);
        return;
    }
    s->events.message(s->events.arg, msg);
    msg_unref(msg);
}

static struct bytes *stream_copy(const uint8_t *p, size_t n)
{
    struct buf buf = {0};
    buf_put(&buf, p, n);
    return buf_take(&buf);
}

/* The next piece of a large payload, with what is in the buffer of it. False: no memory. */
static bool stream_next_piece(struct stream *s)
{
    size_t n = s->missing < CHUNK ? (size_t)s->missing : CHUNK, here = s->in.n - s->in_at;
    struct bytes *piece = bytes_new(n);
    if (!piece) {
        stream_end(s, "no memory for a payload");
        return false;
    }
    here = here < n ? here : n;
    memcpy(bytes_data(piece), s->in.p + s->in_at, here);
    parts_add(&s->payload, piece, bytes_data(piece), n);
    bytes_unref(piece);
    s->in_at += here;
    s->filled = here;
    s->missing -= n;
    return true;
}

static size_t stream_to_fill(const struct stream *s)
{
    return s->payload.n_slices ? s->payload.v[s->payload.n_slices - 1].n - s->filled : 0;
}

/* When a piece is full begin the next; after the last the message is whole. */
static void stream_advance(struct stream *s)
{
    while (s->head && !s->over && !stream_to_fill(s)) {
        if (s->missing) {
            if (!stream_next_piece(s))
                return;
            continue;
        }
        struct bytes *head = s->head;
        s->head = NULL;
        stream_deliver(s, head, &s->payload);
    }
}

/* One message out of the buffer, or the beginning of a large one. False: not enough of it has come. */
static bool stream_parse_one(struct stream *s)
{
    const uint8_t *p = s->in.p + s->in_at;
    size_t here = s->in.n - s->in_at;
    if (here < WIRE_PREAMBLE)
        return false;
    size_t n_head = get32(p + 8);
    uint64_t n_payload = get32(p + 16) | (uint64_t)get32(p + 20) << 32;
    if (memcmp(p, "xse\1", 4) != 0 || n_head > WIRE_MAX_HEAD || n_head < WIRE_PREAMBLE ||
        n_payload > WIRE_MAX_PAYLOAD) {
        stream_end(s, "what came is no message");
        return false;
    }
    if (here < n_head || (n_head + n_payload <= BUFFER && here < n_head + n_payload))
        return false;
    s->in_at += n_head;
    if (n_head + n_payload > BUFFER) {
        s->head = stream_copy(p, n_head);
        s->missing = n_payload;
        s->filled = 0;
        stream_advance(s);
        return true;
    }
    struct parts payload = {0};
    if (n_payload) {
        struct bytes *bytes = stream_copy(p + n_head, (size_t)n_payload);
        parts_add(&payload, bytes, bytes_data(bytes), (size_t)n_payload);
        bytes_unref(bytes);
    }
    s->in_at += (size_t)n_payload;
    stream_deliver(s, stream_copy(p, n_head), &payload);
    return true;
}

/* One read. False: nothing more is there now. */
static bool stream_read(struct stream *s)
{
    uint8_t *to;
    size_t space;
    if (s->head) {
        const struct slice *last = &s->payload.v[s->payload.n_slices - 1];
        to = bytes_data(last->owner) + s->filled;
        space = stream_to_fill(s);
    } else {
        if (s->in_at) /* little is left then, mostly */
            memmove(s->in.p, s->in.p + s->in_at, s->in.n - s->in_at);
        s->in.n -= s->in_at;
        s->in_at = 0;
        space = s->in.n < BUFFER ? BUFFER - s->in.n : WIRE_MAX_HEAD; /* only a head can be larger than the buffer */
        to = buf_extend(&s->in, space);
        s->in.n -= space;
    }
    ssize_t got = recv(s->fd, to, space, MSG_DONTWAIT);
    if (got < 0 && errno == EINTR)
        return true;
    if (got < 0 && errno == EAGAIN)
        return false;
    if (got <= 0) {
        stream_end(s, "the connection to the interchange has ended");
        return false;
    }
    if (s->head) {
        s->filled += (size_t)got;
        stream_advance(s);
    } else
        s->in.n += (size_t)got;
    while (!s->head && !s->over && stream_parse_one(s))
        ;
    return (size_t)got == space && !s->over;
}

/* ---- out -------------------------------------------------------------------------------------------------------- */

static void stream_on_ready(void *arg, uint32_t events);

/* Write what the socket takes, and ask the loop for EPOLLOUT as long as something is left. A peer that is gone is told by
 * the next read. */
static void stream_write(struct stream *s)
{
    bool full = outq_write(&s->out, s->fd) == OUTQ_FULL;
    if (full == s->writing)
        return;
    s->writing = full;
    loop_watch(s->loop, s->fd, EPOLLIN | (full ? EPOLLOUT : 0), stream_on_ready, s);
}

void stream_flush(struct stream *s)
{
    if (!s->over && !s->writing)
        stream_write(s);
}

static void stream_on_ready(void *arg, uint32_t events)
{
    struct stream *s = arg;
    if ((events & EPOLLOUT) && s->writing)
        stream_write(s);
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        for (int i = 0; i < READS && stream_read(s); i++)
            ;
}

void stream_send(struct stream *s, struct msg *msg)
{
    if (!s->over) {
        outq_add(&s->out, msg->head, bytes_data(msg->head), bytes_length(msg->head));
        outq_add_parts(&s->out, &msg->payload);
    }
    msg_unref(msg);
}

uint64_t stream_waiting(const struct stream *s)
{
    return s->out.length;
}

/* The turn that this makes is all that is wanted. Nobody has asked since the last time: it was in vain. */
static void stream_on_taken(void *arg, uint32_t events)
{
    struct stream *s = arg;
    (void)events;
    if (!s->was_busy)
        loop_unwatch(s->loop, s->taken);
    s->watches_taken = s->was_busy;
    s->was_busy = false;
}

/* A unix socket has an edge of EPOLLOUT for each read of the peer: unix_write_space in Linux's af_unix.c. */
bool stream_is_busy(struct stream *s)
{
    int unread = 0;
    if (s->over || ioctl(s->fd, SIOCOUTQ, &unread) || unread <= BUSY_BYTES)
        return false;
    if (!s->watches_taken)
        loop_watch(s->loop, s->taken, EPOLLOUT | EPOLLET, stream_on_taken, s);
    return s->watches_taken = s->was_busy = true;
}

/* ---- life ------------------------------------------------------------------------------------------------------- */

struct stream *stream_new(struct loop *loop, int fd, const struct stream_events *events)
{
    struct stream *s = mem_new(sizeof *s);
    s->loop = loop;
    s->fd = fd;
    s->taken = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    s->events = *events;
    loop_watch(loop, fd, EPOLLIN, stream_on_ready, s);
    return s;
}

void stream_close(struct stream *s, int linger_ms)
{
    if (!s->over) {
        outq_drain(&s->out, s->fd, linger_ms);
        loop_unwatch(s->loop, s->fd);
    }
    loop_unwatch(s->loop, s->taken);
    close(s->taken);
    close(s->fd);
    outq_clear(&s->out);
    parts_clear(&s->payload);
    bytes_unref(s->head);
    buf_free(&s->in);
    mem_free(s);
}
