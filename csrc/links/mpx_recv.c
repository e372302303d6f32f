#include "links/mpx_recv.h"

#include <assert.h>

#include "base/mem.h"
#include "links/mpx_frame.h"
#include "links/mpx_requests.h"

/* WHOLE: to be delivered. ANNOUNCED: the frame has come. WAITING: its turn among those of its rank has come. TABLE, PIECES:
 * receives are posted. */
enum inbound_state { WHOLE, ANNOUNCED, WAITING, TABLE, PIECES };

struct inbound { /* a message whose frame has come */
    enum inbound_state state;
    uint32_t from;
    uint64_t sequence;
    struct msg *msg;
    struct bytes *table; /* head and sizes of the pieces */
    size_t n_table;
    size_t n_posted, n_arrived; /* pieces */
    int64_t moved_us; /* when the last of them came */
    bool stalled;
    struct inbound *next; /* of the same rank */
    struct inbound *newer, *older; /* WAITING: in that order; TABLE and PIECES: by moved_us */
};

struct source {
    uint64_t n_delivered; /* the sequence number of the next message to deliver */
    uint64_t newest; /* the highest sequence number that has come */
    struct inbound *first, *last; /* by sequence number */
};

struct inbound_list { /* from the oldest to the newest */
    struct inbound *oldest, *newest;
    uint32_t n;
};

struct mpx_recv {
    MPI_Comm frames, pieces;
    struct mpx_recv_events events;
    MPI_Request slots[MPX_SLOTS];
    uint8_t (*buffers)[MPX_FRAME_BYTES]; /* of the slots */
    struct source *sources; /* by rank */
    struct inbound_list waiting, coming; /* stalled ones are in neither */
    uint32_t n_stalled;
    struct mpx_requests requests; /* of tables and pieces */
    bool held;
    int64_t now_us;
};

static void recv_list_add(struct inbound_list *list, struct inbound *in)
{
    in->older = list->newest;
    in->newer = NULL;
    *(list->newest ? &list->newest->newer : &list->oldest) = in;
    list->newest = in;
    list->n++;
}

static void recv_list_remove(struct inbound_list *list, struct inbound *in)
{
    *(in->older ? &in->older->newer : &list->oldest) = in->newer;
    *(in->newer ? &in->newer->older : &list->newest) = in->older;
    in->older = in->newer = NULL;
    list->n--;
}

/* ---- large messages --------------------------------------------------------------------------------------------- */

static void recv_deliver(struct mpx_recv *r, uint32_t from);

static void recv_post(struct mpx_recv *r, struct inbound *in, struct bytes *bytes, size_t n)
{
    MPI_Request request;
    MPI_Irecv(bytes_data(bytes), (int)n, MPI_BYTE, (int)in->from, MPX_TAG_PIECE, r->pieces, &request);
    mpx_requests_add(&r->requests, request, in);
}

static void recv_begin(struct mpx_recv *r, struct inbound *in)
{
    in->state = TABLE;
    in->moved_us = r->now_us;
    recv_list_add(&r->coming, in);
    in->table = bytes_new(in->n_table);
    if (!in->table)
        r->events.bad(r->events.arg, in->from, WIRE_BAD_LENGTH);
    recv_post(r, in, in->table, in->n_table);
}

static void recv_set_aside_stalled(struct mpx_recv *r)
{
    struct inbound *in = r->coming.oldest;
    if (!in || r->now_us < in->moved_us + MPX_STALLED_US)
        return;
    recv_list_remove(&r->coming, in);
    in->stalled = true;
    r->n_stalled++;
}

static bool recv_begin_some(struct mpx_recv *r)
{
    bool any = false;
    while (r->waiting.n && !r->held) {
        if (r->coming.n >= MPX_MOST_COMING)
            recv_set_aside_stalled(r);
        if (r->coming.n >= MPX_MOST_COMING)
            break;
        struct inbound *in = r->waiting.oldest;
        recv_list_remove(&r->waiting, in);
        recv_begin(r, in);
        any = true;
    }
    return any;
}

static void recv_post_pieces(struct mpx_recv *r, struct inbound *in)
{
    const struct parts *payload = &in->msg->payload;
    for (; in->n_posted < payload->n_slices && in->n_posted - in->n_arrived < MPX_PIECES_AT_ONCE; in->n_posted++)
        recv_post(r, in, payload->v[in->n_posted].owner, payload->v[in->n_posted].n);
}

static void recv_moved(struct mpx_recv *r, struct inbound *in)
{
    if (in->stalled)
        r->n_stalled--;
    else
        recv_list_remove(&r->coming, in);
    in->stalled = false;
    in->moved_us = r->now_us;
    recv_list_add(&r->coming, in);
    r->events.heard(r->events.arg, in->from);
}

static void recv_done(void *arg, void *owner)
{
    struct mpx_recv *r = arg;
    struct inbound *in = owner;
    recv_moved(r, in);
    if (in->state == TABLE) {
        enum wire_error error = mpx_frame_read(in->table, true, &in->msg);
        in->table = NULL;
        if (error)
            r->events.bad(r->events.arg, in->from, error);
        in->state = PIECES;
    } else
        in->n_arrived++;
    recv_post_pieces(r, in);
    if (in->n_arrived < in->msg->payload.n_slices)
        return;
    recv_list_remove(&r->coming, in);
    in->state = WHOLE;
    recv_deliver(r, in->from);
}

