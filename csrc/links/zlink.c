#include "links/zlink.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "links/libzmq.h"

#define LARGE 65536u /* a slice from this size on is sent without copying */
#define SHARED_FROM 4096u /* what is gathered is sent without copying from this size on */
#define MOST_COPIED (16u << 20) /* in one frame; the interchange takes none much larger than an item */
#define REFUSED_FOR_MS 2000 /* every endpoint has refused so long: nobody is there any more */

struct zlink {
    void *context, *socket, *monitor;
    int socket_fd, monitor_fd;
    int few_fd; /* readable: libzmq has so few bytes left that there may be more */
    atomic_ullong waiting; /* bytes that libzmq has not written yet */
    struct loop *loop;
    struct loop_source source;
    struct link_events events;
    char *endpoint;
    bool lost;
};

struct candidate { /* an endpoint that is being tried */
    const char *endpoint;
    void *socket, *monitor;
    bool refused;
    char why[128];
};

static int64_t zlink_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

const char *zlink_library(const char *path)
{
    static char text[32];
    int major, minor, patch;
    struct err err;
    if (libzmq_load(path, &err))
        return "none";
    zmq_version(&major, &minor, &patch);
    snprintf(text, sizeof text, "%d.%d.%d", major, minor, patch);
    return text;
}

static int zlink_set_int(void *socket, int option, int value)
{
    return zmq_setsockopt(socket, option, &value, sizeof value);
}

static int zlink_try_endpoint(void *context, const struct connect_file *file, int i, struct candidate *c,
                              struct err *err)
{
    char name[64];
    const int wanted = ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                       ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |
                       ZMQ_EVENT_CONNECT_RETRIED | ZMQ_EVENT_CLOSED | ZMQ_EVENT_DISCONNECTED;
    snprintf(name, sizeof name, "inproc://monitor-%d", i);
    *c = (struct candidate){.endpoint = file->endpoints[i], .why = "no answer"};
    c->socket = zmq_socket(context, ZMQ_DEALER);
    c->monitor = zmq_socket(context, ZMQ_PAIR);
    if (!c->socket || !c->monitor)
        return err_set(err, "cannot make a ZeroMQ socket: %s", zmq_strerror(zmq_errno()));
    bool bad = zlink_set_int(c->socket, ZMQ_LINGER, 0) || zlink_set_int(c->socket, ZMQ_SNDHWM, 0) ||
               zlink_set_int(c->socket, ZMQ_RCVHWM, 0) || zlink_set_int(c->socket, ZMQ_IPV6, 1) ||
               zlink_set_int(c->socket, ZMQ_RECONNECT_IVL, 100) || zlink_set_int(c->monitor, ZMQ_LINGER, 0);
    if (*file->server_key)
        bad = bad || zmq_setsockopt(c->socket, ZMQ_CURVE_SERVERKEY, file->server_key, CONNECT_KEY) ||
              zmq_setsockopt(c->socket, ZMQ_CURVE_PUBLICKEY, file->public_key, CONNECT_KEY) ||
              zmq_setsockopt(c->socket, ZMQ_CURVE_SECRETKEY, file->secret_key, CONNECT_KEY);
    if (bad)
        return err_set(err, "cannot set up a ZeroMQ socket (is libzmq %s built with CURVE?): %s", zlink_library(""),
                       zmq_strerror(zmq_errno()));
    if (zmq_socket_monitor(c->socket, name, wanted) || zmq_connect(c->monitor, name) ||
        zmq_connect(c->socket, c->endpoint))
        return err_set(err, "cannot connect to %s: %s", c->endpoint, zmq_strerror(zmq_errno()));
    return 0;
}

static void zlink_drop(struct candidate *c)
{
    if (c->socket)
        zmq_socket_monitor(c->socket, NULL, 0);
    if (c->monitor)
        zmq_close(c->monitor);
    if (c->socket)
        zmq_close(c->socket);
    c->socket = c->monitor = NULL;
}

