#include "links/mpx_frame.h"

#include <string.h>

#include "base/mem.h"

static uint64_t get64(const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

static uint32_t head_length(const uint8_t *p)
{
    return (uint32_t)p[8] | (uint32_t)p[9] << 8 | (uint32_t)p[10] << 16 | (uint32_t)p[11] << 24;
}

enum wire_error mpx_frame_read(struct bytes *frame, bool announces, struct msg **out)
{
    struct parts payload = {0};
    size_t n = bytes_length(frame);
    uint8_t *data = bytes_data(frame);
    *out = NULL;
    size_t n_head = n >= WIRE_PREAMBLE ? head_length(data) : 0;
    if (n < WIRE_PREAMBLE || n_head > n || n_head < WIRE_PREAMBLE || (announces && (n - n_head) % 8)) {
        bytes_unref(frame);
        return WIRE_SHORT;
    }
    uint64_t sum = announces ? 0 : n - n_head;
    for (size_t at = n_head; announces && at < n; at += 8)
        if (__builtin_add_overflow(sum, get64(data + at), &sum))
            sum = UINT64_MAX;
    struct wire_message wire; /* looked at before any memory is taken at its word */
    enum wire_error error = wire_decode(data, n_head, sum, &wire);
    if (error) {
        bytes_unref(frame);
        return error;
    }
    if (!announces)
        parts_add(&payload, frame, data + n_head, n - n_head);
    for (size_t at = n_head; announces && at < n; at += 8) {
        uint64_t size = get64(data + at);
        struct bytes *piece = size && size <= MPX_PIECE ? bytes_new(size) : NULL;
        if (!piece) {
            bytes_unref(frame);
            parts_clear(&payload);
            return WIRE_BAD_LENGTH;
        }
        parts_add(&payload, piece, bytes_data(piece), size);
        bytes_unref(piece);
    }
    struct bytes *head = bytes_adopt(data, n_head, (void (*)(void *))bytes_unref, frame);
    return msg_read(head, &payload, out);
}

struct bytes *mpx_frame_small(const struct msg *msg)
{
    struct buf buf = {0};
    buf_put(&buf, bytes_data(msg->head), bytes_length(msg->head));
    parts_copy(&msg->payload, (struct place){0, 0}, msg->payload.length, buf_extend(&buf, (size_t)msg->payload.length));
    return buf_take(&buf);
}

struct bytes *mpx_frame_announce(const struct msg *msg, const struct parts *pieces)
{
    struct buf buf = {0};
    buf_put(&buf, bytes_data(msg->head), bytes_length(msg->head));
    for (size_t i = 0; i < pieces->n_slices; i++)
        for (int byte = 0; byte < 8; byte++)
            *buf_extend(&buf, 1) = (uint8_t)(pieces->v[i].n >> 8 * byte);
    return buf_take(&buf);
}

static void gather(struct parts *pieces, struct buf *small)
{
    if (!small->n)
        return;
    struct bytes *bytes = buf_take(small);
    parts_add(pieces, bytes, bytes_data(bytes), bytes_length(bytes));
    bytes_unref(bytes);
}

/* parts_add would join the halves of a slice that was cut for its size; here they stay apart. */
static void add_cut(struct parts *pieces, const struct slice *s)
{
    for (size_t at = 0; at < s->n; at += MPX_PIECE) {
        size_t n = s->n - at < MPX_PIECE ? s->n - at : MPX_PIECE;
        struct bytes *half = bytes_adopt(s->p + at, n, (void (*)(void *))bytes_unref, bytes_ref(s->owner));
        parts_add(pieces, half, s->p + at, n);
        bytes_unref(half);
    }
}

void mpx_frame_pieces(const struct msg *msg, struct parts *pieces)
{
    struct buf small = {0};
    for (size_t i = 0; i < msg->payload.n_slices; i++) {
        const struct slice *s = &msg->payload.v[i];
        if (s->n < MPX_SMALL && small.n + s->n < MPX_PIECE) {
            buf_put(&small, s->p, s->n);
            continue;
        }
        gather(pieces, &small);
        add_cut(pieces, s);
    }
    gather(pieces, &small);
}
