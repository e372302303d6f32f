#include "links/mpx_ring.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>

#include "base/mem.h"
#include "links/bell.h"

/* How long to sleep when a bell may not reach us: half of how long nothing has come, within these bounds. With transfers
 * under way MPI needs us often; after a far ring its message may still be on its way. */
#define PATIENCE_LEAST_US 1000
#define PATIENCE_MOST_US 100000
#define PATIENCE_DEAF_US 10000 /* the most while some rank cannot ring us */
#define PATIENCE_MOVING_US 500
#define PATIENCE_AWAKE_US 200 /* while we have said that we look by ourselves */
#define PATIENCE_EXPECTING_US 100
#define EXPECT_FOR_US 5000
#define BUSY_AFTER_US 300 /* without sleep */
#define AWAKE_FOR_US 10000 /* said to a rank that rings us while we are busy */
#define AWAKE_MARGIN_US 2000 /* we look so much longer: what we say takes time to get there */

struct neighbour { /* another rank */
    int node_rank; /* -1: on another node */
    struct bell_card card;
    struct bell_far far;
    bool reaches_us; /* its far ring has come in */
    int64_t awake_until_us; /* it has said that it looks by itself */
};

struct mpx_ring {
    MPI_Comm node;
    MPI_Win window;
    uint32_t rank, n_ranks, n_node, node_rank;
    atomic_uint *asleep; /* of this node, by node_rank; NULL: alone on it */
    struct neighbour *neighbours; /* by rank */
    uint32_t n_far, n_far_reaching; /* ranks of other nodes that talk to us, and those that can ring */
    struct bell *bell;
    struct loop *loop;
    bool slept; /* since the last turn */
    int64_t woke_us; /* when the last sleep ended */
    int64_t came_us; /* when something came or left */
    int64_t expecting_until_us; /* the message of a far ring */
    int64_t awake_until_us; /* we have said that we look by ourselves until then */
};

/* Only rank 0 and the others talk; ranks of other nodes do not among themselves. */
static bool ring_talks_to(const struct mpx_ring *r, uint32_t rank)
{
    return rank != r->rank && (rank == 0 || r->rank == 0);
}

/* ---- ringing ---------------------------------------------------------------------------------------------------- */

static void ring_near(struct mpx_ring *r, struct neighbour *n)
{
    if (atomic_exchange(&r->asleep[n->node_rank], 0))
        bell_ring_near(r->bell, &n->card);
}

void mpx_ring_message(struct mpx_ring *r, uint32_t to, int64_t now_us)
{
    struct neighbour *n = &r->neighbours[to];
    if (n->node_rank >= 0)
        ring_near(r, n);
    else if (now_us >= n->awake_until_us)
        bell_ring_far(r->bell, &n->far, &n->card, 0);
}

/* The message may have become visible only now. A far rank has been rung, and looks for some time. */
void mpx_ring_left(struct mpx_ring *r, uint32_t to)
{
    struct neighbour *n = &r->neighbours[to];
    if (n->node_rank >= 0)
        ring_near(r, n);
}

static void ring_on_far(void *arg, uint32_t rank, const struct bell_far *far, uint32_t awake_us)
{
    struct mpx_ring *r = arg;
    if (rank >= r->n_ranks || r->neighbours[rank].node_rank >= 0)
        return;
    struct neighbour *n = &r->neighbours[rank];
    int64_t now_us = loop_now_us(r->loop);
    bool first = !n->reaches_us;
    n->far = *far;
    n->reaches_us = true;
    r->n_far_reaching += first;
    if (awake_us) { /* an answer: its message is here or was none */
        n->awake_until_us = now_us + (awake_us < AWAKE_FOR_US ? awake_us : AWAKE_FOR_US);
        return;
    }
    r->expecting_until_us = now_us + EXPECT_FOR_US;
    if (first) /* so that it learns the same of us */
        bell_ring_far(r->bell, &n->far, &n->card, 0);
    else if (now_us - r->woke_us >= BUSY_AFTER_US) {
        r->awake_until_us = now_us + AWAKE_FOR_US + AWAKE_MARGIN_US;
        bell_ring_far(r->bell, &n->far, &n->card, AWAKE_FOR_US);
    }
}

static void ring_on_bell(void *arg, uint32_t events)
{
    struct mpx_ring *r = arg;
    (void)events;
    bell_hear(r->bell, ring_on_far, r);
}

/* ---- sleeping --------------------------------------------------------------------------------------------------- */

void mpx_ring_came(struct mpx_ring *r, int64_t now_us)
{
    r->came_us = now_us;
    r->expecting_until_us = 0;
}

void mpx_ring_doze(struct mpx_ring *r)
{
    if (!r->asleep)
        return;
    atomic_store(&r->asleep[r->node_rank], 1);
    atomic_thread_fence(memory_order_seq_cst);
}

void mpx_ring_wake(struct mpx_ring *r, bool slept)
{
    r->slept |= slept;
    if (r->asleep)
        atomic_store(&r->asleep[r->node_rank], 0);
}

void mpx_ring_turn(struct mpx_ring *r, int64_t now_us)
{
    if (r->slept)
        r->woke_us = now_us;
    r->slept = false;
}

