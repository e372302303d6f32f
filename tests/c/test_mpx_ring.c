/* mpx_ring: a message makes one ring at most, and only to a sleeper; a ring that does not get through costs a bounded
 * sleep. The bell, MPI's collectives and the loop's time are played here. */
#include "links/mpx_ring.h"

#include <stdlib.h>

#include "check.h"
#include "links/bell.h"

#ifdef OPEN_MPI /* its constants are addresses of these */
struct ompi_predefined_datatype_t {
    char none;
} ompi_mpi_byte, ompi_mpi_int;
#endif

#define WORLD ((MPI_Comm)(intptr_t)81)
#define NODE ((MPI_Comm)(intptr_t)82)
#define MOST_RANKS 8

static struct world {
    int rank, n_ranks, node_of[MOST_RANKS];
    unsigned int asleep[MOST_RANKS]; /* as in shared memory, by node_rank */
    int64_t now_us;
    bool far_is_open;
    int n_near, n_far, n_awake; /* rings; those that say "I look by myself" */
    void (*heard)(void *arg, uint32_t events);
    void *heard_arg;
    struct {
        uint32_t rank, awake_us;
    } rings[64]; /* to be heard */
    int n_rings;
} world;

/* ---- the loop, MPI and the bell ------------------------------------------------------------------------------------ */

int64_t loop_now_us(const struct loop *loop)
{
    (void)loop;
    return world.now_us;
}

void loop_watch(struct loop *loop, int fd, uint32_t events, void (*ready)(void *arg, uint32_t events), void *arg)
{
    (void)loop;
    (void)fd;
    (void)events;
    world.heard = ready;
    world.heard_arg = arg;
}

void loop_unwatch(struct loop *loop, int fd)
{
    (void)loop;
    (void)fd;
}

static int first_of_node(void)
{
    int i = 0;
    while (world.node_of[i] != world.node_of[world.rank])
        i++;
    return i;
}

static int on_node(int n)
{
    int n_there = 0;
    for (int i = 0; i < n; i++)
        n_there += world.node_of[i] == world.node_of[world.rank];
    return n_there;
}

int MPI_Comm_rank(MPI_Comm comm, int *rank)
{
    *rank = comm == WORLD ? world.rank : on_node(world.rank);
    return MPI_SUCCESS;
}

int MPI_Comm_size(MPI_Comm comm, int *n)
{
    *n = comm == WORLD ? world.n_ranks : on_node(world.n_ranks);
    return MPI_SUCCESS;
}

int MPI_Bcast(void *p, int n, MPI_Datatype type, int root, MPI_Comm comm)
{
    (void)n;
    (void)type;
    (void)root;
    if (comm == NODE)
        *(int *)p = first_of_node();
    return MPI_SUCCESS;
}

int MPI_Allgather(const void *mine, int n, MPI_Datatype type, void *all, int n_each, MPI_Datatype their, MPI_Comm comm)
{
    (void)n_each;
    (void)their;
    (void)comm;
    for (int i = 0; i < world.n_ranks; i++)
        if (type == MPI_INT) {
            int first = 0;
            while (world.node_of[first] != world.node_of[i])
                first++;
            ((int *)all)[i] = first;
        } else
            memcpy((char *)all + i * n, mine, (size_t)n);
    return MPI_SUCCESS;
}

int MPI_Info_create(MPI_Info *info)
{
    (void)info;
    return MPI_SUCCESS;
}

int MPI_Info_set(MPI_Info info, const char *name, const char *value)
{
    (void)info;
    (void)name;
    (void)value;
    return MPI_SUCCESS;
}

int MPI_Info_free(MPI_Info *info)
{
    (void)info;
    return MPI_SUCCESS;
}

int MPI_Win_allocate_shared(MPI_Aint size, int unit, MPI_Info info, MPI_Comm comm, void *p, MPI_Win *window)
{
    (void)size;
    (void)unit;
    (void)info;
    (void)comm;
    (void)window;
    *(unsigned int **)p = &world.asleep[on_node(world.rank)];
    return MPI_SUCCESS;
}

