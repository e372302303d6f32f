#include "links/mpx_send.h"

#include "base/mem.h"
#include "links/mpx_frame.h"
#include "links/mpx_requests.h"

struct outbound { /* one MPI message */
    struct slice slice;
    uint32_t to;
    bool is_piece;
    struct outbound *next;
};

struct destination {
    struct outbound *first, *last; /* pieces that wait for those before them */
    int n_under_way; /* pieces */
    uint32_t sequence; /* of the next frame */
};

struct mpx_send {
    MPI_Comm frames, pieces;
    struct mpx_ring *ring;
    struct destination *destinations; /* by rank */
    struct mpx_requests requests;
    uint64_t waiting;
};

static void send_keep(struct mpx_send *s, struct outbound *out, MPI_Request request)
{
    mpx_requests_add(&s->requests, request, out);
}

static struct outbound *send_outbound(struct mpx_send *s, uint32_t to, const struct slice *slice, bool is_piece)
{
    struct outbound *out = mem_new(sizeof *out);
    *out = (struct outbound){.slice = *slice, .to = to, .is_piece = is_piece};
    bytes_ref(slice->owner);
    s->waiting += slice->n;
    return out;
}

/* Most MPIs have a frame's bytes when MPI_Isend returns: nothing need be kept of it. */
static void send_frame(struct mpx_send *s, uint32_t to, enum mpx_kind kind, const struct slice *slice)
{
    MPI_Request request;
    int left;
    int tag = mpx_frame_tag(kind, s->destinations[to].sequence++);
    MPI_Isend(slice->p, (int)slice->n, MPI_BYTE, (int)to, tag, s->frames, &request);
    MPI_Test(&request, &left, MPI_STATUS_IGNORE);
    if (!left)
        send_keep(s, send_outbound(s, to, slice, false), request);
}

static void send_pieces(struct mpx_send *s, struct destination *d)
{
    while (d->first && d->n_under_way < MPX_PIECES_AT_ONCE) {
        struct outbound *out = d->first;
        MPI_Request request;
        d->first = out->next;
        d->n_under_way++;
        MPI_Isend(out->slice.p, (int)out->slice.n, MPI_BYTE, (int)out->to, MPX_TAG_PIECE, s->pieces, &request);
        send_keep(s, out, request);
    }
}

static void send_done(void *arg, void *owner)
{
    struct mpx_send *s = arg;
    struct outbound *out = owner;
    struct destination *d = &s->destinations[out->to];
    if (out->is_piece) {
        d->n_under_way--;
        send_pieces(s, d);
    }
    mpx_ring_left(s->ring, out->to);
    s->waiting -= out->slice.n;
    bytes_unref(out->slice.owner);
    mem_free(out);
}

void mpx_send_message(struct mpx_send *s, uint32_t to, struct msg *msg, int64_t now_us)
{
    struct destination *d = &s->destinations[to];
    const struct parts *frame = mpx_frame(msg);
    send_frame(s, to, frame->n_slices > 1 ? MPX_ANNOUNCE : MPX_SMALL, &frame->v[0]);
    for (size_t i = 1; i < frame->n_slices; i++) {
        struct outbound *out = send_outbound(s, to, &frame->v[i], true);
        *(d->first ? &d->last->next : &d->first) = out;
        d->last = out;
    }
    send_pieces(s, d);
    msg_unref(msg);
    mpx_ring_message(s->ring, to, now_us);
}

bool mpx_send_turn(struct mpx_send *s, int64_t now_us)
{
    return mpx_requests_test(&s->requests, now_us, send_done, s);
}

bool mpx_send_is_moving(const struct mpx_send *s)
{
    return s->requests.n > 0;
}

bool mpx_send_in_round(const struct mpx_send *s)
{
    return mpx_requests_in_round(&s->requests);
}

uint64_t mpx_send_waiting(const struct mpx_send *s)
{
    return s->waiting;
}

void mpx_send_finish(struct mpx_send *s)
{
    for (int64_t now_us = s->requests.round_us; mpx_send_is_moving(s); now_us += MPX_REQUESTS_ROUND_US)
        mpx_send_turn(s, now_us);
}

struct mpx_send *mpx_send_new(MPI_Comm frames, MPI_Comm pieces, uint32_t n_ranks, struct mpx_ring *ring)
{
    struct mpx_send *s = mem_new(sizeof *s);
    s->frames = frames;
    s->pieces = pieces;
    s->ring = ring;
    s->destinations = mem_array(n_ranks, sizeof *s->destinations);
    return s;
}

void mpx_send_free(struct mpx_send *s)
{
    if (!s)
        return;
    mpx_requests_free(&s->requests);
    mem_free(s->destinations);
    mem_free(s);
}
