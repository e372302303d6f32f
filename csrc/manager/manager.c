#include "manager/manager.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/idset.h"
#include "base/log.h"
#include "base/mem.h"
#include "manager/rings.h"

#define STOP_TIMEOUT_US 1500000 /* for ranks to say BYE after STOP NOW, or after the grace is over */
/* A rank with more tasks than workers is asked for some when another's worker waits: at once if by its own account they
 * last longer than this, and in any case when it has answered nothing for LATE_US. Below, the way there is the loss. */
#define WORTH_US 5000.0
#define LATE_US 10000
#define LOOK_AGAIN_US 2000 /* after all ranks were looked at in vain */
#define FLUSH_BYTES (16u << 20)
#define HOLD_BYTES (64u << 10)

enum state { GATHERING, REGISTERING, RUNNING, STOPPING, OVER };

struct manager {
    enum state state, state_before_stop;
    struct manager_settings settings;
    struct manager_host host;
    struct rank *ranks;
    struct rings rings;
    uint32_t n_stand, n_bye;
    char *python_version;
    struct room *room;
    struct task_queue queue;
    uint64_t n_workers, capacity, in_flight; /* of all ranks */
    uint64_t task_us; /* what tasks take, for each worker of theirs, summed */
    uint64_t asked; /* tasks that ranks were asked for and have not answered about */
    uint64_t told_workers, told_capacity;
    bool told, draining, drain_heard;
    struct idset cancelling; /* ids that ranks were asked to cancel, and that are not answered yet */
    uint64_t owed; /* tasks that come back from ranks go up, so many of them: the interchange has recalled them */
    uint32_t n_asked; /* ranks that were asked for them and have not answered */
    struct wire_results results;
    struct parts results_payload;
    int64_t now_us, last_heard_us, last_sent_us, period_us, threshold_us;
    int64_t start_by_us, drain_at_us, stop_by_us, beat_at_us, balance_at_us, looked_at_us;
    /* how it will end */
    enum wire_bye bye;
    char *reason;
    struct parts exception;
    bool interchange_lost;
};

static void to_rank(struct manager *m, struct rank *r, struct msg *msg)
{
    r->last_sent_us = m->now_us;
    m->host.to_rank(m->host.arg, r->index, msg);
}

static void to_interchange(struct manager *m, struct msg *msg)
{
    m->last_sent_us = m->now_us;
    if (m->interchange_lost)
        msg_unref(msg);
    else
        m->host.to_interchange(m->host.arg, msg);
}

/* ---- down to the ranks ----------------------------------------------------------------------------------------- */

/* False: more than it had. Its bytes come by MPI from our own program, but its tasks may be lost in a mistake of ours. */
static bool landed(struct manager *m, struct rank *r, uint32_t n)
{
    if (n > r->in_flight)
        return false;
    r->in_flight -= n;
    m->in_flight -= n;
    r->last_answer_us = m->now_us;
    rings_place(&m->rings, r);
    return true;
}

static void send_some(struct manager *m, struct rank *r, uint32_t most)
{
    uint32_t room = (r->ring == IDLE && r->n_workers < r->capacity ? r->n_workers : r->capacity) - r->in_flight;
    uint32_t n = m->queue.n < most ? m->queue.n : most;
    n = n < room ? n : room;
    n = n < WIRE_MAX_ITEMS ? n : WIRE_MAX_ITEMS;
    to_rank(m, r, tasks_write(&m->queue, n));
    r->in_flight += n;
    m->in_flight += n;
    rings_place_last(&m->rings, r);
}

/* In rounds: an even share for each rank of the ring, in one message each. */
static void dispatch(struct manager *m)
{
    while (m->state == RUNNING && m->queue.n && (m->rings.of[IDLE].n || m->rings.of[ROOM].n)) {
        struct ring_list *ring = m->rings.of[IDLE].n ? &m->rings.of[IDLE] : &m->rings.of[ROOM];
        uint32_t n_ranks = ring->n, share = (m->queue.n + n_ranks - 1) / n_ranks;
        for (uint32_t i = 0; i < n_ranks && m->queue.n; i++)
            send_some(m, ring->first, share);
    }
}

