/* What a rank receives by MPI: a whole message or the announcement of one, from its first byte on. What is taken can be
 * sent on, and is the same. */
#include <stdio.h>

#include "feed.h"
#include "limit.h"
#include "links/mpx_frame.h"

static void send_on(const struct msg *msg, const uint8_t *frame, size_t n)
{
    struct bytes *again = mpx_frame_small(msg);
    MUST(bytes_length(again) == n && memcmp(bytes_data(again), frame, n) == 0);
    bytes_unref(again);
}

/* Its pieces may be put together otherwise, to the same payload. */
static void announce_on(const struct msg *msg)
{
    struct parts pieces = {0};
    struct msg *other;
    for (size_t i = 0; i < msg->payload.n_slices; i++)
        memset(bytes_data(msg->payload.v[i].owner), (int)i, msg->payload.v[i].n);
    mpx_frame_pieces(msg, &pieces);
    MUST(pieces.length == msg->payload.length);
    struct bytes *frame = mpx_frame_announce(msg, &pieces);
    enum wire_error error = mpx_frame_read(frame, true, &other);
    MUST(!error || error == WIRE_BAD_LENGTH); /* the limit */
    if (!error)
        MUST(other->payload.length == msg->payload.length);
    msg_unref(other);
    parts_clear(&pieces);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct msg *msg;
    if (!size)
        return 0;
    bool announces = data[0] & 1;
    struct bytes *frame = bytes_new(size - 1);
    memcpy(bytes_data(frame), data + 1, size - 1);
    limit_begin(1 << 20);
    enum wire_error error = mpx_frame_read(frame, announces, &msg);
    MUST(!msg == (error != WIRE_OK));
    if (msg && announces)
        announce_on(msg);
    else if (msg)
        send_on(msg, data + 1, size - 1);
    limit_end();
    msg_unref(msg);
    return 0;
}