/* The next event of a monitor, 0 if there is none. */
static int zlink_next_event(void *monitor)
{
    int event = 0;
    zmq_msg_t frame;
    zmq_msg_init(&frame);
    while (zmq_msg_recv(&frame, monitor, ZMQ_DONTWAIT) >= 0) {
        if (!event && zmq_msg_size(&frame) >= 2) { /* number (u16), value (u32); then a frame with the address */
            uint16_t number;
            memcpy(&number, zmq_msg_data(&frame), sizeof number);
            event = number;
        }
        if (!zmq_msg_more(&frame))
            break;
    }
    zmq_msg_close(&frame);
    return event;
}

static bool zlink_answered(struct candidate *c)
{
    int event;
    while ((event = zlink_next_event(c->monitor))) {
        if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED)
            return true;
        c->refused = true;
        snprintf(c->why, sizeof c->why, "%s",
                 event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH || event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL ||
                         event == ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL
                     ? "the handshake failed: not our interchange, or not its keys"
                     : "connection refused");
    }
    return false;
}

/* The loop that would hear of it does not run yet. */
static bool zlink_signal_waits(void)
{
    sigset_t waiting;
    sigpending(&waiting);
    return sigismember(&waiting, SIGTERM) || sigismember(&waiting, SIGINT);
}

/* The first of n candidates that answers; -1: none. */
static int zlink_first_to_answer(struct candidate *c, int n, int timeout_ms)
{
    int64_t start = zlink_now_ms();
    zmq_pollitem_t *items = mem_array((size_t)n, sizeof *items);
    int found = -1;
    for (int i = 0; i < n; i++)
        items[i] = (zmq_pollitem_t){.socket = c[i].monitor, .events = ZMQ_POLLIN};
    while (found < 0) {
        int64_t waited = zlink_now_ms() - start;
        bool all_refused = true;
        for (int i = 0; i < n && found < 0; i++) {
            if (zlink_answered(&c[i]))
                found = i;
            all_refused &= c[i].refused;
        }
        if (zlink_signal_waits())
            break;
        int64_t left = (all_refused && timeout_ms > REFUSED_FOR_MS ? REFUSED_FOR_MS : timeout_ms) - waited;
        if (found >= 0 || left <= 0)
            break;
        zmq_poll(items, n, left < 100 ? left : 100);
    }
    mem_free(items);
    return found;
}

static void zlink_say_why(const struct candidate *c, int n, struct err *err)
{
    struct err all;
    int at = snprintf(all.text, sizeof all.text, "cannot reach the interchange:");
    for (int i = 0; i < n && at < (int)sizeof all.text; i++)
        at +=
            snprintf(all.text + at, sizeof all.text - (size_t)at, "%s %s (%s)", i ? "," : "", c[i].endpoint, c[i].why);
    if (at < (int)sizeof all.text)
        snprintf(all.text + at, sizeof all.text - (size_t)at,
                 ". It may have ended, or this host may not reach it: give the executor the address= that it can");
    *err = all;
}

/* ---- receiving and sending -------------------------------------------------------------------------------------- */

static void zlink_free_frame(void *arg)
{
    zmq_msg_t *frame = arg;
    zmq_msg_close(frame);
    mem_free(frame);
}

/* One frame as bytes; NULL: none there. */
static struct bytes *zlink_take_frame(struct zlink *link, bool *more)
{
    zmq_msg_t *frame = mem_new(sizeof *frame);
    zmq_msg_init(frame);
    if (zmq_msg_recv(frame, link->socket, ZMQ_DONTWAIT) < 0) {
        zlink_free_frame(frame);
        return NULL;
    }
    *more = zmq_msg_more(frame);
    return bytes_adopt(zmq_msg_data(frame), zmq_msg_size(frame), zlink_free_frame, frame);
}

static bool zlink_take_message(struct zlink *link)
{
    bool more;
    struct parts payload = {0};
    struct bytes *head = zlink_take_frame(link, &more);
    if (!head)
        return false;
    while (more) {
        struct bytes *frame = zlink_take_frame(link, &more);
        assert(frame); /* ZeroMQ delivers all frames of a message or none */
        parts_add(&payload, frame, bytes_data(frame), bytes_length(frame));
        bytes_unref(frame);
    }
    struct msg *msg;
    enum wire_error error = msg_read(head, &payload, &msg);
    if (error) {
        log_error("message_bad from=interchange error=%s", wire_error_name(error));
        return true;
    }
    link->events.message(link->events.arg, msg);
    msg_unref(msg);
    return true;
}

