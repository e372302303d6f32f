/* A byte stream from the interchange, good messages and rubbish, cut anywhere: what arrives is what a reader of the whole
 * would have found, and the first rubbish ends the connection. */
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "feed.h"
#include "limit.h"
#include "wire/stream.h"

#define MOST_BYTES (16 * BUFFER) /* of one input */

struct world {
    struct loop *loop;
    struct stream *stream;
    struct buf wire; /* all that will be sent */
    size_t sent, checked; /* of it: sent, and found in messages */
    uint32_t cut; /* state of what cuts it */
    int fds[2];
    bool ended;
};

static void check_bytes(struct world *w, const uint8_t *p, size_t n)
{
    MUST(n <= w->sent - w->checked && memcmp(w->wire.p + w->checked, p, n) == 0);
    w->checked += n;
}

static void on_message(void *arg, struct msg *msg)
{
    struct world *w = arg;
    MUST(!w->ended);
    check_bytes(w, bytes_data(msg->head), bytes_length(msg->head));
    for (size_t i = 0; i < msg->payload.n_slices; i++)
        check_bytes(w, msg->payload.v[i].p, msg->payload.v[i].n);
}

static void on_ended(void *arg, const char *reason)
{
    struct world *w = arg;
    MUST(!w->ended && *reason);
    w->ended = true;
}

/* A piece a turn; when all has been read, the end. */
static bool turn(void *arg)
{
    struct world *w = arg;
    int waiting = 0;
    w->cut = w->cut * 1103515245u + 12345u; /* as in C's own example of rand */
    size_t n = w->wire.n - w->sent,
           most = w->cut >> 16 & 1 ? 1 + (w->cut >> 20) % 64 : 1 + (w->cut >> 8) % (BUFFER + BUFFER / 4);
    if (n && !w->ended) {
        ssize_t got = send(w->fds[1], w->wire.p + w->sent, n < most ? n : most, MSG_DONTWAIT | MSG_NOSIGNAL);
        w->sent += got > 0 ? (size_t)got : 0;
        return true;
    }
    if (w->ended || (ioctl(w->fds[0], FIONREAD, &waiting) == 0 && !waiting))
        loop_end(w->loop);
    return true;
}

/* A BYE with an exception: the head that is made soonest, of those that have a payload. */
static void put_message(struct world *w, size_t n_payload, uint8_t fill)
{
    struct buf head = {0};
    struct wire_text reason = {"raised, and somebody said why", fill % 30};
    struct wire_message bye = {
        .type = WIRE_BYE, .count = WIRE_SETUP_RAISED, .payload_length = n_payload, .ending = {reason}};
    wire_put(&head, &bye);
    buf_put(&w->wire, head.p, head.n);
    buf_free(&head);
    memset(buf_extend(&w->wire, n_payload), fill, n_payload);
}

static void assemble(struct world *w, struct feed *f)
{
    w->cut = (uint32_t)feed_number(f, 2);
    while (feed_left(f) && w->wire.n < MOST_BYTES) {
        uint8_t op = feed_byte(f);
        size_t n = feed_byte(f);
        const uint8_t *p;
        if (op < 128) {
            p = feed_bytes(f, &n);
            buf_put(&w->wire, p, n);
        } else if (op < 254)
            put_message(w, n, op);
        else
            put_message(w, n * (BUFFER / 16), op); /* larger than the buffer, at times, and than a chunk */
    }
}

/* What a reader of the whole finds: the bytes of its messages, and whether rubbish follows them. */
static size_t read_whole(const struct buf *wire, bool *rubbish)
{
    size_t at = 0;
    *rubbish = false;
    while (wire->n - at >= WIRE_PREAMBLE) {
        struct wire_message m;
        uint64_t numbers[3];
        memcpy(numbers, wire->p + at, sizeof numbers);
        uint64_t n_head = (uint32_t)numbers[1], n_payload = numbers[2];
        *rubbish = memcmp(wire->p + at, "xse\1", 4) != 0 || n_head < WIRE_PREAMBLE || n_head > WIRE_MAX_HEAD ||
                   n_payload > WIRE_MAX_PAYLOAD;
        if (*rubbish || n_head + n_payload > wire->n - at)
            break;
        *rubbish = wire_decode(wire->p + at, n_head, n_payload, &m) != WIRE_OK;
        if (*rubbish)
            break;
        at += n_head + n_payload;
    }
    return at;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct buf wire; /* its memory is used again */
    struct feed feed = {data, data + size};
    struct world w = {.wire = wire};
    struct err err;
    bool rubbish;
    assemble(&w, &feed);
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, w.fds) == 0);
    w.loop = loop_new(&err);
    MUST(w.loop);
    w.stream = stream_new(w.loop, w.fds[0], &(struct stream_events){on_message, on_ended, &w});
    loop_add_source(w.loop, &(struct loop_source){.turn = turn, .arg = &w});
    limit_begin(12 * BUFFER);
    loop_run(w.loop);
    bool refused = limit_end();
    size_t whole = read_whole(&w.wire, &rubbish);
    if (refused)
        MUST(w.ended);
    else
        MUST(w.checked == whole && w.ended == rubbish);
    stream_close(w.stream, 0);
    close(w.fds[1]);
    loop_free(w.loop);
    wire = w.wire;
    wire.n = 0;
    return 0;
}