static void ask_back(struct manager *m, struct rank *r, uint32_t n)
{
    r->recalled = true;
    r->asked = n;
    m->asked += n;
    to_rank(m, r, msg_bare(WIRE_RECALL, 0, n));
}

/* A worker waits while another rank has tasks that wait: ask for a fair share of them, of as few ranks as have it. */
static void balance(struct manager *m)
{
    m->balance_at_us = INT64_MAX;
    if (m->state != RUNNING || m->queue.n || !m->rings.idle || !m->rings.ahead)
        return;
    if (m->now_us < m->looked_at_us + LOOK_AGAIN_US) {
        m->balance_at_us = m->looked_at_us + LOOK_AGAIN_US;
        return;
    }
    uint64_t share = m->rings.ahead * m->rings.idle / (m->rings.idle + m->rings.workers_ahead), idle = m->rings.idle;
    uint64_t wanted = share ? share : 1;
    wanted -= wanted < m->asked ? wanted : m->asked;
    bool in_vain = wanted > 0;
    for (int ring = ROOM; ring <= AHEAD; ring++)
        for (struct rank *r = m->rings.of[ring].first; r && wanted; r = r->next) {
            if (!r->ahead || r->recalled)
                continue;
            bool late = m->now_us - r->last_answer_us >= LATE_US;
            if (!late && (double)r->ahead * r->task_us / r->n_workers < WORTH_US) {
                m->balance_at_us = m->now_us + LATE_US;
                continue;
            }
            uint64_t here = r->ahead * idle / (idle + r->n_workers);
            here = here ? here : 1;
            here = here < wanted ? here : wanted;
            wanted -= here;
            in_vain = false;
            ask_back(m, r, (uint32_t)here);
        }
    if (in_vain)
        m->looked_at_us = m->now_us;
}

/* ---- towards the interchange ------------------------------------------------------------------------------------ */

static void flush_results(struct manager *m)
{
    struct buf head = {0};
    if (!m->results.n)
        return;
    wire_results_finish(&m->results, &head);
    to_interchange(m, msg_new(&head, &m->results_payload));
}

static void tell_credit(struct manager *m, bool always)
{
    uint64_t capacity = m->state == RUNNING ? m->capacity : 0;
    uint64_t difference = capacity > m->told_capacity ? capacity - m->told_capacity : m->told_capacity - capacity;
    bool differs = !m->told || m->n_workers != m->told_workers || difference > m->told_capacity / 4;
    if (!differs && !always)
        return;
    struct buf head = {0};
    uint32_t task_us = m->n_workers ? (uint32_t)(m->task_us / m->n_workers) : 0;
    wire_put_credit(&head, capacity > UINT32_MAX ? UINT32_MAX : (uint32_t)capacity, (uint32_t)m->n_workers, task_us,
                    m->draining);
    m->told = true;
    m->told_capacity = capacity;
    m->told_workers = m->n_workers;
    to_interchange(m, msg_new(&head, NULL));
}

static void give_back(struct manager *m)
{
    flush_results(m);
    while (m->queue.n)
        to_interchange(m, tasks_write(&m->queue, m->queue.n < WIRE_MAX_ITEMS ? m->queue.n : WIRE_MAX_ITEMS));
}

static void send_register(struct manager *m)
{
    struct buf head = {0};
    const struct manager_settings *s = &m->settings;
    struct wire_node *nodes = mem_array(s->n_ranks, sizeof *nodes);
    for (uint32_t i = 0; i < s->n_ranks; i++)
        nodes[i] = m->ranks[i].node;
    wire_put_register(&head, s->block_id, s->pool_id, s->xse_version, m->python_version ? m->python_version : "",
                      s->mpi, s->zmq, nodes, s->n_ranks);
    mem_free(nodes);
    to_interchange(m, msg_new(&head, NULL));
}

