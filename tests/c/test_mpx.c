/* mpx_send and mpx_recv over a fake MPI: messages arrive whole and in order whatever is late, and what a message costs does
 * not depend on what is pending. Costs are counted: calls, requests looked at, bytes kept. */
#include <stdbool.h>

#include "fake_mpi.h"
#include "links/mpx_recv.h"
#include "links/mpx_requests.h"
#include "links/mpx_send.h"

#include "check.h"
#include "links/mpx_frame.h"
#include "messages.h"

/* ---- what the two call ------------------------------------------------------------------------------------------- */

static unsigned long n_rung;

void mpx_ring_message(struct mpx_ring *ring, uint32_t to, int64_t now_us)
{
    (void)ring;
    (void)to;
    (void)now_us;
    n_rung++;
}

void mpx_ring_left(struct mpx_ring *ring, uint32_t to)
{
    (void)ring;
    (void)to;
}

/* ---- ranks ------------------------------------------------------------------------------------------------------- */

#define FRAMES ((MPI_Comm)(intptr_t)71)
#define PIECES ((MPI_Comm)(intptr_t)72)

static struct world {
    int n_ranks;
    struct mpx_send **send; /* by rank */
    struct mpx_recv *recv; /* of rank 0 */
    int64_t now_us;
    uint64_t *next; /* by rank: the id of the next result that must come of it */
    unsigned long n_delivered, n_heard, n_wrong;
    uint64_t bytes; /* of delivered payloads */
} world;

static void on_message(void *arg, uint32_t from, struct msg *msg)
{
    struct world *w = arg;
    size_t wrong = 0, at = 0, n = (size_t)msg->payload.length;
    w->n_delivered++;
    if (msg->wire.type != WIRE_RESULTS)
        return;
    w->bytes += n;
    w->n_wrong += wire_id(&msg->wire, 0) != w->next[from]++;
    for (size_t i = 0; i < msg->payload.n_slices; i++) /* as make_result_of fills it; not every byte of large ones */
        for (size_t k = 0; k < msg->payload.v[i].n; at++, k++)
            wrong += (k < 100 || k + 100 > msg->payload.v[i].n) && msg->payload.v[i].p[k] != (uint8_t)(at * 31 + n);
    w->n_wrong += wrong > 0;
}

static void on_heard(void *arg, uint32_t from)
{
    (void)from;
    ((struct world *)arg)->n_heard++;
}

static void on_bad(void *arg, uint32_t from, enum wire_error error)
{
    (void)arg;
    fprintf(stderr, "rank %u sent what is no message: %s\n", from, wire_error_name(error));
    abort();
}

static void open_world(int n_ranks)
{
    world = (struct world){.n_ranks = n_ranks, .now_us = 1000000};
    world.send = calloc((size_t)n_ranks, sizeof *world.send);
    world.next = calloc((size_t)n_ranks, sizeof *world.next);
    fake.n_ranks = n_ranks;
    for (int i = 0; i < n_ranks; i++)
        world.send[i] = mpx_send_new(FRAMES, PIECES, (uint32_t)n_ranks, NULL);
    fake.rank = 0;
    world.recv = mpx_recv_new(FRAMES, PIECES, (uint32_t)n_ranks,
                              &(struct mpx_recv_events){on_message, on_heard, on_bad, &world});
}

static bool turn_of(int rank)
{
    fake.rank = rank;
    bool any = mpx_send_turn(world.send[rank], world.now_us);
    if (rank == 0)
        any |= mpx_recv_turn(world.recv, world.now_us);
    return any;
}

/* Turns of all ranks until nothing moves any more. */
static void settle(void)
{
    bool any = true;
    while (any) {
        any = false;
        world.now_us += MPX_REQUESTS_ROUND_US;
        for (int i = 0; i < world.n_ranks; i++)
            while (turn_of(i) || (i == 0 && mpx_recv_in_round(world.recv)))
                any = true;
    }
}

static void close_world(void)
{
    memset(fake.stalls, 0, sizeof fake.stalls);
    mpx_recv_hold(world.recv, false);
    settle();
    CHECK_EQUAL(world.n_wrong, 0);
    fake.rank = 0;
    mpx_recv_free(world.recv);
    for (int i = 0; i < world.n_ranks; i++) {
        CHECK(!mpx_send_is_moving(world.send[i]), "rank %d has sends under way", i);
        CHECK_EQUAL(mpx_send_waiting(world.send[i]), 0);
        mpx_send_free(world.send[i]);
    }
    CHECK_EQUAL(fake.n_posted, 0);
    free(world.send);
    free(world.next);
    fake_clear();
}

/* Where nobody receives what rank 0 has sent. */
static void close_sends(void)
{
    while (mpx_send_is_moving(world.send[0])) {
        world.now_us += MPX_REQUESTS_ROUND_US;
        fake_let_all_leave();
        mpx_send_turn(world.send[0], world.now_us);
    }
    close_world();
}

