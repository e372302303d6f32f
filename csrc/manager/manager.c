#include "manager/manager.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/idset.h"
#include "base/invariant.h"
#include "base/log.h"
#include "base/mem.h"
#include "manager/recall.h"

#define STOP_TIMEOUT_US 1500000 /* for ranks to say BYE after STOP NOW, or after the grace is over */
/* What nodes may take in a REGISTER, so that one more and the texts of the block fit into its head. */
#define NODES_BYTES (WIRE_MAX_HEAD - 8 * WIRE_MAX_TEXT)
#define FLUSH_BYTES (16u << 20)
#define HOLD_BYTES (64u << 10)

enum state { GATHERING, REGISTERING, RUNNING, STOPPING, OVER };

struct manager {
    enum state state, state_before_stop;
    struct manager_settings settings;
    struct manager_host host;
    struct rank *ranks;
    struct rings rings;
    struct recall recall;
    uint32_t n_stand, n_left, n_lost;
    uint32_t n_known; /* ranks that stand, or are lost before they did */
    char *python_version;
    struct task_table *table;
    struct task_queue queue;
    uint64_t n_workers, capacity, in_flight; /* of all ranks */
    uint64_t task_us; /* what tasks take, for each worker of theirs, summed */
    uint64_t announced_workers, announced_capacity;
    bool announced, draining, drain_heard;
    struct idset cancelling; /* ids that ranks were asked to cancel, and that are not answered yet */
    struct wire_results results;
    struct parts results_payload;
    int64_t now_us, last_heard_us, last_sent_us, period_us, threshold_us;
    int64_t late_at_us, start_by_us, drain_at_us, stop_by_us, beat_at_us;
    /* how it will end */
    enum wire_bye bye;
    char *reason;
    struct parts exception;
    bool interchange_lost;
    bool held; /* ranks get no tasks */
};

static void manager_to_rank(struct manager *manager, struct rank *rank, struct msg *msg)
{
    manager->host.to_rank(manager->host.arg, rank->index, msg);
}

static void manager_to_interchange(struct manager *manager, struct msg *msg)
{
    manager->last_sent_us = manager->now_us;
    if (manager->interchange_lost)
        msg_unref(msg);
    else
        manager->host.to_interchange(manager->host.arg, msg);
}

/* ---- down to the ranks ----------------------------------------------------------------------------------------- */

/* False: more than it had. Its bytes come by MPI from our own program, but its tasks may be lost in a mistake of ours. */
static bool manager_count_back(struct manager *manager, struct rank *rank, uint32_t n)
{
    if (n > rank->in_flight)
        return false;
    rank->in_flight -= n;
    manager->in_flight -= n;
    rank->last_answer_us = manager->now_us;
    rings_place(&manager->rings, rank);
    return true;
}

static void manager_send_tasks(struct manager *manager, struct rank *rank, uint32_t most)
{
    uint32_t space =
        (rank->ring == IDLE && rank->n_workers < rank->capacity ? rank->n_workers : rank->capacity) - rank->in_flight;
    uint32_t n = manager->queue.n < most ? manager->queue.n : most;
    n = n < space ? n : space;
    n = n < WIRE_MAX_ITEMS ? n : WIRE_MAX_ITEMS;
    manager_to_rank(manager, rank, tasks_write(&manager->queue, n));
    rank->in_flight += n;
    manager->in_flight += n;
    rings_place_last(&manager->rings, rank);
}

/* In rounds: an even share for each rank of the ring, in one message each. */
static void manager_dispatch(struct manager *manager)
{
    while (manager->state == RUNNING && !manager->held && manager->queue.n &&
           (manager->rings.of[IDLE].n || manager->rings.of[CREDIT].n)) {
        struct ring_list *ring = manager->rings.of[IDLE].n ? &manager->rings.of[IDLE] : &manager->rings.of[CREDIT];
        uint32_t n_ranks = ring->n, share = (manager->queue.n + n_ranks - 1) / n_ranks;
        for (uint32_t i = 0; i < n_ranks && manager->queue.n; i++)
            manager_send_tasks(manager, ring->first, share);
    }
}

static void manager_ask(void *arg, struct rank *rank, uint32_t n)
{
    manager_to_rank(arg, rank, msg_bare(WIRE_RECALL, 0, n));
}