/* ---- ending ----------------------------------------------------------------------------------------------------- */

static void over(struct manager *m)
{
    struct buf head = {0};
    bool orderly = m->n_bye == m->settings.n_ranks;
    bool failed = m->bye != WIRE_ASKED && m->bye != WIRE_DRAINED;
    const char *reason = m->reason ? m->reason : "";
    if (m->state == OVER)
        return;
    give_back(m);
    if (m->state_before_stop == GATHERING) /* so that the interchange knows whose BYE this is */
        send_register(m);
    for (uint32_t i = 0; i < m->settings.n_ranks; i++) /* ranks leave MPI together: nobody may wait there for long */
        to_rank(m, &m->ranks[i], msg_bare(WIRE_STOP, WIRE_NOW, failed));
    wire_put_text(&head, WIRE_BYE, m->bye, (struct wire_text){reason, (uint32_t)strlen(reason)}, m->exception.length);
    to_interchange(m, msg_new(&head, &m->exception));
    m->state = OVER;
    log_info("block_over code=%d orderly=%d reason=\"%s\"", m->bye, orderly, reason);
    m->host.over(m->host.arg, failed, orderly, reason);
}

/* Every rank has said BYE. A block that drains waits, besides, for the interchange to have heard so: then no task is under
 * way to it any more. */
static void over_if_all_left(struct manager *m)
{
    if (m->n_bye < m->settings.n_ranks)
        return;
    if (m->bye != WIRE_DRAINED || m->drain_heard || !m->told || m->stop_by_us < INT64_MAX)
        over(m);
}

/* Begin to end. The first reason counts; a later call can only make it sooner. */
static void stop(struct manager *m, enum wire_bye code, const char *reason, uint32_t grace_ms)
{
    if (m->state == OVER)
        return;
    int64_t by = grace_ms == UINT32_MAX ? INT64_MAX : m->now_us + grace_ms * INT64_C(1000) + STOP_TIMEOUT_US;
    if (m->state != STOPPING) {
        m->bye = code;
        m->reason = mem_text(reason);
        m->state_before_stop = m->state;
        m->state = STOPPING;
        m->stop_by_us = INT64_MAX;
        m->draining = true;
        log_info("block_stopping code=%d grace_ms=%u reason=\"%s\"", code, grace_ms, reason);
        give_back(m);
        if (m->told)
            tell_credit(m, true);
    } else if (by >= m->stop_by_us && grace_ms)
        return;
    if (by < m->stop_by_us)
        m->stop_by_us = by;
    for (uint32_t i = 0; i < m->settings.n_ranks; i++)
        if (!m->ranks[i].bye)
            to_rank(m, &m->ranks[i], msg_bare(WIRE_STOP, grace_ms ? 0 : WIRE_NOW, grace_ms));
    over_if_all_left(m);
}

/* ---- what ranks say --------------------------------------------------------------------------------------------- */

static void on_node(struct manager *m, struct rank *r, const struct msg *msg)
{
    if (r->stands || m->state != GATHERING)
        return;
    r->stands = true;
    r->node = msg->wire.node.node;
    r->node.rank = r->index;
    r->node.host.p = mem_text_n(r->node.host.p, r->node.host.n);
    if (!m->python_version)
        m->python_version = mem_text_n(msg->wire.node.python_version.p, msg->wire.node.python_version.n);
    if (++m->n_stand < m->settings.n_ranks)
        return;
    m->state = REGISTERING;
    send_register(m);
}