int MPI_Win_shared_query(MPI_Win window, int rank, MPI_Aint *size, int *unit, void *p)
{
    (void)window;
    (void)rank;
    (void)size;
    (void)unit;
    *(unsigned int **)p = world.asleep;
    return MPI_SUCCESS;
}

int MPI_Win_free(MPI_Win *window)
{
    (void)window;
    return MPI_SUCCESS;
}

int MPI_Barrier(MPI_Comm comm)
{
    (void)comm;
    return MPI_SUCCESS;
}

static struct bell_card card;

struct bell *bell_new(uint32_t rank, const uint8_t *token, bool far, struct err *err)
{
    (void)rank;
    (void)token;
    (void)err;
    world.far_is_open = far;
    return (struct bell *)&card;
}

void bell_free(struct bell *bell)
{
    (void)bell;
}

const struct bell_card *bell_card(const struct bell *bell)
{
    (void)bell;
    return &card;
}

int bell_local_fd(const struct bell *bell)
{
    (void)bell;
    return 0;
}

int bell_far_fd(const struct bell *bell)
{
    (void)bell;
    return world.far_is_open ? 1 : -1;
}

void bell_ring_near(struct bell *bell, const struct bell_card *to)
{
    (void)bell;
    (void)to;
    world.n_near++;
}

void bell_ring_far(struct bell *bell, const struct bell_far *far, const struct bell_card *to, uint32_t awake_us)
{
    (void)bell;
    (void)far;
    (void)to;
    world.n_far++;
    world.n_awake += awake_us > 0;
}

void bell_hear(struct bell *bell, void (*from)(void *arg, uint32_t rank, const struct bell_far *far, uint32_t awake_us),
               void *arg)
{
    (void)bell;
    for (int i = 0; i < world.n_rings; i++)
        from(arg, world.rings[i].rank, &(struct bell_far){1, 1}, world.rings[i].awake_us);
    world.n_rings = 0;
}

/* ---- helpers ----------------------------------------------------------------------------------------------------- */

/* Ranks by node: "0011" are four ranks on two nodes. */
static struct mpx_ring *open_as(int rank, const char *nodes)
{
    struct err err;
    world = (struct world){.rank = rank, .n_ranks = (int)strlen(nodes), .now_us = 1000000};
    for (int i = 0; i < world.n_ranks; i++)
        world.node_of[i] = nodes[i];
    struct mpx_ring *ring = mpx_ring_open(WORLD, NODE, NULL, &err);
    world.n_far = 0; /* the first ring to rank 0, by which each learns how to ring the other */
    return ring;
}

static void hear(uint32_t from, uint32_t awake_us)
{
    world.rings[world.n_rings].rank = from;
    world.rings[world.n_rings++].awake_us = awake_us;
    world.heard(world.heard_arg, 0);
}