static void manager_balance(struct manager *manager)
{
    const struct recall_host host = {manager_ask, manager};
    if (manager->state == RUNNING && !manager->held && !manager->queue.n)
        recall_balance(&manager->recall, &manager->rings, manager->now_us, &host);
    else
        manager->recall.look_at_us = INT64_MAX;
}

/* ---- towards the interchange ------------------------------------------------------------------------------------ */

static void manager_flush_results(struct manager *manager)
{
    struct buf head = {0};
    if (!manager->results.n)
        return;
    wire_results_finish(&manager->results, &head);
    manager_to_interchange(manager, msg_new(&head, &manager->results_payload));
}

static void manager_tell_credit(struct manager *manager, bool always)
{
    uint64_t capacity = manager->state == RUNNING ? manager->capacity : 0;
    uint64_t difference = capacity > manager->announced_capacity ? capacity - manager->announced_capacity
                                                                 : manager->announced_capacity - capacity;
    bool differs = !manager->announced || manager->n_workers != manager->announced_workers ||
                   difference > manager->announced_capacity / 4;
    if (!differs && !always)
        return;
    uint32_t task_us = manager->n_workers ? (uint32_t)(manager->task_us / manager->n_workers) : 0;
    manager->announced = true;
    manager->announced_capacity = capacity;
    manager->announced_workers = manager->n_workers;
    struct wire_message credit = {.type = WIRE_CREDIT,
                                  .flags = manager->draining ? WIRE_DRAINING : 0,
                                  .count = capacity > UINT32_MAX ? UINT32_MAX : (uint32_t)capacity,
                                  .credit = {(uint32_t)manager->n_workers, task_us}};
    manager_to_interchange(manager, msg_make(credit, NULL));
}

static void manager_give_back(struct manager *manager)
{
    manager_flush_results(manager);
    while (manager->queue.n)
        manager_to_interchange(
            manager,
            tasks_write(&manager->queue, manager->queue.n < WIRE_MAX_ITEMS ? manager->queue.n : WIRE_MAX_ITEMS));
}

static void manager_tell_lost(struct manager *manager, const struct rank *rank)
{
    manager_to_interchange(manager,
                           msg_text(WIRE_RANK_LOST, manager->settings.first_rank + rank->index, rank->lost_because));
}

/* The ranks that are not lost, as far as a REGISTER can hold them: how many. One is there in any case, for a block that
 * cannot register says so by the BYE that follows. */
static uint32_t manager_put_nodes(const struct manager *manager, struct buf *nodes)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < manager->settings.n_ranks && n < WIRE_MAX_ITEMS && nodes->n < NODES_BYTES; i++)
        if (!manager->ranks[i].lost || manager->n_lost == manager->settings.n_ranks) {
            wire_put_node(nodes, &manager->ranks[i].node);
            n++;
        }
    return n;
}

static void manager_send_register(struct manager *manager)
{
    struct buf nodes = {0};
    uint32_t n_nodes = manager_put_nodes(manager, &nodes);
    const struct manager_settings *s = &manager->settings;
    struct wire_message registration = {
        .type = WIRE_REGISTER,
        .count = n_nodes,
        .registration = {.block_id = wire_text_of(s->block_id),
                         .pool_id = wire_text_of(s->pool_id),
                         .xse_version = wire_text_of(s->xse_version),
                         .python_version = wire_text_of(manager->python_version ? manager->python_version : ""),
                         .mpi = wire_text_of(s->mpi),
                         .zmq = wire_text_of(s->zmq),
                         .nodes = {nodes.p, nodes.n}}};
    manager_to_interchange(manager, msg_make(registration, NULL));
    buf_free(&nodes);
    for (uint32_t i = 0; i < s->n_ranks; i++)
        if (manager->ranks[i].lost)
            manager_tell_lost(manager, &manager->ranks[i]);
}

/* ---- ending ----------------------------------------------------------------------------------------------------- */

