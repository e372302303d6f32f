/* What a rank receives by MPI: a small message or the table of a large one, from its first byte on. What is taken can be
 * sent on, and is the same. */
#include <stdio.h>

#include "feed.h"
#include "limit.h"
#include "links/mpx_frame.h"

static void send_on(struct msg *msg, const uint8_t *bytes, size_t n)
{
    const struct parts *frame = mpx_frame(msg);
    if (n <= MPX_FRAME_BYTES)
        MUST(frame->n_slices == 1 && frame->v[0].n == n && memcmp(frame->v[0].p, bytes, n) == 0);
}

/* Its pieces may be put together otherwise, to the same payload. */
static void announce_on(struct msg *msg)
{
    struct msg *other;
    size_t n_table;
    for (size_t i = 0; i < msg->payload.n_slices; i++)
        memset(bytes_data(msg->payload.v[i].owner), (int)i, msg->payload.v[i].n);
    const struct parts *frame = mpx_frame(msg);
    if (frame->n_slices == 1)
        return;
    MUST(!mpx_frame_read_announcement(frame->v[0].p, frame->v[0].n, &n_table) && n_table == frame->v[1].n);
    enum wire_error error = mpx_frame_read(bytes_ref(frame->v[1].owner), true, &other);
    MUST(!error || error == WIRE_BAD_LENGTH); /* the limit */
    if (!error)
        MUST(other->payload.length == msg->payload.length);
    msg_unref(other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct msg *msg;
    if (!size)
        return 0;
    bool is_table = data[0] & 1;
    struct bytes *frame = bytes_new(size - 1);
    memcpy(bytes_data(frame), data + 1, size - 1);
    limit_begin(1 << 20);
    enum wire_error error = mpx_frame_read(frame, is_table, &msg);
    MUST(!msg == (error != WIRE_OK));
    if (msg && is_table)
        announce_on(msg);
    else if (msg)
        send_on(msg, data + 1, size - 1);
    limit_end();
    msg_unref(msg);
    return 0;
}