static void has_credit(struct manager *m, struct rank *r, uint32_t capacity, uint32_t n_workers, uint32_t task_us)
{
    m->n_workers += n_workers - (uint64_t)r->n_workers;
    m->capacity += capacity - (uint64_t)r->capacity;
    m->task_us += (uint64_t)task_us * n_workers - (uint64_t)r->task_us * r->n_workers;
    r->n_workers = n_workers;
    r->capacity = capacity;
    r->task_us = task_us;
    rings_place(&m->rings, r);
}

static void recall_answered(struct manager *m, struct rank *r)
{
    if (!r->recalled)
        return;
    r->recalled = false;
    m->asked -= r->asked;
    r->asked = 0;
    if (m->n_asked && --m->n_asked == 0 && m->owed) { /* nobody had any */
        m->owed = 0;
        tell_credit(m, true);
    }
}

static void forget_cancelling(struct manager *m, const struct msg *answers)
{
    for (uint32_t i = 0; m->cancelling.n && i < answers->wire.count; i++)
        idset_remove(&m->cancelling, wire_id(&answers->wire, i));
}

static void cancel_here(struct manager *m, struct task *task)
{
    if (m->results.n == WIRE_MAX_ITEMS)
        flush_results(m);
    wire_results_add(&m->results, task->id, 0, 0, WIRE_CANCELLED);
    task_remove(&m->queue, task);
    task_free(task);
}

/* A task that left its rank before the CANCEL came there is cancelled here. */
static void take_back(struct manager *m, const struct msg *msg)
{
    tasks_read(m->room, msg, &m->queue);
    for (uint32_t i = 0; m->cancelling.n && i < msg->wire.count; i++) {
        uint64_t id = wire_id(&msg->wire, i);
        if (idset_remove(&m->cancelling, id))
            cancel_here(m, room_task(m->room, id));
    }
}

static void on_tasks_back(struct manager *m, struct rank *r, struct msg *msg)
{
    uint32_t n = msg->wire.count;
    if (m->state == RUNNING && !m->owed)
        take_back(m, msg);
    else {
        m->owed -= n < m->owed ? n : m->owed;
        flush_results(m);
        to_interchange(m, msg_ref(msg));
    }
    recall_answered(m, r);
}

static void on_rank_bye(struct manager *m, struct rank *r, const struct msg *msg)
{
    if (r->bye)
        return;
    r->bye = true;
    m->n_bye++;
    has_credit(m, r, 0, 0, 0);
    if (m->state != STOPPING) {
        char *reason = mem_text_n(msg->wire.text.p, msg->wire.text.n);
        if (msg->wire.count == WIRE_SETUP_RAISED)
            parts_add_range(&m->exception, &msg->payload, (struct place){0, 0}, msg->payload.length);
        stop(m, msg->wire.count == WIRE_ASKED ? WIRE_FAILED : (enum wire_bye)msg->wire.count, reason, 0);
        mem_free(reason);
    } else
        over_if_all_left(m);
}

void manager_on_rank(struct manager *m, uint32_t rank, struct msg *msg, int64_t now_us)
{
    struct rank *r = &m->ranks[rank];
    m->now_us = r->last_heard_us = now_us;
    if (m->state == OVER)
        return;
    switch (msg->wire.type) {
    case WIRE_NODE:
        on_node(m, r, msg);
        break;
    case WIRE_CREDIT:
        has_credit(m, r, msg->wire.count, msg->wire.credit.n_workers, msg->wire.credit.task_us);
        recall_answered(m, r);
        break;
    case WIRE_RESULTS:
        if (!landed(m, r, msg->wire.count)) {
            log_error("results_not_asked_for rank=%u n=%u in_flight=%u", rank, msg->wire.count, r->in_flight);
            break;
        }
        if (m->results.n + msg->wire.count > WIRE_MAX_ITEMS ||
            m->results.payload_length + msg->wire.payload_length > FLUSH_BYTES)
            flush_results(m);
        forget_cancelling(m, msg);
        wire_results_append(&m->results, &msg->wire);
        parts_add_range(&m->results_payload, &msg->payload, (struct place){0, 0}, msg->payload.length);
        break;
    case WIRE_TASKS:
        if (landed(m, r, msg->wire.count))
            on_tasks_back(m, r, msg);
        else
            log_error("tasks_not_given rank=%u n=%u in_flight=%u", rank, msg->wire.count, r->in_flight);
        break;
    case WIRE_STARTED:
        forget_cancelling(m, msg);
        to_interchange(m, msg_ref(msg));
        break;
    case WIRE_STOP:
        manager_on_signal(m, now_us);
        break;
    case WIRE_BYE:
        on_rank_bye(m, r, msg);
        break;
    case WIRE_LOG:
        log_line((enum log_level)msg->wire.count, "%.*s", (int)msg->wire.text.n, msg->wire.text.p);
        break;
    case WIRE_HEARTBEAT:
        break;
    default:
        log_error("message_unexpected rank=%u type=%d", rank, msg->wire.type);
    }
}