static void manager_end(struct manager *manager)
{
    bool orderly = manager->n_left == manager->settings.n_ranks;
    bool failed = manager->bye != WIRE_ASKED && manager->bye != WIRE_DRAINED;
    const char *reason = manager->reason ? manager->reason : "";
    if (manager->state == OVER)
        return;
    manager_give_back(manager);
    if (manager->state_before_stop == GATHERING) /* so that the interchange knows whose BYE this is */
        manager_send_register(manager);
    struct msg *last = msg_bare(WIRE_STOP, WIRE_NOW, failed);
    for (uint32_t i = 0; i < manager->settings.n_ranks;
         i++) /* they leave MPI together: nobody may wait there for long */
        manager_to_rank(manager, &manager->ranks[i], msg_ref(last));
    msg_unref(last);
    struct wire_message bye = {.type = WIRE_BYE, .count = manager->bye, .ending = {wire_text_of(reason)}};
    manager_to_interchange(manager, msg_make(bye, &manager->exception));
    manager->state = OVER;
    log_info("block_over code=%d orderly=%d reason=\"%s\"", manager->bye, orderly, reason);
    manager->host.over(manager->host.arg, failed, orderly, reason);
}

/* Every rank has said BYE. A block that drains waits, besides, for the interchange to have heard so: then no task is under
 * way to it any more. */
static void manager_end_if_all_left(struct manager *manager)
{
    if (manager->n_left < manager->settings.n_ranks)
        return;
    if (manager->bye != WIRE_DRAINED || manager->drain_heard || !manager->announced || manager->stop_by_us < INT64_MAX)
        manager_end(manager);
}

/* Begin to end. The first reason counts; a later call can only make it sooner. */
static void manager_begin_end(struct manager *manager, enum wire_bye code, const char *reason, uint32_t grace_ms)
{
    if (manager->state == OVER)
        return;
    int64_t by = grace_ms == UINT32_MAX ? INT64_MAX : manager->now_us + grace_ms * INT64_C(1000) + STOP_TIMEOUT_US;
    if (manager->state != STOPPING) {
        manager->bye = code;
        manager->reason = mem_text(reason);
        manager->state_before_stop = manager->state;
        manager->state = STOPPING;
        manager->stop_by_us = INT64_MAX;
        manager->draining = true;
        log_info("block_stopping code=%d grace_ms=%u reason=\"%s\"", code, grace_ms, reason);
        manager_give_back(manager);
        if (manager->announced)
            manager_tell_credit(manager, true);
    } else if (by >= manager->stop_by_us && grace_ms)
        return;
    if (by < manager->stop_by_us)
        manager->stop_by_us = by;
    struct msg *to_all = msg_bare(WIRE_STOP, grace_ms ? 0 : WIRE_NOW, grace_ms);
    for (uint32_t i = 0; i < manager->settings.n_ranks; i++)
        if (!manager->ranks[i].bye)
            manager_to_rank(manager, &manager->ranks[i], msg_ref(to_all));
    msg_unref(to_all);
    manager_end_if_all_left(manager);
}

/* ---- what ranks say --------------------------------------------------------------------------------------------- */

static void manager_register(struct manager *manager)
{
    struct buf nodes = {0};
    uint32_t n = manager->settings.n_ranks - manager->n_lost, n_nodes = manager_put_nodes(manager, &nodes);
    buf_free(&nodes);
    manager->state = REGISTERING;
    manager_send_register(manager);
    if (n_nodes == n)
        return;
    char reason[300];
    snprintf(reason, sizeof reason,
             "%u ranks are too many for one block, whose REGISTER holds %u of them: start several smaller blocks "
             "(fewer nodes_per_block, more blocks)",
             n, n_nodes);
    manager_begin_end(manager, WIRE_FAILED, reason, 0);
}

/* Of each rank it is known now that it stands, or that it is lost. */
static void manager_register_if_all_are_known(struct manager *manager)
{
    if (manager->state == GATHERING && manager->n_known == manager->settings.n_ranks)
        manager_register(manager);
}

static void manager_on_node(struct manager *manager, struct rank *rank, const struct msg *msg)
{
    if (rank->stands || rank->lost || manager->state != GATHERING)
        return;
    rank->stands = true;
    rings_place(&manager->rings, rank);
    rank->node = msg->wire.leader.node;
    rank->node.rank = manager->settings.first_rank + rank->index;
    rank->node.host.p = mem_text_n(rank->node.host.p, rank->node.host.n);
    if (!manager->python_version)
        manager->python_version = mem_text_n(msg->wire.leader.python_version.p, msg->wire.leader.python_version.n);
    manager->n_stand++;
    manager->n_known++;
    manager_register_if_all_are_known(manager);
}