struct sent_frame { /* bytes that libzmq holds */
    struct zlink *link;
    struct bytes *owner;
    size_t n;
};

/* In libzmq's thread, when it has written them. The link outlives its context. */
static void zlink_frame_left(void *data, void *hint)
{
    struct sent_frame *sent = hint;
    struct zlink *link = sent->link;
    uint64_t before = atomic_fetch_sub(&link->waiting, sent->n), one = 1;
    (void)data;
    bytes_unref(sent->owner);
    mem_free(sent);
    if (before >= LINK_FEW_BYTES && before - sent->n < LINK_FEW_BYTES && write(link->few_fd, &one, sizeof one) < 0)
        return; /* it is readable already */
}

static void zlink_send_frame(struct zlink *link, zmq_msg_t *frame, bool more)
{
    if (zmq_msg_send(frame, link->socket, ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0)) < 0)
        zmq_msg_close(frame); /* only when the connection is gone, which the monitor tells */
}

static void zlink_send_shared(struct zlink *link, struct bytes *owner, const uint8_t *p, size_t n, bool more)
{
    zmq_msg_t frame;
    struct sent_frame *sent = mem_new(sizeof *sent);
    *sent = (struct sent_frame){link, bytes_ref(owner), n};
    atomic_fetch_add(&link->waiting, n);
    zmq_msg_init_data(&frame, (void *)(uintptr_t)p, n, zlink_frame_left, sent);
    zlink_send_frame(link, &frame, more);
}

/* What was gathered; buf is empty after. Little is copied, which costs libzmq less. */
static void zlink_send_gathered(struct zlink *link, struct buf *buf, bool more)
{
    zmq_msg_t frame;
    if (buf->n >= SHARED_FROM) {
        struct bytes *bytes = buf_take(buf);
        zlink_send_shared(link, bytes, bytes_data(bytes), bytes_length(bytes), more);
        bytes_unref(bytes);
    } else if (zmq_msg_init_size(&frame, buf->n) == 0) {
        memcpy(zmq_msg_data(&frame), buf->p, buf->n);
        zlink_send_frame(link, &frame, more);
    }
    buf->n = 0;
}

void zlink_send(struct zlink *link, struct msg *msg)
{
    struct buf small = {0};
    const struct parts *p = &msg->payload;
    if (link->lost) {
        msg_unref(msg);
        return;
    }
    buf_put(&small, bytes_data(msg->head), bytes_length(msg->head));
    zlink_send_gathered(link, &small, p->n_slices > 0);
    for (size_t i = 0; i < p->n_slices; i++) {
        bool last = i + 1 == p->n_slices;
        if (p->v[i].n < LARGE)
            buf_put(&small, p->v[i].p, p->v[i].n);
        if (small.n && (last || p->v[i].n >= LARGE || small.n >= MOST_COPIED))
            zlink_send_gathered(link, &small, !last || p->v[i].n >= LARGE);
        if (p->v[i].n >= LARGE)
            zlink_send_shared(link, p->v[i].owner, p->v[i].p, p->v[i].n, !last);
    }
    buf_free(&small);
    msg_unref(msg);
}

uint64_t zlink_waiting(const struct zlink *link)
{
    return atomic_load(&link->waiting);
}

/* ---- in the loop ------------------------------------------------------------------------------------------------ */

static void zlink_gone(struct zlink *link, const char *reason)
{
    if (link->lost)
        return;
    link->lost = true;
    link->events.lost(link->events.arg, reason);
}

static bool zlink_turn(void *arg)
{
    struct zlink *link = arg;
    bool any = false;
    for (int i = 0; i < 64 && !link->lost && zlink_take_message(link); i++)
        any = true;
    for (int event; !link->lost && (event = zlink_next_event(link->monitor));)
        if (event == ZMQ_EVENT_DISCONNECTED)
            zlink_gone(link, "the connection to the interchange has ended");
    return any;
}