/* ---- frames ----------------------------------------------------------------------------------------------------- */

static void recv_deliver(struct mpx_recv *r, uint32_t from)
{
    struct source *source = &r->sources[from];
    struct inbound *in;
    while ((in = source->first) && in->sequence == source->n_delivered) {
        if (in->state == ANNOUNCED) {
            in->state = WAITING;
            recv_list_add(&r->waiting, in);
        }
        if (in->state != WHOLE)
            return;
        source->first = in->next;
        source->n_delivered++;
        r->events.message(r->events.arg, from, in->msg);
        msg_unref(in->msg);
        mem_free(in);
    }
}

/* Frames of one rank complete in order but where its MPI asks before it sends: then one may pass others, fewer than there are
 * slots. */
static void recv_enter(struct mpx_recv *r, struct inbound *in, int tag)
{
    struct source *source = &r->sources[in->from];
    in->sequence = mpx_frame_sequence(tag, source->newest);
    source->newest = in->sequence > source->newest ? in->sequence : source->newest;
    struct inbound **at = &source->first;
    if (*at && source->last->sequence < in->sequence)
        at = &source->last->next;
    while (*at && (*at)->sequence < in->sequence)
        at = &(*at)->next;
    in->next = *at;
    *at = in;
    if (!in->next)
        source->last = in;
}

static void recv_take_frame(struct mpx_recv *r, const uint8_t *p, size_t n, int tag, uint32_t from)
{
    struct inbound *in = mem_new(sizeof *in);
    enum wire_error error;
    in->from = from;
    if (mpx_frame_kind(tag) == MPX_ANNOUNCE) {
        in->state = ANNOUNCED;
        error = mpx_frame_read_announcement(p, n, &in->n_table);
    } else {
        struct buf copy = {0};
        buf_put(&copy, p, n);
        error = mpx_frame_read(buf_take(&copy), false, &in->msg);
    }
    if (error)
        r->events.bad(r->events.arg, from, error);
    r->events.heard(r->events.arg, from);
    recv_enter(r, in, tag);
    recv_deliver(r, from);
}

static void recv_post_slot(struct mpx_recv *r, int i)
{
    MPI_Irecv(r->buffers[i], MPX_FRAME_BYTES, MPI_BYTE, MPI_ANY_SOURCE, MPI_ANY_TAG, r->frames, &r->slots[i]);
}

static bool recv_take_frames(struct mpx_recv *r)
{
    int which[MPX_SLOTS], n_done, n;
    MPI_Status statuses[MPX_SLOTS];
    MPI_Testsome(MPX_SLOTS, r->slots, &n_done, which, statuses);
    for (int i = 0; i < n_done; i++) {
        MPI_Get_count(&statuses[i], MPI_BYTE, &n);
        recv_take_frame(r, r->buffers[which[i]], (size_t)n, statuses[i].MPI_TAG, (uint32_t)statuses[i].MPI_SOURCE);
        recv_post_slot(r, which[i]);
    }
    return n_done > 0;
}

bool mpx_recv_turn(struct mpx_recv *r, int64_t now_us)
{
    bool any = false;
    r->now_us = now_us;
    for (int i = 0; i < 8 && recv_take_frames(r); i++) /* then others have their turn */
        any = true;
    any |= mpx_requests_test(&r->requests, now_us, recv_done, r);
    return recv_begin_some(r) || any;
}

void mpx_recv_hold(struct mpx_recv *r, bool held)
{
    r->held = held;
}

bool mpx_recv_is_moving(const struct mpx_recv *r)
{
    return r->coming.n || r->n_stalled || r->waiting.n;
}

bool mpx_recv_in_round(const struct mpx_recv *r)
{
    return mpx_requests_in_round(&r->requests);
}

/* ---- life ------------------------------------------------------------------------------------------------------- */

struct mpx_recv *mpx_recv_new(MPI_Comm frames, MPI_Comm pieces, uint32_t n_ranks, const struct mpx_recv_events *events)
{
    struct mpx_recv *r = mem_new(sizeof *r);
    r->frames = frames;
    r->pieces = pieces;
    r->events = *events;
    r->sources = mem_array(n_ranks, sizeof *r->sources);
    r->buffers = mem_array(MPX_SLOTS, sizeof *r->buffers);
    for (int i = 0; i < MPX_SLOTS; i++)
        recv_post_slot(r, i);
    return r;
}

/* A receive that is cancelled completes, whether or not its message had come: MPI does not wait for another rank. Those of
 * large messages that are still coming end with MPI: memory that they write to must stay. */
void mpx_recv_free(struct mpx_recv *r)
{
    if (!r)
        return;
    for (int i = 0; i < MPX_SLOTS; i++) {
        MPI_Cancel(&r->slots[i]);
        MPI_Wait(&r->slots[i], MPI_STATUS_IGNORE);
    }
    mem_free(r->buffers);
    mpx_requests_free(&r->requests);
    mem_free(r->sources);
    mem_free(r);
}