static void manager_set_credit(struct manager *manager, struct rank *rank, uint32_t capacity, uint32_t n_workers,
                               uint32_t task_us)
{
    manager->n_workers += n_workers - (uint64_t)rank->n_workers;
    manager->capacity += capacity - (uint64_t)rank->capacity;
    manager->task_us += (uint64_t)task_us * n_workers - (uint64_t)rank->task_us * rank->n_workers;
    rank->n_workers = n_workers;
    rank->capacity = capacity;
    rank->task_us = task_us;
    rings_place(&manager->rings, rank);
}

/* The rank gives no tasks: it has none to spare, or it ends. */
static void manager_has_none(struct manager *manager, struct rank *rank)
{
    recall_answered(&manager->recall, rank);
    if (recall_was_in_vain(&manager->recall))
        manager_tell_credit(manager, true);
}

static void manager_forget_cancelling(struct manager *manager, const struct msg *answers)
{
    for (uint32_t i = 0; manager->cancelling.n && i < answers->wire.count; i++)
        idset_remove(&manager->cancelling, wire_id(&answers->wire, i));
}

static void manager_cancel_here(struct manager *manager, struct task *task)
{
    if (manager->results.n == WIRE_MAX_ITEMS)
        manager_flush_results(manager);
    wire_results_add(&manager->results, &(struct wire_result){.id = task->id, .status = WIRE_CANCELLED});
    task_remove(&manager->queue, task);
    task_free(task);
}

/* A task that left its rank before the CANCEL came there is cancelled here. */
static void manager_queue_again(struct manager *manager, const struct msg *msg)
{
    tasks_read(manager->table, msg, &manager->queue);
    for (uint32_t i = 0; manager->cancelling.n && i < msg->wire.count; i++) {
        uint64_t id = wire_id(&msg->wire, i);
        if (idset_remove(&manager->cancelling, id))
            manager_cancel_here(manager, task_table_find(manager->table, id));
    }
}

static void manager_on_tasks_back(struct manager *manager, struct rank *rank, struct msg *msg)
{
    enum recall_for whom = recall_answered(&manager->recall, rank);
    if (manager->state == RUNNING && whom != RECALL_INTERCHANGE) {
        manager_queue_again(manager, msg);
        return;
    }
    manager_flush_results(manager);
    manager_to_interchange(manager, msg_ref(msg));
    recall_gave_interchange(&manager->recall);
}

/* How many ranks must be left for the block to go on. */
static uint32_t manager_floor(const struct manager *manager)
{
    uint32_t n = manager->settings.n_ranks, min = manager->settings.min_ranks;
    return !min ? (n + 1) / 2 : min < n ? min : n;
}

static void manager_lose_rank(struct manager *manager, struct rank *rank, const char *reason)
{
    uint32_t n = manager->settings.n_ranks, left = n - ++manager->n_lost;
    rank->lost = true;
    manager->n_known += !rank->stands;
    rank->lost_because = mem_text(reason);
    rings_place(&manager->rings, rank);
    log_error("rank_lost rank=%u left=%u of=%u reason=\"%s\"", rank->index, left, n, reason);
    if (left < manager_floor(manager)) {
        char all[1400];
        snprintf(all, sizeof all, "%u of %u ranks are lost, and the block needs %u (min_ranks); the last is %s",
                 manager->n_lost, n, manager_floor(manager), reason);
        manager_begin_end(manager, WIRE_FAILED, n > 1 ? all : reason, 0);
        return;
    }
    if (manager->state == GATHERING)
        manager_register_if_all_are_known(manager);
    else
        manager_tell_lost(manager, rank);
}

static void manager_on_bye(struct manager *manager, struct rank *rank, const struct msg *msg)
{
    if (rank->bye)
        return;
    rank->bye = true;
    rank->failed = msg->wire.count == WIRE_FAILED;
    manager_set_credit(manager, rank, 0, 0, 0);
    manager_has_none(manager, rank);
    if (manager->state == STOPPING)
        return;
    char *reason = mem_text_n(msg->wire.ending.reason.p, msg->wire.ending.reason.n);
    if (msg->wire.count == WIRE_SETUP_RAISED) { /* so it will everywhere */
        parts_add_range(&manager->exception, &msg->payload, (struct place){0, 0}, msg->payload.length);
        manager_begin_end(manager, WIRE_SETUP_RAISED, reason, 0);
    } else if (!rank->lost)
        manager_lose_rank(manager, rank, reason);
    mem_free(reason);
}

/* A rank has left when it has said BYE. One that has failed answers or gives back all that it had, tasks included that were
 * under way to it when it did. */