/* ZMQ_FD tells of a change only once; what is there already is in ZMQ_EVENTS. */
static bool zlink_doze(void *arg)
{
    struct zlink *link = arg;
    int events = 0;
    size_t n = sizeof events;
    if (link->lost)
        return false;
    zmq_getsockopt(link->socket, ZMQ_EVENTS, &events, &n);
    if (events & ZMQ_POLLIN)
        return true;
    zmq_getsockopt(link->monitor, ZMQ_EVENTS, &events, &n);
    return events & ZMQ_POLLIN;
}

static void zlink_on_fd(void *arg, uint32_t events)
{
    (void)arg; /* the turn that follows takes what is there */
    (void)events;
}

static void zlink_on_few(void *arg, uint32_t events)
{
    struct zlink *link = arg;
    uint64_t n;
    (void)events;
    while (read(link->few_fd, &n, sizeof n) > 0)
        ; /* the turn that this makes is all that is wanted */
}

static int zlink_fd_of(void *socket)
{
    int fd = -1;
    size_t n = sizeof fd;
    zmq_getsockopt(socket, ZMQ_FD, &fd, &n);
    return fd;
}

/* ---- opening and closing ---------------------------------------------------------------------------------------- */

static struct zlink *zlink_of(struct candidate *c, void *context, struct loop *loop, const struct link_events *events)
{
    struct zlink *link = mem_new(sizeof *link);
    *link = (struct zlink){.context = context,
                           .socket = c->socket,
                           .monitor = c->monitor,
                           .loop = loop,
                           .source = {zlink_turn, NULL, zlink_doze, NULL, NULL, link},
                           .events = *events,
                           .endpoint = mem_text(c->endpoint)};
    link->socket_fd = zlink_fd_of(link->socket);
    link->monitor_fd = zlink_fd_of(link->monitor);
    link->few_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (link->few_fd >= 0)
        loop_watch(loop, link->few_fd, EPOLLIN, zlink_on_few, link);
    loop_watch(loop, link->socket_fd, EPOLLIN, zlink_on_fd, link);
    loop_watch(loop, link->monitor_fd, EPOLLIN, zlink_on_fd, link);
    loop_add_source(loop, &link->source);
    c->socket = c->monitor = NULL;
    return link;
}

struct zlink *zlink_open(const struct connect_file *file, int timeout_ms, struct loop *loop,
                         const struct link_events *events, struct err *err)
{
    struct zlink *link = NULL;
    if (libzmq_load("", err))
        return NULL;
    struct candidate *all = mem_array((size_t)file->n_endpoints, sizeof *all);
    void *context = zmq_ctx_new();
    int n = 0, failed = 0;
    for (int i = 0; i < file->n_endpoints && !failed; i++)
        if (strncmp(file->endpoints[i], "tcp://", strlen("tcp://")) == 0)
            failed = zlink_try_endpoint(context, file, i, &all[n++], err);
    int found = failed ? -1 : zlink_first_to_answer(all, n, timeout_ms);
    if (found >= 0)
        link = zlink_of(&all[found], context, loop, events);
    else if (!failed)
        zlink_say_why(all, n, err);
    for (int i = 0; i < n; i++)
        zlink_drop(&all[i]);
    mem_free(all);
    if (!link)
        zmq_ctx_term(context);
    return link;
}

void zlink_close(struct zlink *link, int linger_ms)
{
    if (!link)
        return;
    loop_unwatch(link->loop, link->socket_fd);
    loop_unwatch(link->loop, link->monitor_fd);
    zlink_set_int(link->socket, ZMQ_LINGER, link->lost ? 0 : linger_ms);
    zmq_socket_monitor(link->socket, NULL, 0);
    zmq_close(link->monitor);
    zmq_close(link->socket);
    zmq_ctx_term(link->context); /* after it no frame is held any more */
    loop_unwatch(link->loop, link->few_fd);
    if (link->few_fd >= 0)
        close(link->few_fd);
    mem_free(link->endpoint);
    mem_free(link);
}

const char *zlink_endpoint(const struct zlink *link)
{
    return link->endpoint;
}
