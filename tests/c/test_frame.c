/* mpx_frame: a message through MPI-sized pieces and back; and what no rank would send is refused. */
#include "links/mpx_frame.h"

#include <stdlib.h>

#include "check.h"
#include "messages.h"

static struct msg *make_values(const size_t *sizes, uint32_t n)
{
    struct wire_results results = {0};
    struct buf head = {0};
    struct parts payload = {0};
    for (uint32_t i = 0; i < n; i++) {
        struct bytes *bytes = bytes_new(sizes[i]);
        memset(bytes_data(bytes), 'a' + (int)i, sizes[i]);
        parts_add(&payload, bytes, bytes_data(bytes), sizes[i]);
        bytes_unref(bytes);
        wire_results_add(&results, &(struct wire_result){.id = i, .length = (uint32_t)sizes[i]});
    }
    wire_results_finish(&results, &head);
    wire_results_free(&results);
    return msg_new(&head, &payload);
}

static void check_same(const struct msg *a, const struct msg *b)
{
    CHECK_EQUAL(bytes_length(a->head), bytes_length(b->head));
    CHECK(memcmp(bytes_data(a->head), bytes_data(b->head), bytes_length(a->head)) == 0, "heads differ");
    CHECK_EQUAL(a->payload.length, b->payload.length);
    uint8_t *pa = malloc(a->payload.length + 1), *pb = malloc(a->payload.length + 1);
    parts_copy(&a->payload, (struct place){0, 0}, a->payload.length, pa);
    parts_copy(&b->payload, (struct place){0, 0}, a->payload.length, pb);
    CHECK(memcmp(pa, pb, a->payload.length) == 0, "payloads differ");
    free(pa);
    free(pb);
}

static void a_small_message_is_one_frame(void)
{
    const size_t sizes[] = {10, 0, 500};
    struct msg *msg = make_values(sizes, 3), *again;
    CHECK_EQUAL(mpx_frame_read(mpx_frame_small(msg), false, &again), WIRE_OK);
    check_same(msg, again);
    msg_unref(msg);
    msg_unref(again);
}

static void a_large_message_is_announced_and_its_pieces_filled(void)
{
    const size_t sizes[] = {10, 100000, 20, 30, 70000, 5};
    struct msg *msg = make_values(sizes, 6), *again;
    struct parts pieces = {0};
    mpx_frame_pieces(msg, &pieces);
    CHECK_EQUAL(pieces.n_slices, 5); /* small neighbours are gathered */
    CHECK_EQUAL(mpx_frame_read(mpx_frame_announce(msg, &pieces), true, &again), WIRE_OK);
    CHECK_EQUAL(again->payload.n_slices, 5);
    for (size_t i = 0; i < pieces.n_slices && i < again->payload.n_slices; i++) {
        CHECK_EQUAL(again->payload.v[i].n, pieces.v[i].n);
        memcpy(bytes_data(again->payload.v[i].owner), pieces.v[i].p, pieces.v[i].n);
    }
    check_same(msg, again);
    parts_clear(&pieces);
    msg_unref(msg);
    msg_unref(again);
}

static struct bytes *copy_of(const struct buf *buf)
{
    struct bytes *b = bytes_new(buf->n);
    if (buf->n)
        memcpy(bytes_data(b), buf->p, buf->n);
    return b;
}

static void what_is_no_message_is_refused(void)
{
    const size_t sizes[] = {100000};
    struct msg *msg = make_values(sizes, 1), *again;
    struct parts pieces = {0};
    mpx_frame_pieces(msg, &pieces);
    struct bytes *good = mpx_frame_announce(msg, &pieces);
    for (size_t cut = 0; cut < bytes_length(good); cut++) {
        struct buf buf = {0};
        buf_put(&buf, bytes_data(good), cut);
        CHECK(mpx_frame_read(copy_of(&buf), true, &again) != WIRE_OK, "cut at %zu", cut);
        CHECK(mpx_frame_read(copy_of(&buf), false, &again) != WIRE_OK, "cut at %zu, as a small one", cut);
        buf_free(&buf);
    }
    struct buf lies = {0};
    buf_put(&lies, bytes_data(good), bytes_length(good));
    memset(lies.p + lies.n - 8, 0xff, 8); /* a piece of 2^64 - 1 bytes */
    CHECK_EQUAL(mpx_frame_read(copy_of(&lies), true, &again), WIRE_BAD_LENGTH);
    buf_free(&lies);
    bytes_unref(good);
    parts_clear(&pieces);
    msg_unref(msg);
}

int main(void)
{
    a_small_message_is_one_frame();
    a_large_message_is_announced_and_its_pieces_filled();
    what_is_no_message_is_refused();
    return check_end("frame");
}