/* ---- what the interchange says ---------------------------------------------------------------------------------- */

static void on_welcome(struct manager *m, const struct msg *msg)
{
    uint32_t first_worker = 0;
    if (m->state != REGISTERING)
        return;
    m->state = RUNNING;
    m->period_us = msg->wire.start.heartbeat_period_ms * INT64_C(1000);
    m->threshold_us = msg->wire.start.heartbeat_threshold_ms * INT64_C(1000);
    m->beat_at_us = m->now_us + m->period_us;
    for (uint32_t i = 0; i < m->settings.n_ranks; i++) {
        struct buf head = {0};
        struct parts setup = {0};
        struct wire_start start = {.n_leaders = m->settings.n_ranks,
                                   .heartbeat_period_ms = msg->wire.start.heartbeat_period_ms,
                                   .heartbeat_threshold_ms = msg->wire.start.heartbeat_threshold_ms,
                                   .setup_codec = msg->wire.start.setup_codec,
                                   .first_worker = first_worker,
                                   .block_id = m->settings.block_id,
                                   .pool_id = m->settings.pool_id,
                                   .setup_length = msg->payload.length};
        parts_add_range(&setup, &msg->payload, (struct place){0, 0}, msg->payload.length);
        wire_put_start(&head, &start);
        to_rank(m, &m->ranks[i], msg_new(&head, &setup));
        m->ranks[i].last_heard_us = m->now_us;
        first_worker += m->ranks[i].node.n_workers;
    }
    log_info("block_welcome block=%s ranks=%u", m->settings.block_id, m->settings.n_ranks);
}

static void on_refuse(struct manager *m, const struct msg *msg)
{
    char reason[1200];
    snprintf(reason, sizeof reason, "the interchange refuses this block: %.*s", (int)msg->wire.text.n,
             msg->wire.text.p);
    stop(m, WIRE_FAILED, reason, 0);
}

static void on_cancel(struct manager *m, struct msg *msg)
{
    uint32_t n_here = 0;
    for (uint32_t i = 0; i < msg->wire.count; i++) {
        uint64_t id = wire_id(&msg->wire, i);
        struct task *task = room_task(m->room, id);
        if (task) {
            cancel_here(m, task);
            n_here++;
        } else if (m->in_flight)
            idset_add(&m->cancelling, id);
    }
    /* Which rank has the others is written nowhere; a leader passes over what it does not know. */
    for (uint32_t i = 0; n_here < msg->wire.count && i < m->settings.n_ranks; i++)
        if (m->ranks[i].in_flight)
            to_rank(m, &m->ranks[i], msg_ref(msg));
}