int64_t mpx_ring_patience_us(const struct mpx_ring *r, int64_t now_us, bool moving)
{
    if (now_us < r->expecting_until_us)
        return PATIENCE_EXPECTING_US;
    if (moving)
        return PATIENCE_MOVING_US;
    if (now_us < r->awake_until_us)
        return PATIENCE_AWAKE_US;
    int64_t most = r->n_far_reaching < r->n_far ? PATIENCE_DEAF_US : PATIENCE_MOST_US;
    int64_t half = (now_us - r->came_us) / 2;
    return half < PATIENCE_LEAST_US ? PATIENCE_LEAST_US : half > most ? most : half;
}

/* ---- opening and closing ---------------------------------------------------------------------------------------- */

/* Which ranks are of this node, in node_rank; and how many of the others we talk to. */
static void ring_find_nodes(struct mpx_ring *r, MPI_Comm world)
{
    int *node_of = mem_array(r->n_ranks, sizeof *node_of), first = (int)r->rank, next = 0;
    MPI_Bcast(&first, 1, MPI_INT, 0, r->node); /* the lowest rank of a node names it */
    MPI_Allgather(&first, 1, MPI_INT, node_of, 1, MPI_INT, world);
    r->neighbours = mem_array(r->n_ranks, sizeof *r->neighbours);
    for (uint32_t i = 0; i < r->n_ranks; i++) {
        struct neighbour *n = &r->neighbours[i];
        n->node_rank = node_of[i] == first ? next++ : -1;
        r->n_far += n->node_rank < 0 && ring_talks_to(r, i);
    }
    mem_free(node_of);
}

static void ring_exchange_cards(struct mpx_ring *r, MPI_Comm world)
{
    struct bell_card *cards = mem_array(r->n_ranks, sizeof *cards);
    MPI_Allgather(bell_card(r->bell), sizeof *cards, MPI_BYTE, cards, sizeof *cards, MPI_BYTE, world);
    for (uint32_t i = 0; i < r->n_ranks; i++)
        r->neighbours[i].card = cards[i];
    mem_free(cards);
}

static void ring_share_flags(struct mpx_ring *r)
{
    MPI_Aint size;
    int unit;
    atomic_uint *flag, *first;
    MPI_Info info;
    MPI_Info_create(&info);
    MPI_Info_set(info, "alloc_shared_noncontig", "false");
    MPI_Win_allocate_shared(sizeof(atomic_uint), sizeof(atomic_uint), info, r->node, &flag, &r->window);
    MPI_Info_free(&info);
    MPI_Win_shared_query(r->window, 0, &size, &unit, &first);
    atomic_init(flag, 0);
    r->asleep = first;
    MPI_Barrier(r->node);
}

static void ring_sizes(struct mpx_ring *r, MPI_Comm world)
{
    int rank, n_ranks, node_rank, n_node;
    MPI_Comm_rank(world, &rank);
    MPI_Comm_size(world, &n_ranks);
    MPI_Comm_rank(r->node, &node_rank);
    MPI_Comm_size(r->node, &n_node);
    r->rank = (uint32_t)rank;
    r->n_ranks = (uint32_t)n_ranks;
    r->node_rank = (uint32_t)node_rank;
    r->n_node = (uint32_t)n_node;
}

struct mpx_ring *mpx_ring_open(MPI_Comm world, MPI_Comm node, struct loop *loop, struct err *err)
{
    uint8_t token[8] = {0};
    struct mpx_ring *r = mem_new(sizeof *r);
    r->node = node;
    r->loop = loop;
    r->came_us = loop_now_us(loop);
    ring_sizes(r, world);
    if (r->rank == 0 && getrandom(token, sizeof token, 0) != sizeof token) {
        err_set_errno(err, "cannot draw a random token");
        goto fail;
    }
    MPI_Bcast(token, sizeof token, MPI_BYTE, 0, world);
    ring_find_nodes(r, world);
    r->bell = bell_new(r->rank, token, r->n_far > 0, err);
    if (!r->bell)
        goto fail;
    ring_exchange_cards(r, world);
    if (r->n_node > 1)
        ring_share_flags(r);
    loop_watch(loop, bell_local_fd(r->bell), EPOLLIN, ring_on_bell, r);
    if (bell_far_fd(r->bell) >= 0)
        loop_watch(loop, bell_far_fd(r->bell), EPOLLIN, ring_on_bell, r);
    if (r->rank && r->n_far) /* rank 0 answers: both know then */
        bell_ring_far(r->bell, &r->neighbours[0].far, &r->neighbours[0].card, 0);
    return r;
fail:
    mem_free(r->neighbours);
    mem_free(r);
    return NULL;
}

void mpx_ring_free(struct mpx_ring *r)
{
    if (!r)
        return;
    if (r->asleep)
        MPI_Win_free(&r->window);
    loop_unwatch(r->loop, bell_local_fd(r->bell));
    loop_unwatch(r->loop, bell_far_fd(r->bell));
    bell_free(r->bell);
    mem_free(r->neighbours);
    mem_free(r);
}