static void manager_has_left(struct manager *manager, struct rank *rank)
{
    if (rank->left || !rank->bye || (rank->failed && rank->in_flight))
        return;
    rank->left = true;
    manager->n_left++;
    if (manager->state == STOPPING)
        manager_end_if_all_left(manager);
}

void manager_on_rank(struct manager *manager, uint32_t index, struct msg *msg, int64_t now_us)
{
    struct rank *rank = &manager->ranks[index];
    manager->now_us = rank->last_heard_us = now_us;
    if (manager->state == OVER)
        return;
    switch (msg->wire.type) {
    case WIRE_NODE:
        manager_on_node(manager, rank, msg);
        break;
    case WIRE_CREDIT:
        manager_set_credit(manager, rank, msg->wire.count, msg->wire.credit.n_workers, msg->wire.credit.task_us);
        manager_has_none(manager, rank);
        break;
    case WIRE_RESULTS:
        if (!manager_count_back(manager, rank, msg->wire.count)) {
            log_error("results_not_asked_for rank=%u n=%u in_flight=%u", index, msg->wire.count, rank->in_flight);
            break;
        }
        if (manager->results.n + msg->wire.count > WIRE_MAX_ITEMS ||
            manager->results.payload_length + msg->wire.payload_length > FLUSH_BYTES)
            manager_flush_results(manager);
        manager_forget_cancelling(manager, msg);
        wire_results_append(&manager->results, &msg->wire, rank->clock.ahead_us);
        parts_add_range(&manager->results_payload, &msg->payload, (struct place){0, 0}, msg->payload.length);
        break;
    case WIRE_TASKS:
        if (manager_count_back(manager, rank, msg->wire.count))
            manager_on_tasks_back(manager, rank, msg);
        else
            log_error("tasks_not_given rank=%u n=%u in_flight=%u", index, msg->wire.count, rank->in_flight);
        break;
    case WIRE_STARTED:
        manager_forget_cancelling(manager, msg);
        manager_to_interchange(manager, msg_ref(msg));
        break;
    case WIRE_STOP:
        manager_on_signal(manager, now_us);
        break;
    case WIRE_BYE:
        manager_on_bye(manager, rank, msg);
        break;
    case WIRE_LOG:
        log_line((enum log_level)msg->wire.count, "%.*s", (int)msg->wire.log.line.n, msg->wire.log.line.p);
        break;
    case WIRE_HEARTBEAT:
        if (msg->wire.heartbeat.echo_us)
            clock_learn(&rank->clock, (int64_t)msg->wire.heartbeat.echo_us, (int64_t)msg->wire.heartbeat.clock_us,
                        now_us);
        break;
    default:
        log_error("message_unexpected rank=%u type=%d", index, msg->wire.type);
    }
    manager_has_left(manager, rank);
}

/* ---- what the interchange says ---------------------------------------------------------------------------------- */

static void manager_on_welcome(struct manager *manager, const struct msg *msg)
{
    struct parts setup = {0};
    if (manager->state != REGISTERING)
        return;
    manager->state = RUNNING;
    manager->period_us = msg->wire.welcome.heartbeat_period_ms * INT64_C(1000);
    manager->threshold_us = msg->wire.welcome.heartbeat_threshold_ms * INT64_C(1000);
    manager->beat_at_us = manager->now_us + manager->period_us;
    struct wire_message start = {.type = WIRE_START,
                                 .count = manager->settings.n_ranks,
                                 .start = {.heartbeat_period_ms = msg->wire.welcome.heartbeat_period_ms,
                                           .heartbeat_threshold_ms = msg->wire.welcome.heartbeat_threshold_ms,
                                           .setup_codec = msg->wire.welcome.setup_codec,
                                           .block_id = wire_text_of(manager->settings.block_id),
                                           .pool_id = wire_text_of(manager->settings.pool_id)}};
    parts_add_range(&setup, &msg->payload, (struct place){0, 0}, msg->payload.length);
    struct msg *to_all = msg_make(start, &setup); /* one for all ranks: it is framed once */
    struct msg *clock = msg_heartbeat(manager->now_us, 0);
    for (uint32_t i = 0; i < manager->settings.n_ranks; i++) {
        manager_to_rank(manager, &manager->ranks[i], msg_ref(to_all));
        manager_to_rank(manager, &manager->ranks[i], msg_ref(clock));
        manager->ranks[i].last_heard_us = manager->now_us;
    }
    msg_unref(to_all);
    msg_unref(clock);
    log_info("block_welcome block=%s ranks=%u", manager->settings.block_id, manager->settings.n_ranks);
}

