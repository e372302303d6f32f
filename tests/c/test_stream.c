/* stream: messages pass whole and in order whatever the socket does to them, and rubbish ends the connection. */
#include "wire/stream.h"

#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "messages.h"

struct end_of_wire {
    struct loop *loop;
    struct stream *stream;
    struct outbox in;
    int wanted;
    char ended[128];
};

static void on_message(void *arg, struct msg *msg)
{
    struct end_of_wire *e = arg;
    outbox_add(&e->in, 0, msg_ref(msg));
    if (e->in.n == e->wanted)
        loop_end(e->loop);
}

static void on_ended(void *arg, const char *reason)
{
    struct end_of_wire *e = arg;
    snprintf(e->ended, sizeof e->ended, "%s", reason);
    loop_end(e->loop);
}

static void open_end(struct end_of_wire *e, struct loop *loop, int fd, int wanted)
{
    memset(e, 0, sizeof *e);
    e->loop = loop;
    e->wanted = wanted;
    e->stream = stream_new(loop, fd, &(struct stream_events){on_message, on_ended, e});
}

static void close_end(struct end_of_wire *e)
{
    stream_close(e->stream, 0);
    outbox_clear(&e->in);
}

static void check_value(const struct msg *msg, size_t n)
{
    CHECK_EQUAL(wire_id(&msg->wire, 0), n);
    CHECK_EQUAL(msg->payload.length, n);
    uint8_t *all = malloc(n + 1);
    parts_copy(&msg->payload, (struct place){0, 0}, n, all);
    size_t wrong = 0;
    for (size_t i = 0; i < n; i++)
        wrong += all[i] != (uint8_t)(i * 31 + n);
    CHECK_EQUAL(wrong, 0);
    free(all);
}

static void messages_of_every_size_arrive_whole_and_in_order(void)
{
    static const size_t sizes[] = {0, 1, 100, 65535, 65536, 262000, 262144, 262145, 5000000, 3, 70000000, 0, 9};
    const int n = sizeof sizes / sizeof sizes[0];
    int pair[2];
    struct err err;
    struct end_of_wire a, b;
    struct loop *loop = loop_new(&err);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "no pair");
    open_end(&a, loop, pair[0], 0);
    open_end(&b, loop, pair[1], n);
    for (int i = 0; i < n; i++)
        stream_send(a.stream, make_result_of(sizes[i], sizes[i]));
    stream_flush(a.stream); /* the rest follows from the loop */
    loop_run(loop);
    CHECK_EQUAL(b.in.n, n);
    for (int i = 0; i < b.in.n; i++)
        check_value(b.in.v[i], sizes[i]);
    close_end(&a);
    close_end(&b);
    loop_free(loop);
}

struct dripping { /* a message that is written a byte a turn */
    struct loop *loop;
    struct loop_timer timer;
    struct buf all;
    size_t at;
    int fd;
};

static void drip(void *arg)
{
    struct dripping *d = arg;
    CHECK(write(d->fd, d->all.p + d->at++, 1) == 1, "not written");
    if (d->at < d->all.n)
        loop_at(d->loop, &d->timer, 0);
}

static void a_message_that_comes_byte_by_byte_is_a_message(void)
{
    int pair[2];
    struct err err;
    struct end_of_wire b;
    struct loop *loop = loop_new(&err);
    struct msg *msg = make_tasks(1, 20, 'f', 0);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "no pair");
    struct dripping d = {.loop = loop, .timer = {.due = drip, .arg = &d}, .fd = pair[0]};
    for (int twice = 0; twice < 2; twice++) {
        buf_put(&d.all, bytes_data(msg->head), bytes_length(msg->head));
        parts_copy(&msg->payload, (struct place){0, 0}, msg->payload.length,
                   buf_extend(&d.all, (size_t)msg->payload.length));
    }
    open_end(&b, loop, pair[1], 2);
    loop_at(loop, &d.timer, 0);
    loop_run(loop);
    CHECK_EQUAL(b.in.n, 2);
    for (int i = 0; i < b.in.n; i++)
        CHECK_EQUAL(b.in.v[i]->wire.count, 20);
    buf_free(&d.all);
    msg_unref(msg);
    close(pair[0]);
    close_end(&b);
    loop_free(loop);
}