static void on_recall(struct manager *m, uint64_t wanted)
{
    struct task_queue back = {0};
    uint64_t waiting = 0;
    flush_results(m);
    while (back.n < wanted && back.n < WIRE_MAX_ITEMS && m->queue.n)
        task_push_front(&back, task_pop_last(&m->queue));
    if (back.n) {
        to_interchange(m, tasks_write(&back, back.n));
        return;
    }
    for (int ring = ROOM; ring <= AHEAD; ring++)
        for (struct rank *r = m->rings.of[ring].first; r && waiting < wanted; r = r->next) {
            if (r->in_flight <= r->n_workers || r->recalled)
                continue;
            uint32_t here = r->in_flight - r->n_workers;
            m->n_asked++;
            waiting += here;
            ask_back(m, r, here < wanted ? here : (uint32_t)wanted);
        }
    if (m->n_asked)
        m->owed = wanted;
    else
        tell_credit(m, true);
}

void manager_on_interchange(struct manager *m, struct msg *msg, int64_t now_us)
{
    m->now_us = m->last_heard_us = now_us;
    if (m->state == OVER)
        return;
    switch (msg->wire.type) {
    case WIRE_WELCOME:
        on_welcome(m, msg);
        break;
    case WIRE_REFUSE:
        on_refuse(m, msg);
        break;
    case WIRE_TASKS:
        if (m->state == RUNNING)
            tasks_read(m->room, msg, &m->queue);
        else
            to_interchange(m, msg_ref(msg)); /* given back as it came */
        break;
    case WIRE_CANCEL:
        on_cancel(m, msg);
        break;
    case WIRE_RECALL:
        on_recall(m, msg->wire.count);
        break;
    case WIRE_STOP:
        m->drain_heard = m->draining;
        stop(m, WIRE_ASKED, "", msg->wire.flags & WIRE_NOW ? 0 : msg->wire.count);
        over_if_all_left(m);
        break;
    case WIRE_HEARTBEAT:
        break;
    default:
        log_warning("message_unexpected from=interchange type=%d", msg->wire.type);
    }
}

void manager_on_interchange_lost(struct manager *m, const char *reason, int64_t now_us)
{
    m->now_us = now_us;
    m->interchange_lost = true;
    stop(m, WIRE_FAILED, reason, 0);
}

void manager_on_signal(struct manager *m, int64_t now_us)
{
    m->now_us = now_us;
    stop(m, WIRE_SIGNAL, "the pool was told to end by a signal", m->settings.grace_ms);
}

/* ---- time ------------------------------------------------------------------------------------------------------- */

static void beat(struct manager *m)
{
    m->beat_at_us = m->now_us + m->period_us / 2;
    for (uint32_t i = 0; i < m->settings.n_ranks; i++) {
        struct rank *r = &m->ranks[i];
        if (!r->bye && m->now_us - r->last_heard_us > m->threshold_us) {
            char reason[1200];
            snprintf(reason, sizeof reason, "rank %u on %s has been silent for longer than the heartbeat threshold",
                     r->index, r->node.host.p ? r->node.host.p : "?");
            stop(m, WIRE_FAILED, reason, 0);
            return;
        }
        if (m->now_us - r->last_sent_us >= m->period_us / 2)
            to_rank(m, r, msg_bare(WIRE_HEARTBEAT, 0, 0));
    }
    if (m->now_us - m->last_sent_us >= m->period_us / 2)
        to_interchange(m, msg_bare(WIRE_HEARTBEAT, 0, 0));
    if (m->now_us - m->last_heard_us > m->threshold_us)
        manager_on_interchange_lost(m, "the interchange has been silent for longer than the heartbeat threshold",
                                    m->now_us);
}

static void start_is_late(struct manager *m)
{
    char reason[1200];
    if (m->state == REGISTERING)
        snprintf(reason, sizeof reason, "the interchange has not answered the registration");
    else {
        uint32_t i = 0;
        while (i < m->settings.n_ranks && m->ranks[i].stands)
            i++;
        snprintf(reason, sizeof reason, "only %u of %u ranks have started; rank %u is the first that has not",
                 m->n_stand, m->settings.n_ranks, i);
    }
    stop(m, WIRE_FAILED, reason, 0);
}