static void manager_on_refuse(struct manager *manager, const struct msg *msg)
{
    char reason[1200];
    snprintf(reason, sizeof reason, "the interchange refuses this block: %.*s", (int)msg->wire.ending.reason.n,
             msg->wire.ending.reason.p);
    manager_begin_end(manager, WIRE_FAILED, reason, 0);
}

static void manager_on_cancel(struct manager *manager, struct msg *msg)
{
    uint32_t n_here = 0;
    for (uint32_t i = 0; i < msg->wire.count; i++) {
        uint64_t id = wire_id(&msg->wire, i);
        struct task *task = task_table_find(manager->table, id);
        if (task) {
            manager_cancel_here(manager, task);
            n_here++;
        } else if (manager->in_flight)
            idset_add(&manager->cancelling, id);
    }
    /* Which rank has the others is written nowhere; a leader passes over what it does not know. */
    for (uint32_t i = 0; n_here < msg->wire.count && i < manager->settings.n_ranks; i++)
        if (manager->ranks[i].in_flight)
            manager_to_rank(manager, &manager->ranks[i], msg_ref(msg));
}

static void manager_on_recall(struct manager *manager, uint64_t wanted)
{
    struct task_queue back = {0};
    manager_flush_results(manager);
    while (back.n < wanted && back.n < WIRE_MAX_ITEMS && manager->queue.n)
        task_push_front(&back, task_pop_last(&manager->queue));
    if (back.n) {
        manager_to_interchange(manager, tasks_write(&back, back.n));
        return;
    }
    if (!recall_for_interchange(&manager->recall, &manager->rings, wanted, &(struct recall_host){manager_ask, manager}))
        manager_tell_credit(manager, true);
}

void manager_on_interchange(struct manager *manager, struct msg *msg, int64_t now_us)
{
    manager->now_us = manager->last_heard_us = now_us;
    if (manager->state == OVER)
        return;
    switch (msg->wire.type) {
    case WIRE_WELCOME:
        manager_on_welcome(manager, msg);
        break;
    case WIRE_REFUSE:
        manager_on_refuse(manager, msg);
        break;
    case WIRE_TASKS:
        if (manager->state == RUNNING)
            tasks_read(manager->table, msg, &manager->queue);
        else
            manager_to_interchange(manager, msg_ref(msg)); /* given back as it came */
        break;
    case WIRE_CANCEL:
        manager_on_cancel(manager, msg);
        break;
    case WIRE_RECALL:
        manager_on_recall(manager, msg->wire.count);
        break;
    case WIRE_STOP:
        manager->drain_heard = manager->draining;
        manager_begin_end(manager, WIRE_ASKED, "", msg->wire.flags & WIRE_NOW ? 0 : msg->wire.count);
        manager_end_if_all_left(manager);
        break;
    case WIRE_HEARTBEAT:
        manager_to_interchange(manager, msg_heartbeat(now_us, msg->wire.heartbeat.clock_us));
        break;
    default:
        log_warning("message_unexpected from=interchange type=%d", msg->wire.type);
    }
}

void manager_on_interchange_lost(struct manager *manager, const char *reason, int64_t now_us)
{
    manager->now_us = now_us;
    manager->interchange_lost = true;
    manager_begin_end(manager, WIRE_FAILED, reason, 0);
}

void manager_on_signal(struct manager *manager, int64_t now_us)
{
    manager->now_us = now_us;
    manager_begin_end(manager, WIRE_SIGNAL, "the pool was asked to end by a signal", manager->settings.grace_ms);
}

void manager_hold(struct manager *manager, bool held)
{
    manager->held = held;
}

void manager_on_heard(struct manager *manager, uint32_t rank, int64_t now_us)
{
    manager->ranks[rank].last_heard_us = now_us;
}

/* ---- time ------------------------------------------------------------------------------------------------------- */