/* Somebody who waits for the peer to read, which it does when the loop is about to sleep. */
struct waiting {
    struct loop *loop;
    struct stream *stream;
    int peer;
    bool in_time;
};

static bool look(void *arg)
{
    struct waiting *w = arg;
    if (!stream_is_busy(w->stream)) {
        w->in_time = true;
        loop_end(w->loop);
    }
    return false;
}

static bool let_peer_read(void *arg)
{
    static uint8_t all[65536];
    CHECK(recv(((struct waiting *)arg)->peer, all, sizeof all, 0) > 0, "nothing came");
    return false;
}

static void too_late(void *arg)
{
    loop_end(arg);
}

static void a_peer_that_does_not_read_makes_it_busy_and_its_reading_makes_a_turn(void)
{
    int pair[2], n = 0;
    struct err err;
    struct end_of_wire a;
    struct loop *loop = loop_new(&err);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "no pair");
    open_end(&a, loop, pair[0], 1);
    CHECK(!stream_is_busy(a.stream), "nothing was sent");
    while (!stream_is_busy(a.stream) && n++ < 100) {
        stream_send(a.stream, make_result_of(100, 100));
        stream_flush(a.stream);
    }
    CHECK(n > 1 && n < 100, "busy after %d messages", n);
    struct waiting w = {.loop = loop, .stream = a.stream, .peer = pair[1]};
    struct loop_source source = {.turn = look, .doze = let_peer_read, .arg = &w};
    struct loop_timer timer = {.due = too_late, .arg = loop};
    loop_add_source(loop, &source);
    loop_at(loop, &timer, loop_now_us(loop) + 5000000);
    loop_run(loop);
    CHECK(w.in_time && timer.set, "no turn after the peer has read");
    close_end(&a);
    close(pair[1]);
    loop_free(loop);
}

static void rubbish(const char *bytes, size_t n, const char *expected)
{
    int pair[2];
    struct err err;
    struct end_of_wire b;
    struct loop *loop = loop_new(&err);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "no pair");
    open_end(&b, loop, pair[1], 1);
    CHECK(write(pair[0], bytes, n) == (ssize_t)n, "not written");
    close(pair[0]);
    loop_run(loop);
    CHECK_EQUAL(b.in.n, 0);
    CHECK(strstr(b.ended, expected), "%s", b.ended);
    close_end(&b);
    loop_free(loop);
}

static void rubbish_ends_the_connection(void)
{
    static const char http[] = "GET / HTTP/1.1\r\nHost: here\r\n\r\n";
    static const char version[32] = "xse\2";
    static const char huge_head[32] = "xse\1\1\0\0\0\xff\xff\xff\xff";
    static const char huge_payload[32] = "xse\1\2\0\0\0\x18\0\0\0\1\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff";
    static const char bad_body[24] = "xse\1\2\0\0\0\x18\0\0\0\1"; /* RESULTS without its columns */
    rubbish(http, sizeof http - 1, "no message");
    rubbish(version, sizeof version, "no message");
    rubbish(huge_head, sizeof huge_head, "no message");
    rubbish(huge_payload, sizeof huge_payload, "no message");
    rubbish(bad_body, sizeof bad_body, "SHORT");
    rubbish("xse\1", 4, "ended");
}

int main(void)
{
    quiet();
    messages_of_every_size_arrive_whole_and_in_order();
    a_message_that_comes_byte_by_byte_is_a_message();
    a_peer_that_does_not_read_makes_it_busy_and_its_reading_makes_a_turn();
    rubbish_ends_the_connection();
    return check_end("stream");
}
