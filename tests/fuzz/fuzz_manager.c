/* What a manager accepts from ranks and from the interchange, in any order, good messages and others: it never answers
 * for more tasks than it was given, and after its end it says nothing. */
#include <stdio.h>

#include "feed.h"
#include "manager/manager.h"

#define MOST_RANKS 3

struct world {
    struct manager *manager;
    uint32_t n_ranks;
    uint64_t n_in, n_up, n_down[MOST_RANKS], next_id;
    int64_t now_us;
    bool over;
};

static uint64_t tasks_in(const struct msg *msg)
{
    return msg->wire.type == WIRE_TASKS || msg->wire.type == WIRE_RESULTS ? msg->wire.count : 0;
}

static void to_rank(void *arg, uint32_t rank, struct msg *msg)
{
    struct world *w = arg;
    MUST(!w->over && rank < w->n_ranks);
    w->n_down[rank] += tasks_in(msg);
    msg_unref(msg);
}

static void to_interchange(void *arg, struct msg *msg)
{
    struct world *w = arg;
    MUST(!w->over);
    w->n_up += tasks_in(msg);
    MUST(w->n_up <= w->n_in);
    msg_unref(msg);
}

static void on_over(void *arg, int exit_code, bool orderly, const char *reason)
{
    struct world *w = arg;
    MUST(!w->over && exit_code >= 0 && reason);
    (void)orderly;
    w->over = true;
}

static struct msg *make_node(struct feed *f)
{
    uint32_t n_workers = feed_u32(f);
    struct wire_node node = {.rank = feed_byte(f), .n_workers = n_workers, .host = {"n", 1}};
    struct wire_message present = {.type = WIRE_NODE, .leader = {node, wire_text_of("3.11.7")}};
    return msg_make(present, NULL);
}

static struct msg *make_credit(struct feed *f)
{
    uint32_t capacity = feed_u32(f), n_workers = feed_u32(f), task_us = feed_u32(f);
    struct wire_message credit = {
        .type = WIRE_CREDIT, .flags = capacity & 1, .count = capacity, .credit = {n_workers, task_us}};
    return msg_make(credit, NULL);
}

static struct msg *make_welcome(struct feed *f)
{
    struct wire_message welcome = {.type = WIRE_WELCOME, .welcome = {1u + feed_byte(f), 1000, 0, 0}};
    struct parts setup = feed_payload((const uint8_t *)"set", 3);
    return msg_make(welcome, &setup);
}

static uint32_t some(struct feed *f)
{
    return 1 + feed_byte(f) % 8;
}

static struct msg *from_rank(struct world *w, struct feed *f, uint8_t kind)
{
    uint64_t first = w->next_id > 64 ? w->next_id - feed_byte(f) % 64 : feed_byte(f);
    switch (kind % 10) {
    case 0:
        return make_node(f);
    case 1:
    case 2:
        return make_credit(f);
    case 3:
    case 4:
        return feed_results(first, some(f), feed_byte(f), feed_byte(f) % (WIRE_BLOCK_FAILED + 1));
    case 5:
        return feed_tasks(f, first, some(f));
    case 6:
        return feed_ids(WIRE_STARTED, 0, first, some(f));
    case 7:
        return msg_text(WIRE_BYE, feed_byte(f) % 5, "why");
    case 8:
        return feed_byte(f) & 1 ? msg_bare(WIRE_STOP, 0, 0) : msg_heartbeat(feed_u32(f), feed_u32(f));
    default:
        return feed_raw(f);
    }
}

static struct msg *from_interchange(struct world *w, struct feed *f, uint8_t kind)
{
    uint32_t n;
    switch (kind % 8) {
    case 0:
        return make_welcome(f);
    case 1:
    case 2:
    case 3:
        n = some(f);
        w->next_id += n;
        return feed_tasks(f, w->next_id - n, n);
    case 4:
        return feed_ids(WIRE_CANCEL, feed_byte(f) & 1, w->next_id - feed_byte(f) % 64, some(f));
    case 5:
        return msg_bare(WIRE_RECALL, 0, 1 + feed_byte(f));
    case 6:
        return msg_bare(WIRE_STOP, feed_byte(f) & 1, feed_u32(f));
    default:
        return feed_raw(f);
    }
}

static void hear(struct world *w, struct feed *f, uint8_t op)
{
    uint32_t rank = feed_byte(f) % w->n_ranks;
    struct msg *msg = op < 128 ? from_rank(w, f, op) : from_interchange(w, f, op);
    if (!msg)
        return;
    if (op < 128)
        manager_on_rank(w->manager, rank, msg, w->now_us);
    else {
        w->n_in += msg->wire.type == WIRE_TASKS ? msg->wire.count : 0;
        manager_on_interchange(w->manager, msg, w->now_us);
    }
    msg_unref(msg);
}

static void step(struct world *w, struct feed *f)
{
    uint8_t op = feed_byte(f);
    if (op < 230)
        hear(w, f, op);
    else if (op < 244) {
        w->now_us += (int64_t)feed_u32(f) * 1000;
        manager_on_tick(w->manager, w->now_us);
        MUST(manager_deadline_us(w->manager) > 0);
    } else if (op < 246)
        manager_on_interchange_lost(w->manager, "lost", w->now_us);
    else if (op < 248)
        manager_on_signal(w->manager, w->now_us);
    else
        manager_flush(w->manager, w->now_us);
}

/* Most inputs begin with a block that runs. */
static void start(struct world *w)
{
    static const uint8_t nothing[1];
    for (uint32_t i = 0; i < w->n_ranks; i++) {
        struct msg *node = make_node(&(struct feed){nothing, nothing});
        manager_on_rank(w->manager, i, node, 0);
        msg_unref(node);
    }
    struct msg *welcome = make_welcome(&(struct feed){(const uint8_t *)"\x63", nothing});
    manager_on_interchange(w->manager, welcome, 0);
    msg_unref(welcome);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct feed feed = {data, data + size};
    uint8_t first = feed_byte(&feed);
    struct world w = {.n_ranks = 1 + first % MOST_RANKS, .next_id = 100};
    struct manager_host host = {to_rank, to_interchange, NULL, on_over, &w};
    struct manager_settings settings = {.n_ranks = w.n_ranks,
                                        .block_id = "7",
                                        .pool_id = "p",
                                        .xse_version = "1",
                                        .mpi = "MPI",
                                        .zmq = "4",
                                        .start_timeout_us = 60000000,
                                        .drain_after_us = first & 64 ? 1000000 : 0,
                                        .grace_ms = 1000};
    feed_quiet();
    w.manager = manager_new(&settings, &host, 0);
    if (!(first & 128))
        start(&w);
    while (feed_left(&feed)) {
        step(&w, &feed);
        if (first & 32)
            manager_flush(w.manager, w.now_us);
    }
    manager_flush(w.manager, w.now_us);
    manager_free(w.manager);
    return 0;
}
