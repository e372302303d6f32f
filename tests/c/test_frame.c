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
    const struct parts *frame = mpx_frame(msg);
    CHECK_EQUAL(frame->n_slices, 1);
    CHECK_EQUAL(mpx_frame_read(bytes_ref(frame->v[0].owner), false, &again), WIRE_OK);
    check_same(msg, again);
    msg_unref(msg);
    msg_unref(again);
}

static void what_goes_to_many_ranks_is_made_once(void)
{
    const size_t sizes[] = {10, 100000, 20};
    struct msg *msg = make_values(sizes, 3);
    const struct slice *first = mpx_frame(msg)->v;
    CHECK(mpx_frame(msg)->v == first, "made again");
    CHECK(mpx_frame(msg)->v[3].p == msg->payload.v[1].p, "a large slice was copied");
    msg_unref(msg);
}

static void a_large_message_is_announced_and_its_pieces_filled(void)
{
    const size_t sizes[] = {10, 100000, 20, 30, 70000, 5};
    struct msg *msg = make_values(sizes, 6), *again;
    const struct parts *frame = mpx_frame(msg);
    size_t n_table;
    CHECK_EQUAL(frame->n_slices, 7); /* announcement, table, and five pieces: small neighbours are gathered */
    CHECK_EQUAL(mpx_frame_read_announcement(frame->v[0].p, frame->v[0].n, &n_table), WIRE_OK);
    CHECK_EQUAL(n_table, frame->v[1].n);
    CHECK_EQUAL(mpx_frame_read(bytes_ref(frame->v[1].owner), true, &again), WIRE_OK);
    CHECK_EQUAL(again->payload.n_slices, 5);
    for (size_t i = 0; i < again->payload.n_slices; i++) {
        CHECK_EQUAL(again->payload.v[i].n, frame->v[2 + i].n);
        memcpy(bytes_data(again->payload.v[i].owner), frame->v[2 + i].p, frame->v[2 + i].n);
    }
    check_same(msg, again);
    msg_unref(msg);
    msg_unref(again);
}

static void a_piece_is_never_larger_than_its_limit(void)
{
    const size_t sizes[] = {2 * MPX_PIECE + 5};
    struct msg *msg = make_values(sizes, 1);
    const struct parts *frame = mpx_frame(msg);
    CHECK_EQUAL(frame->n_slices, 2 + 3);
    for (size_t i = 0; i < frame->n_slices; i++)
        CHECK(frame->v[i].n <= MPX_PIECE, "%zu bytes", frame->v[i].n);
    msg_unref(msg);
}

static void frames_keep_their_numbers_when_the_tags_begin_anew(void)
{
    for (uint64_t n = 0; n < 3 * MPX_SEQUENCES; n += 7)
        for (uint64_t near = n < 40 ? 0 : n - 40; near < n + 40; near += 13) {
            int tag = mpx_frame_tag(n % 2 ? MPX_ANNOUNCE : MPX_SMALL, n);
            CHECK(tag >= 0 && tag <= 32767, "tag %d", tag);
            CHECK_EQUAL(mpx_frame_sequence(tag, near), n);
            CHECK_EQUAL(mpx_frame_kind(tag), n % 2 ? MPX_ANNOUNCE : MPX_SMALL);
        }
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
    const struct slice *table = &mpx_frame(msg)->v[1];
    for (size_t cut = 0; cut < table->n; cut++) {
        struct buf buf = {0};
        buf_put(&buf, table->p, cut);
        CHECK(mpx_frame_read(copy_of(&buf), true, &again) != WIRE_OK, "cut at %zu", cut);
        CHECK(mpx_frame_read(copy_of(&buf), false, &again) != WIRE_OK, "cut at %zu, as a small one", cut);
        buf_free(&buf);
    }
    struct buf lies = {0};
    buf_put(&lies, table->p, table->n);
    memset(lies.p + lies.n - 8, 0xff, 8); /* a piece of 2^64 - 1 bytes */
    CHECK_EQUAL(mpx_frame_read(copy_of(&lies), true, &again), WIRE_BAD_LENGTH);
    buf_free(&lies);
    msg_unref(msg);
}

static void an_announcement_of_what_cannot_be_is_refused(void)
{
    static const uint8_t none[8] = {0}, short_one[8] = {23}, huge[8] = {0, 0, 0, 0, 1};
    size_t n_table;
    CHECK_EQUAL(mpx_frame_read_announcement(none, 8, &n_table), WIRE_BAD_LENGTH);
    CHECK_EQUAL(mpx_frame_read_announcement(short_one, 8, &n_table), WIRE_BAD_LENGTH);
    CHECK_EQUAL(mpx_frame_read_announcement(huge, 8, &n_table), WIRE_BAD_LENGTH);
    CHECK_EQUAL(mpx_frame_read_announcement(huge, 7, &n_table), WIRE_BAD_LENGTH);
}

int main(void)
{
    a_small_message_is_one_frame();
    what_goes_to_many_ranks_is_made_once();
    a_large_message_is_announced_and_its_pieces_filled();
    a_piece_is_never_larger_than_its_limit();
    frames_keep_their_numbers_when_the_tags_begin_anew();
    what_is_no_message_is_refused();
    an_announcement_of_what_cannot_be_is_refused();
    return check_end("frame");
}