static void manager_beat(struct manager *manager)
{
    manager->beat_at_us = manager->now_us + manager->period_us / 2;
    for (uint32_t i = 0; i < manager->settings.n_ranks; i++) {
        struct rank *rank = &manager->ranks[i];
        if (!rank->bye && !rank->lost && manager->now_us - rank->last_heard_us > manager->threshold_us) {
            char reason[1200];
            snprintf(reason, sizeof reason, "rank %u on %s has been silent for longer than the heartbeat threshold",
                     rank->index, rank->node.host.p ? rank->node.host.p : "?");
            manager_begin_end(manager, WIRE_FAILED, reason, 0);
            return;
        }
        manager_to_rank(manager, rank, msg_heartbeat(manager->now_us, 0)); /* its answer tells its clock */
    }
    if (manager->now_us - manager->last_sent_us >= manager->period_us / 2)
        manager_to_interchange(manager, msg_heartbeat(manager->now_us, 0));
    if (manager->now_us - manager->last_heard_us > manager->threshold_us)
        manager_on_interchange_lost(manager, "the interchange has been silent for longer than the heartbeat threshold",
                                    manager->now_us);
}

static uint32_t manager_first_late_rank(const struct manager *manager)
{
    uint32_t i = 0;
    while (i < manager->settings.n_ranks && (manager->ranks[i].stands || manager->ranks[i].lost))
        i++;
    return i;
}

/* Ranks that have not started in good time: the block goes on without them, if there are enough others. It does so before
 * start_timeout is over, which is when the executor gives the block up. */
static void manager_lose_late_ranks(struct manager *manager)
{
    char reason[200];
    uint32_t i;
    manager->late_at_us = INT64_MAX;
    if (manager->n_stand < manager_floor(manager))
        return;
    while (manager->state == GATHERING && (i = manager_first_late_rank(manager)) < manager->settings.n_ranks) {
        snprintf(reason, sizeof reason, "rank %u, which had not started after three quarters of start_timeout (%lld s)",
                 manager->settings.first_rank + i, (long long)(manager->settings.start_timeout_us / 1000000));
        manager_to_rank(manager, &manager->ranks[i], msg_bare(WIRE_STOP, WIRE_NOW, 0));
        manager_lose_rank(manager, &manager->ranks[i], reason);
    }
}

static void manager_start_is_late(struct manager *manager)
{
    char reason[300];
    if (manager->state == REGISTERING)
        snprintf(reason, sizeof reason, "the interchange has not answered the registration");
    else
        snprintf(reason, sizeof reason,
                 "only %u of %u ranks have started within %lld s (start_timeout); rank %u is the first that has not",
                 manager->n_stand, manager->settings.n_ranks, (long long)(manager->settings.start_timeout_us / 1000000),
                 manager->settings.first_rank + manager_first_late_rank(manager));
    manager_begin_end(manager, WIRE_FAILED, reason, 0);
}

void manager_on_tick(struct manager *manager, int64_t now_us)
{
    manager->now_us = now_us;
    if (manager->state == GATHERING && now_us >= manager->late_at_us)
        manager_lose_late_ranks(manager);
    if ((manager->state == GATHERING || manager->state == REGISTERING) && now_us >= manager->start_by_us)
        manager_start_is_late(manager);
    if (manager->period_us && manager->state != OVER && now_us >= manager->beat_at_us)
        manager_beat(manager);
    if (manager->state == RUNNING && manager->drain_at_us && now_us >= manager->drain_at_us)
        manager_begin_end(manager, WIRE_DRAINED, "drain_period is over", UINT32_MAX);
    if (manager->state == STOPPING && now_us >= manager->stop_by_us)
        manager_end(manager);
}

int64_t manager_deadline_us(const struct manager *manager)
{
    int64_t next = INT64_MAX;
    if (manager->state == GATHERING || manager->state == REGISTERING)
        next = manager->start_by_us;
    if (manager->state == GATHERING && manager->late_at_us < next)
        next = manager->late_at_us;
    if (manager->state == STOPPING)
        next = manager->stop_by_us;
    if (manager->state == RUNNING && manager->recall.look_at_us < next)
        next = manager->recall.look_at_us;
    if (manager->state == RUNNING && manager->drain_at_us && manager->drain_at_us < next)
        next = manager->drain_at_us;
    if (manager->period_us && manager->state != OVER && manager->beat_at_us < next)
        next = manager->beat_at_us;
    return next;
}

static bool manager_may_gather(const struct manager *manager)
{
    return manager->results.payload_length < HOLD_BYTES && manager->host.interchange_is_busy &&
           manager->host.interchange_is_busy(manager->host.arg);
}

