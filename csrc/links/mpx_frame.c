#include "links/mpx_frame.h"

#include <string.h>

#include "base/mem.h"

/* A head, and a piece's size for each piece of the largest payload; what is gathered may fill pieces by half. */
#define MOST_TABLE (WIRE_MAX_HEAD + 2 * (WIRE_MAX_PAYLOAD / MPX_COPIED) * 8)

static uint64_t frame_get64(const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

static uint32_t frame_head_length(const uint8_t *p)
{
    return (uint32_t)p[8] | (uint32_t)p[9] << 8 | (uint32_t)p[10] << 16 | (uint32_t)p[11] << 24;
}

enum wire_error mpx_frame_read(struct bytes *bytes, bool is_table, struct msg **out)
{
    struct parts payload = {0};
    size_t n = bytes_length(bytes);
    uint8_t *data = bytes_data(bytes);
    *out = NULL;
    size_t n_head = n >= WIRE_PREAMBLE ? frame_head_length(data) : 0;
    if (n < WIRE_PREAMBLE || n_head > n || n_head < WIRE_PREAMBLE || (is_table && (n - n_head) % 8)) {
        bytes_unref(bytes);
        return WIRE_SHORT;
    }
    uint64_t sum = is_table ? 0 : n - n_head;
    for (size_t at = n_head; is_table && at < n; at += 8)
        if (__builtin_add_overflow(sum, frame_get64(data + at), &sum))
            sum = UINT64_MAX;
    struct wire_message wire; /* looked at before any memory is taken at its word */
    enum wire_error error = wire_decode(data, n_head, sum, &wire);
    if (error) {
        bytes_unref(bytes);
        return error;
    }
    if (!is_table)
        parts_add(&payload, bytes, data + n_head, n - n_head);
    for (size_t at = n_head; is_table && at < n; at += 8) {
        uint64_t size = frame_get64(data + at);
        struct bytes *piece = size && size <= MPX_PIECE ? bytes_new(size) : NULL;
        if (!piece) {
            bytes_unref(bytes);
            parts_clear(&payload);
            return WIRE_BAD_LENGTH;
        }
        parts_add(&payload, piece, bytes_data(piece), size);
        bytes_unref(piece);
    }
    struct bytes *head = bytes_adopt(data, n_head, (void (*)(void *))bytes_unref, bytes);
    return msg_read(head, &payload, out);
}

enum wire_error mpx_frame_read_announcement(const uint8_t *p, size_t n, size_t *n_table)
{
    *n_table = n == 8 ? frame_get64(p) : 0;
    return *n_table >= WIRE_PREAMBLE && *n_table <= MOST_TABLE ? WIRE_OK : WIRE_BAD_LENGTH;
}

int mpx_frame_tag(enum mpx_kind kind, uint64_t sequence)
{
    return (int)(sequence % MPX_SEQUENCES * 2 + kind);
}

enum mpx_kind mpx_frame_kind(int tag)
{
    return tag & 1;
}

uint64_t mpx_frame_sequence(int tag, uint64_t near)
{
    uint64_t ahead = ((uint64_t)tag / 2 - near) % MPX_SEQUENCES;
    return ahead < MPX_SEQUENCES / 2 ? near + ahead : near + ahead - MPX_SEQUENCES;
}

static void frame_put64(struct buf *buf, uint64_t v)
{
    for (int byte = 0; byte < 8; byte++)
        *buf_extend(buf, 1) = (uint8_t)(v >> 8 * byte);
}

/* What was written, as a slice of its own. */
static void frame_add_written(struct parts *to, struct buf *buf)
{
    if (!buf->n)
        return;
    struct bytes *bytes = buf_take(buf);
    parts_add(to, bytes, bytes_data(bytes), bytes_length(bytes));
    bytes_unref(bytes);
}

static void frame_small(const struct msg *msg, struct parts *frame)
{
    struct buf buf = {0};
    buf_put(&buf, bytes_data(msg->head), bytes_length(msg->head));
    parts_copy(&msg->payload, (struct place){0, 0}, msg->payload.length, buf_extend(&buf, (size_t)msg->payload.length));
    frame_add_written(frame, &buf);
}

/* parts_add would join the halves of a slice that was cut for its size; here they stay apart. */
static void frame_add_cut(struct parts *pieces, const struct slice *s)
{
    for (size_t at = 0; at < s->n; at += MPX_PIECE) {
        size_t n = s->n - at < MPX_PIECE ? s->n - at : MPX_PIECE;
        struct bytes *half = bytes_adopt(s->p + at, n, (void (*)(void *))bytes_unref, bytes_ref(s->owner));
        parts_add(pieces, half, s->p + at, n);
        bytes_unref(half);
    }
}

/* A payload in pieces worth a message each: small neighbours gathered, large slices cut. */
static void frame_pieces(const struct msg *msg, struct parts *pieces)
{
    struct buf small = {0};
    for (size_t i = 0; i < msg->payload.n_slices; i++) {
        const struct slice *s = &msg->payload.v[i];
        if (s->n < MPX_COPIED && small.n + s->n < MPX_PIECE) {
            buf_put(&small, s->p, s->n);
            continue;
        }
        frame_add_written(pieces, &small);
        frame_add_cut(pieces, s);
    }
    frame_add_written(pieces, &small);
}

static void frame_large(const struct msg *msg, struct parts *frame)
{
    struct parts pieces = {0};
    struct buf announcement = {0}, table = {0};
    frame_pieces(msg, &pieces);
    buf_put(&table, bytes_data(msg->head), bytes_length(msg->head));
    for (size_t i = 0; i < pieces.n_slices; i++)
        frame_put64(&table, pieces.v[i].n);
    frame_put64(&announcement, table.n);
    frame_add_written(frame, &announcement);
    frame_add_written(frame, &table);
    parts_add_range(frame, &pieces, (struct place){0, 0}, pieces.length);
    parts_clear(&pieces);
}

const struct parts *mpx_frame(struct msg *msg)
{
    if (!msg->sent_as.n_slices)
        (bytes_length(msg->head) + msg->payload.length <= MPX_FRAME_BYTES ? frame_small : frame_large)(msg,
                                                                                                       &msg->sent_as);
    return &msg->sent_as;
}