void manager_on_tick(struct manager *m, int64_t now_us)
{
    m->now_us = now_us;
    if ((m->state == GATHERING || m->state == REGISTERING) && now_us >= m->start_by_us)
        start_is_late(m);
    if (m->period_us && m->state != OVER && now_us >= m->beat_at_us)
        beat(m);
    if (m->state == RUNNING && m->drain_at_us && now_us >= m->drain_at_us)
        stop(m, WIRE_DRAINED, "drain_period is over", UINT32_MAX);
    if (m->state == STOPPING && now_us >= m->stop_by_us)
        over(m);
}

int64_t manager_deadline_us(const struct manager *m)
{
    int64_t next = INT64_MAX;
    if (m->state == GATHERING || m->state == REGISTERING)
        next = m->start_by_us;
    if (m->state == STOPPING)
        next = m->stop_by_us;
    if (m->state == RUNNING && m->balance_at_us < next)
        next = m->balance_at_us;
    if (m->state == RUNNING && m->drain_at_us && m->drain_at_us < next)
        next = m->drain_at_us;
    if (m->period_us && m->state != OVER && m->beat_at_us < next)
        next = m->beat_at_us;
    return next;
}

static bool may_gather(const struct manager *m)
{
    return m->results.payload_length < HOLD_BYTES && m->host.interchange_is_busy &&
           m->host.interchange_is_busy(m->host.arg);
}

void manager_flush(struct manager *m, int64_t now_us)
{
    m->now_us = now_us;
    if (m->state == OVER)
        return;
    if (!m->in_flight) /* what is still in it was asked for too late: the results had left before */
        idset_clear(&m->cancelling);
    dispatch(m);
    balance(m);
    if (m->results.n && !may_gather(m))
        flush_results(m);
    if (m->state == RUNNING && (m->n_workers || m->told))
        tell_credit(m, false);
}

/* ---- life ------------------------------------------------------------------------------------------------------- */

struct manager *manager_new(const struct manager_settings *settings, const struct manager_host *host, int64_t now_us)
{
    struct manager *m = mem_new(sizeof *m);
    m->settings = *settings;
    m->settings.block_id = mem_text(settings->block_id);
    m->settings.pool_id = mem_text(settings->pool_id);
    m->settings.xse_version = mem_text(settings->xse_version);
    m->settings.mpi = mem_text(settings->mpi);
    m->settings.zmq = mem_text(settings->zmq);
    m->host = *host;
    m->room = room_new(0);
    m->ranks = mem_array(settings->n_ranks, sizeof *m->ranks);
    for (uint32_t i = 0; i < settings->n_ranks; i++)
        m->ranks[i].index = i;
    m->now_us = m->last_heard_us = m->last_sent_us = now_us;
    m->start_by_us = now_us + settings->start_timeout_us;
    m->drain_at_us = settings->drain_after_us ? now_us + settings->drain_after_us : 0;
    m->balance_at_us = INT64_MAX;
    m->looked_at_us = now_us - LOOK_AGAIN_US;
    return m;
}

void manager_free(struct manager *m)
{
    if (!m)
        return;
    for (uint32_t i = 0; i < m->settings.n_ranks; i++)
        mem_free((void *)(uintptr_t)m->ranks[i].node.host.p);
    task_queue_clear(&m->queue);
    room_free(m->room);
    wire_results_free(&m->results);
    parts_clear(&m->results_payload);
    parts_clear(&m->exception);
    mem_free((void *)(uintptr_t)m->settings.block_id);
    mem_free((void *)(uintptr_t)m->settings.pool_id);
    mem_free((void *)(uintptr_t)m->settings.xse_version);
    mem_free((void *)(uintptr_t)m->settings.mpi);
    mem_free((void *)(uintptr_t)m->settings.zmq);
    idset_clear(&m->cancelling);
    mem_free(m->python_version);
    mem_free(m->reason);
    mem_free(m->ranks);
    mem_free(m);
}