/* Results of a rank are numbered. */
static void send_from(int rank, uint64_t id, size_t n)
{
    fake.rank = rank;
    mpx_send_message(world.send[rank], 0, make_result_of(id, n), world.now_us);
}

/* ---- order ------------------------------------------------------------------------------------------------------- */

static const size_t sizes[] = {0, 10, 100000, 3, 4032 - 48, MPX_FRAME_BYTES, 5000, 300000, 700000, 1, 9000000, 0, 2};
#define N_SIZES (sizeof sizes / sizeof sizes[0])

static void messages_of_every_size_arrive_whole_and_in_order(bool reversed)
{
    open_world(4);
    fake.reversed = reversed;
    for (size_t i = 0; i < N_SIZES; i++)
        for (int rank = 1; rank < 4; rank++)
            send_from(rank, i, sizes[(i + (size_t)rank) % N_SIZES]);
    settle();
    CHECK_EQUAL(world.n_delivered, 3 * N_SIZES);
    close_world();
}

static void numbers_of_frames_may_begin_anew(void)
{
    open_world(2);
    for (uint64_t i = 0; i < 2 * MPX_SEQUENCES + 100; i++) {
        send_from(1, i, 0);
        if (i % 20 == 0)
            turn_of(0);
    }
    settle();
    CHECK_EQUAL(world.n_delivered, 2 * MPX_SEQUENCES + 100);
    close_world();
}

/* More of them than there are numbers. */
static void many_messages_may_wait_behind_one_that_does_not_come(void)
{
    open_world(2);
    mpx_recv_hold(world.recv, true);
    send_from(1, 0, 100000);
    for (uint64_t i = 1; i <= MPX_SEQUENCES + 100; i++) {
        send_from(1, i, 0);
        if (i % 20 == 0)
            turn_of(0);
    }
    settle();
    CHECK_EQUAL(world.n_delivered, 0);
    CHECK(world.n_heard > MPX_SEQUENCES, "%lu", world.n_heard);
    mpx_recv_hold(world.recv, false);
    settle();
    CHECK_EQUAL(world.n_delivered, MPX_SEQUENCES + 101);
    close_world();
}

static void a_message_with_a_large_head_and_no_payload_arrives(void)
{
    static uint64_t ids[5000];
    open_world(2);
    for (uint64_t i = 0; i < 5000; i++)
        ids[i] = i;
    fake.rank = 1;
    mpx_send_message(world.send[1], 0, make_some_ids(WIRE_STARTED, 0, ids, 5000), world.now_us);
    settle();
    CHECK_EQUAL(world.n_delivered, 1);
    close_world();
}

/* ---- a rank that does not go on ------------------------------------------------------------------------------------ */

static void ranks_that_stall_hold_nobody_else_up(void)
{
    const int n_stalled = 200; /* more than are received at a time, and than there are slots */
    open_world(n_stalled + 2);
    for (int rank = 1; rank <= n_stalled; rank++) {
        send_from(rank, 0, 100000);
        turn_of(0);
        fake.stalls[rank] = true;
    }
    settle();
    unsigned long before = world.n_delivered;
    send_from(n_stalled + 1, 0, 10);
    settle();
    CHECK_EQUAL(world.n_delivered, before + 1);
    send_from(n_stalled + 1, 1, 100000);
    for (int i = 0; i < 2 * n_stalled; i++) { /* as many at a time as are stalled are set aside */
        world.now_us += MPX_STALLED_US;
        turn_of(0);
        turn_of(n_stalled + 1);
    }
    CHECK_EQUAL(world.n_delivered, before + 2);
    close_world();
    CHECK_EQUAL(world.n_delivered, n_stalled + 2);
}

static void large_messages_are_received_a_few_at_a_time(void)
{
    open_world(300);
    for (int rank = 1; rank < 300; rank++)
        send_from(rank, 0, 200000);
    settle();
    CHECK_EQUAL(world.n_delivered, 299);
    CHECK(fake.most_posted <= MPX_SLOTS + MPX_MOST_COMING * MPX_PIECES_AT_ONCE, "%d receives were posted",
          fake.most_posted);
    close_world();
}

static void what_is_held_stays_with_its_sender(void)
{
    open_world(3);
    mpx_recv_hold(world.recv, true);
    for (uint64_t i = 0; i < 50; i++)
        send_from(1, i, 200000);
    send_from(2, 0, 10);
    settle();
    CHECK_EQUAL(world.n_delivered, 1);
    CHECK(mpx_send_waiting(world.send[1]) >= 50 * 200000, "%llu bytes wait",
          (unsigned long long)mpx_send_waiting(world.send[1]));
    mpx_recv_hold(world.recv, false);
    settle();
    CHECK_EQUAL(world.n_delivered, 51);
    close_world();
}

/* ---- costs ------------------------------------------------------------------------------------------------------- */

static unsigned long requests_looked_at_for_a_small_one(uint64_t first, int from)
{
    const int n = 100;
    unsigned long before = fake.n_tested;
    for (int i = 0; i < n; i++) {
        send_from(from, first + (uint64_t)i, 10);
        world.now_us += 20;
        turn_of(0);
    }
    return (fake.n_tested - before) / (unsigned long)n;
}