void manager_flush(struct manager *manager, int64_t now_us)
{
    manager->now_us = now_us;
    if (manager->state == OVER)
        return;
    if (!manager->in_flight) /* what is still in it was asked for too late: the results had left before */
        idset_clear(&manager->cancelling);
    manager_dispatch(manager);
    manager_balance(manager);
    if (manager->results.n && !manager_may_gather(manager))
        manager_flush_results(manager);
    if (manager->state == RUNNING && (manager->n_workers || manager->announced))
        manager_tell_credit(manager, false);
    INVARIANT(manager_check(manager));
}

const char *manager_check(const struct manager *manager)
{
    uint64_t n_workers = 0, capacity = 0, in_flight = 0, task_us = 0;
    uint32_t n_stand = 0, n_left = 0, n_lost = 0, n_known = 0;
    for (uint32_t i = 0; i < manager->settings.n_ranks; i++) {
        const struct rank *rank = &manager->ranks[i];
        n_workers += rank->n_workers;
        capacity += rank->capacity;
        in_flight += rank->in_flight;
        task_us += (uint64_t)rank->task_us * rank->n_workers;
        n_stand += rank->stands;
        n_left += rank->left;
        n_lost += rank->lost;
        n_known += rank->stands || rank->lost;
    }
    if (n_workers != manager->n_workers || capacity != manager->capacity || task_us != manager->task_us)
        return "the block's credit is not the sum of its ranks'";
    if (in_flight != manager->in_flight)
        return "the tasks in flight are not the sum over the ranks";
    if (n_stand != manager->n_stand || n_left != manager->n_left || n_lost != manager->n_lost ||
        n_known != manager->n_known)
        return "the ranks that stand, that have ended, or that are lost, are not counted right";
    if (manager->state == RUNNING && !manager->held && manager->queue.n && manager->rings.of[IDLE].n)
        return "a worker waits while a task does";
    const char *broken = rings_check(&manager->rings, manager->ranks, manager->settings.n_ranks);
    return broken ? broken : recall_check(&manager->recall, manager->ranks, manager->settings.n_ranks);
}

/* ---- life ------------------------------------------------------------------------------------------------------- */

struct manager *manager_new(const struct manager_settings *settings, const struct manager_host *host, int64_t now_us)
{
    struct manager *manager = mem_new(sizeof *manager);
    manager->settings = *settings;
    manager->settings.block_id = mem_text(settings->block_id);
    manager->settings.pool_id = mem_text(settings->pool_id);
    manager->settings.xse_version = mem_text(settings->xse_version);
    manager->settings.mpi = mem_text(settings->mpi);
    manager->settings.zmq = mem_text(settings->zmq);
    manager->host = *host;
    manager->table = task_table_new(0);
    manager->ranks = mem_array(settings->n_ranks, sizeof *manager->ranks);
    for (uint32_t i = 0; i < settings->n_ranks; i++)
        manager->ranks[i].index = i;
    manager->now_us = manager->last_heard_us = manager->last_sent_us = now_us;
    manager->late_at_us = now_us + settings->start_timeout_us / 4 * 3;
    manager->start_by_us = now_us + settings->start_timeout_us;
    manager->drain_at_us = settings->drain_after_us ? now_us + settings->drain_after_us : 0;
    recall_init(&manager->recall, now_us);
    return manager;
}

void manager_free(struct manager *manager)
{
    if (!manager)
        return;
    for (uint32_t i = 0; i < manager->settings.n_ranks; i++) {
        mem_free((void *)(uintptr_t)manager->ranks[i].node.host.p);
        mem_free(manager->ranks[i].lost_because);
    }
    task_queue_clear(&manager->queue);
    task_table_free(manager->table);
    wire_results_free(&manager->results);
    parts_clear(&manager->results_payload);
    parts_clear(&manager->exception);
    mem_free((void *)(uintptr_t)manager->settings.block_id);
    mem_free((void *)(uintptr_t)manager->settings.pool_id);
    mem_free((void *)(uintptr_t)manager->settings.xse_version);
    mem_free((void *)(uintptr_t)manager->settings.mpi);
    mem_free((void *)(uintptr_t)manager->settings.zmq);
    idset_clear(&manager->cancelling);
    mem_free(manager->python_version);
    mem_free(manager->reason);
    mem_free(manager->ranks);
    mem_free(manager);
}