static void sleep_until(struct mpx_ring *ring, int64_t now_us)
{
    mpx_ring_doze(ring);
    mpx_ring_wake(ring, true);
    world.now_us = now_us;
    mpx_ring_turn(ring, now_us);
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

static void a_near_rank_is_rung_once_a_sleep_and_not_while_it_is_awake(void)
{
    struct mpx_ring *ring = open_as(0, "000");
    for (int i = 0; i < 10; i++)
        mpx_ring_message(ring, 1, world.now_us);
    CHECK_EQUAL(world.n_near, 0);
    world.asleep[1] = world.asleep[2] = 1;
    for (int i = 0; i < 10; i++) {
        mpx_ring_message(ring, 1, world.now_us);
        mpx_ring_left(ring, 1);
    }
    CHECK_EQUAL(world.n_near, 1);
    CHECK_EQUAL(world.asleep[2], 1);
    CHECK_EQUAL(world.n_far, 0);
    mpx_ring_free(ring);
}

static void a_rank_says_that_it_sleeps_only_while_it_does(void)
{
    struct mpx_ring *ring = open_as(1, "000");
    mpx_ring_doze(ring);
    CHECK_EQUAL(world.asleep[1], 1);
    mpx_ring_wake(ring, true);
    CHECK_EQUAL(world.asleep[1], 0);
    mpx_ring_free(ring);
}

static void a_far_message_rings_once_also_when_it_leaves_late(void)
{
    struct mpx_ring *ring = open_as(0, "01");
    for (int i = 0; i < 10; i++) {
        mpx_ring_message(ring, 1, world.now_us);
        mpx_ring_left(ring, 1);
        mpx_ring_left(ring, 1);
    }
    CHECK_EQUAL(world.n_far, 10);
    mpx_ring_free(ring);
}

static void a_far_rank_that_looks_by_itself_is_not_rung(void)
{
    struct mpx_ring *ring = open_as(1, "01");
    hear(0, 0); /* the answer to the first ring */
    world.n_far = 0;
    hear(0, 5000);
    mpx_ring_message(ring, 0, world.now_us);
    mpx_ring_message(ring, 0, world.now_us + 4999);
    CHECK_EQUAL(world.n_far, 0);
    mpx_ring_message(ring, 0, world.now_us + 5000);
    CHECK_EQUAL(world.n_far, 1);
    hear(0, UINT32_MAX); /* whatever it says, it is rung again soon */
    mpx_ring_message(ring, 0, world.now_us + 1000000);
    CHECK_EQUAL(world.n_far, 2);
    mpx_ring_free(ring);
}

static void a_rank_that_is_rung_while_it_is_busy_says_so_and_then_looks(void)
{
    struct mpx_ring *ring = open_as(0, "01");
    hear(1, 0); /* its first */
    world.n_far = 0;
    sleep_until(ring, world.now_us + 50000);
    hear(1, 0);
    CHECK_EQUAL(world.n_far, 0); /* that ring was needed */
    world.now_us += 1000;
    mpx_ring_came(ring, world.now_us);
    mpx_ring_turn(ring, world.now_us);
    hear(1, 0);
    CHECK_EQUAL(world.n_far, 1);
    CHECK_EQUAL(world.n_awake, 1);
    mpx_ring_came(ring, world.now_us);
    for (int64_t after = 0; after <= 10000; after += 1000)
        CHECK(mpx_ring_patience_us(ring, world.now_us + after, false) <= 500, "sleeps long after %lld us",
              (long long)after);
    mpx_ring_free(ring);
}

static void without_bells_a_rank_looks_within_a_bounded_time(void)
{
    struct mpx_ring *ring = open_as(0, "01"); /* rank 1 has not been heard: it may never be */
    int64_t longest = mpx_ring_patience_us(ring, world.now_us + 3600000000, false);
    CHECK(longest <= 10000, "%lld us", (long long)longest);
    hear(1, 0);
    mpx_ring_came(ring, world.now_us);
    int64_t heard = mpx_ring_patience_us(ring, world.now_us + 3600000000, false);
    CHECK(heard > longest && heard <= 100000, "%lld us", (long long)heard); /* still: a ring may be lost */
    mpx_ring_free(ring);
}

static void udp_is_opened_only_by_ranks_that_talk_to_another_node(void)
{
    static const struct {
        const char *nodes;
        int rank;
        bool far;
    } all[] = {{"000", 0, false}, {"000", 2, false}, {"001", 0, true}, {"001", 1, false},
               {"001", 2, true},  {"011", 1, true},  {"011", 2, true}, {"012", 0, true}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct mpx_ring *ring = open_as(all[i].rank, all[i].nodes);
        CHECK(world.far_is_open == all[i].far, "rank %d of %s", all[i].rank, all[i].nodes);
        mpx_ring_free(ring);
    }
}

static void a_strangers_rank_is_passed_over(void)
{
    struct mpx_ring *ring = open_as(0, "001");
    hear(4000000000, 0);
    hear(1, 0); /* of this node: it rings otherwise */
    CHECK_EQUAL(world.n_far, 0);
    mpx_ring_free(ring);
}

int main(void)
{
    a_near_rank_is_rung_once_a_sleep_and_not_while_it_is_awake();
    a_rank_says_that_it_sleeps_only_while_it_does();
    a_far_message_rings_once_also_when_it_leaves_late();
    a_far_rank_that_looks_by_itself_is_not_rung();
    a_rank_that_is_rung_while_it_is_busy_says_so_and_then_looks();
    without_bells_a_rank_looks_within_a_bounded_time();
    udp_is_opened_only_by_ranks_that_talk_to_another_node();
    a_strangers_rank_is_passed_over();
    return check_end("mpx_ring");
}