static void a_small_message_costs_the_same_beside_large_ones_that_are_coming(void)
{
    const int n = 2048;
    open_world(n + 2);
    unsigned long few = requests_looked_at_for_a_small_one(0, n + 1);
    for (int rank = 1; rank <= n; rank++) {
        fake.stalls[rank] = false;
        send_from(rank, 0, 70000);
        turn_of(0);
        fake.stalls[rank] = true;
    }
    unsigned long before = world.n_delivered, many = requests_looked_at_for_a_small_one(100, n + 1);
    CHECK_EQUAL(world.n_delivered, before + 100);
    CHECK(many <= few + MPX_REQUESTS_A_TURN, "%lu requests are looked at for a message, and %lu without large ones",
          many, few);
    close_world();
}

static unsigned long requests_looked_at_for_a_send(int to)
{
    const int n = 100;
    unsigned long before = fake.n_tested;
    for (int i = 0; i < n; i++) {
        fake.rank = 0;
        mpx_send_message(world.send[0], (uint32_t)to, make_result_of(1, 10), world.now_us);
        world.now_us += 20;
        mpx_send_turn(world.send[0], world.now_us);
    }
    return (fake.n_tested - before) / (unsigned long)n;
}

static void a_send_costs_the_same_beside_sends_that_do_not_leave(void)
{
    const int n = 2048;
    open_world(n + 2);
    unsigned long few = requests_looked_at_for_a_send(n + 1);
    fake.rank = 0;
    for (int rank = 1; rank <= n; rank++) /* these ranks receive nothing */
        mpx_send_message(world.send[0], (uint32_t)rank, make_result_of(1, 70000), world.now_us);
    unsigned long many = requests_looked_at_for_a_send(n + 1);
    CHECK(many <= few + MPX_REQUESTS_A_TURN, "%lu requests are looked at for a send, and %lu without others", many,
          few);
    close_sends();
}

static long n_alive;

static void payload_gone(void *owner)
{
    (void)owner;
    n_alive--;
}

static struct msg *make_counted(const uint8_t *p, size_t n)
{
    struct parts payload = {0};
    struct bytes *bytes = bytes_adopt(p, n, payload_gone, NULL);
    n_alive++;
    parts_add(&payload, bytes, p, n);
    bytes_unref(bytes);
    return msg_make((struct wire_message){.type = WIRE_BYE, .count = WIRE_SETUP_RAISED}, &payload);
}

static void the_bytes_of_a_broadcast_are_there_once(void)
{
    static uint8_t all[60000];
    const int n = 2000;
    open_world(n + 1);
    n_alive = 0;
    struct msg *msg = make_counted(all, sizeof all);
    const struct slice *first = NULL;
    fake.rank = 0;
    for (int rank = 1; rank <= n; rank++) {
        mpx_send_message(world.send[0], (uint32_t)rank, msg_ref(msg), world.now_us);
        first = first ? first : msg->sent_as.v;
        CHECK(msg->sent_as.v == first, "framed again for rank %d", rank);
    }
    CHECK(mpx_send_waiting(world.send[0]) > (uint64_t)n * sizeof all, "some has left");
    msg_unref(msg);
    close_sends();
    CHECK_EQUAL(n_alive, 0);
}

static void no_bytes_are_kept_once_they_have_left(void)
{
    static uint8_t all[300000];
    open_world(2);
    n_alive = 0;
    for (uint64_t i = 0; i < 20; i++) {
        fake.rank = 1;
        struct msg *msg = make_counted(all, sizeof all);
        mpx_send_message(world.send[1], 0, msg, world.now_us);
        CHECK_EQUAL(n_alive, 1);
        settle();
        CHECK_EQUAL(n_alive, 0);
        CHECK_EQUAL(mpx_send_waiting(world.send[1]), 0);
    }
    close_world();
}

static void a_message_rings_once(void)
{
    open_world(2);
    n_rung = 0;
    send_from(1, 0, 10);
    send_from(1, 1, 9000000);
    settle();
    CHECK_EQUAL(world.n_delivered, 2);
    CHECK_EQUAL(n_rung, 2);
    close_world();
}

int main(void)
{
    quiet();
    messages_of_every_size_arrive_whole_and_in_order(false);
    messages_of_every_size_arrive_whole_and_in_order(true);
    numbers_of_frames_may_begin_anew();
    many_messages_may_wait_behind_one_that_does_not_come();
    a_message_with_a_large_head_and_no_payload_arrives();
    ranks_that_stall_hold_nobody_else_up();
    large_messages_are_received_a_few_at_a_time();
    what_is_held_stays_with_its_sender();
    a_small_message_costs_the_same_beside_large_ones_that_are_coming();
    a_send_costs_the_same_beside_sends_that_do_not_leave();
    the_bytes_of_a_broadcast_are_there_once();
    no_bytes_are_kept_once_they_have_left();
    a_message_rings_once();
    return check_end("mpx");
}
