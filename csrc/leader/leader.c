#include "leader/leader.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/deadlines.h"
#include "base/invariant.h"
#include "base/log.h"
#include "base/mem.h"
#include "leader/answers.h"
#include "leader/prefetch.h"

#define MOST_START_FAILURES 3u /* in a row, none of them ready in between */
#define MOST_BLAMED 3u
#define MANAGER_GONE_US 3000000 /* the least time for a leader that has failed to hear the last STOP */
#define LEAVE_TIMEOUT_US 5000000 /* for a worker that is to be replaced: exit handlers, what it joins */
#define KEEP_FUNCTION_BYTES (64u << 20)

enum state { WAITING, RUNNING, DRAINING, ENDING, ENDED };
enum worker_state { ABSENT, STARTING, READY, LEAVING }; /* LEAVING: gets no more */

struct worker {
    struct task_queue given; /* oldest first; the first may be running */
    enum worker_state state;
    uint32_t index;
    int64_t began_us; /* when the first of them became the first */
    uint64_t n_done; /* since it was started */
    uint64_t killed_for; /* the task because of which it was killed, and what that task's answer is */
    enum wire_status killed_with;
    int64_t leave_by_us; /* of one that was asked to leave by itself */
    bool killed;
    struct worker *next, *prev; /* in its list by depth */
};

struct leader {
    enum state state;
    struct leader_settings settings;
    char *host_name, *block_id;
    struct leader_host host;
    struct runner *runner;
    struct runner_events events;
    struct task_table *table;
    struct task_queue queue;
    struct worker *workers;
    struct {
        struct worker *first, *last;
    } by_depth[PREFETCH_MOST_DEPTH + 1]; /* ready workers, by how many tasks they have been given */
    uint64_t depths; /* a bit for each list that is not empty */
    struct deadlines *deadlines; /* of workers whose task has a timeout, or that are to leave */
    uint32_t n_ready, n_start_failures, n_given;
    struct prefetch prefetch;
    uint32_t announced_capacity, announced_workers;
    bool announced;
    struct answers answers; /* of the turn */
    int64_t now_us, last_sent_us, last_heard_us, period_us, threshold_us, grace_until_us, ended_us;
    /* how it will end */
    enum wire_bye bye;
    char *reason;
    struct parts exception;
    bool manager_gone; /* and the host was called */
    bool held; /* workers get no tasks */
};

static void leader_send(struct leader *leader, struct msg *msg)
{
    leader->last_sent_us = leader->now_us;
    leader->host.send(leader->host.arg, msg);
}

static void leader_flush_answers(struct leader *leader)
{
    struct msg *msg = answers_take(&leader->answers);
    if (msg)
        leader_send(leader, msg);
}

static void leader_answer(struct leader *leader, const struct wire_result *result, const struct parts *payload)
{
    answers_add(&leader->answers, result, payload);
    if (answers_full(&leader->answers))
        leader_flush_answers(leader);
}

static void leader_answer_failure(struct leader *leader, const struct wire_result *result,
                                  const struct wire_failure *failure)
{
    answers_add_failure(&leader->answers, result, failure);
    if (answers_full(&leader->answers))
        leader_flush_answers(leader);
}

static void leader_give_back(struct leader *leader, struct task_queue *tasks)
{
    leader_flush_answers(leader); /* what is answered is sent before what is not */
    while (tasks->n)
        leader_send(leader, tasks_write(tasks, tasks->n < WIRE_MAX_ITEMS ? tasks->n : WIRE_MAX_ITEMS));
}

/* ---- credit ----------------------------------------------------------------------------------------------------- */

static void leader_tell_credit(struct leader *leader, bool always)
{
    uint32_t now = leader->state == RUNNING ? prefetch_capacity(&leader->prefetch, leader->n_ready) : 0,
             announced = leader->announced_capacity;
    bool differs = !leader->announced || leader->n_ready != leader->announced_workers;
    /* Measured times waver: a capacity that differs by less than a quarter is the same. */
    differs |= now > announced ? now - announced > announced / 4 : announced - now > announced / 4;
    if (!differs && !always)
        return;
    leader->announced = true;
    leader->announced_capacity = now;
    leader->announced_workers = leader->n_ready;
    leader_send(leader, msg_make((struct wire_message){.type = WIRE_CREDIT,
                                                       .flags = leader->state == DRAINING ? WIRE_DRAINING : 0,
                                                       .count = now,
                                                       .credit = {.n_workers = leader->n_ready,
                                                                  .task_us = (uint32_t)leader->prefetch.task_us}},
                                 NULL));
}

/* ---- workers ---------------------------------------------------------------------------------------------------- */

static void leader_list_leave(struct leader *leader, struct worker *worker, uint32_t depth)
{
    *(worker->prev ? &worker->prev->next : &leader->by_depth[depth].first) = worker->next;
    *(worker->next ? &worker->next->prev : &leader->by_depth[depth].last) = worker->prev;
    worker->next = worker->prev = NULL;
    if (!leader->by_depth[depth].first)
        leader->depths &= ~(UINT64_C(1) << depth);
}

static void leader_list_join(struct leader *leader, struct worker *worker, uint32_t depth)
{
    worker->prev = leader->by_depth[depth].last;
    worker->next = NULL;
    *(worker->prev ? &worker->prev->next : &leader->by_depth[depth].first) = worker;
    leader->by_depth[depth].last = worker;
    leader->depths |= UINT64_C(1) << depth;
}

/* Every change of what a ready worker has passes here. */
static void leader_depth_changed(struct leader *leader, struct worker *worker, uint32_t before)
{
    if (worker->state != READY || before == worker->given.n)
        return;
    leader_list_leave(leader, worker, before);
    leader_list_join(leader, worker, worker->given.n);
}

/* When the worker is to be looked at. Every change of what is read here passes time_changed. */
static int64_t leader_worker_deadline_us(const struct worker *worker)
{
    if (worker->leave_by_us)
        return worker->leave_by_us;
    const struct task *task = worker->given.first;
    return task && task->timeout_ms && !worker->killed ? worker->began_us + task->timeout_ms * INT64_C(1000)
                                                       : INT64_MAX;
}

static void leader_time_changed(struct leader *leader, struct worker *worker)
{
    deadlines_set(leader->deadlines, worker->index, leader_worker_deadline_us(worker));
}

static void leader_worker_leaves(struct leader *leader, struct worker *worker)
{
    if (worker->state == READY) {
        leader_list_leave(leader, worker, worker->given.n);
        leader->n_ready--;
    }
    worker->state = LEAVING;
}

static void leader_give_task(struct leader *leader, struct worker *worker, struct task *task)
{
    uint32_t before = worker->given.n;
    task_push_back(&worker->given, task);
    leader->n_given++;
    if (!before) {
        worker->began_us = leader->now_us;
        leader_time_changed(leader, worker);
    }
    leader_depth_changed(leader, worker, before);
    leader->runner->ops->give(leader->runner, worker->index, task);
}

/* What the worker has not begun comes back to the front of the queue, in its old order. */
static uint32_t leader_take_back(struct leader *leader, struct worker *worker)
{
    uint32_t before = worker->given.n;
    uint32_t n = leader->runner->ops->take_back(leader->runner, worker->index);
    assert(n <= before);
    for (uint32_t i = 0; i < n; i++)
        task_push_front(&leader->queue, task_pop_last(&worker->given));
    leader->n_given -= n;
    if (n == before)
        leader_time_changed(leader, worker);
    leader_depth_changed(leader, worker, before);
    return n;
}

static struct worker *leader_shallowest(const struct leader *leader)
{
    return leader->depths ? leader->by_depth[__builtin_ctzll(leader->depths)].first : NULL;
}

static struct worker *leader_deepest(const struct leader *leader)
{
    return leader->depths ? leader->by_depth[63 - __builtin_clzll(leader->depths)].first : NULL;
}

/* Somebody is idle and nothing waits here: what waits behind another's task moves. True: something waits here now. */
static bool leader_level(struct leader *leader)
{
    struct worker *poor = leader_shallowest(leader), *rich = leader_deepest(leader);
    return poor && poor->given.n == 0 && rich->given.n > 1 && leader_take_back(leader, rich);
}

static void leader_dispatch(struct leader *leader)
{
    uint32_t limit = prefetch_depth(&leader->prefetch);
    struct worker *worker = leader_shallowest(leader);
    if (leader->state != RUNNING || leader->held || !worker || (!leader->queue.n && !leader_level(leader)))
        return;
    /* A worker is filled up when half of what it had is done, not task by task: a message for each would cost more. */
    if (worker->given.n > limit / 2)
        return;
    while (leader->queue.n && (worker = leader_shallowest(leader))->given.n < limit)
        leader_give_task(leader, worker, task_pop(&leader->queue));
}

/* The task ends without an answer of its own. */
static void leader_lose_task(struct leader *leader, const struct worker *worker, struct task *task,
                             enum wire_status status, const struct wire_failure *failure)
{
    struct wire_failure record = *failure;
    /* A worker does not say when it begins: that is taken to be when the task became its first. */
    int64_t took_us = leader->now_us - worker->began_us;
    struct wire_result result = {.id = task->id,
                                 .start = (uint64_t)worker->began_us,
                                 .time = took_us < UINT32_MAX ? (uint32_t)took_us : UINT32_MAX,
                                 .worker = leader->settings.first_in_block + worker->index,
                                 .status = (uint8_t)status};
    char late[64];
    record.rank = leader->settings.rank;
    record.host = leader->host_name;
    record.block = leader->block_id;
    if (status == WIRE_TIMEOUT) {
        snprintf(late, sizeof late, "it ran longer than its timeout of %g s", task->timeout_ms / 1000.0);
        record.detail = late;
    }
    leader->n_given--;
    if (status == WIRE_CANCELLED)
        leader_answer(leader, &result, NULL);
    else
        leader_answer_failure(leader, &result, &record);
    task_free(task);
}

/* Several had begun if the worker wrote to its own pipe and was not heard any more. */
static void leader_lose_tasks_of(struct leader *leader, struct worker *worker, const struct wire_failure *failure)
{
    struct task *task;
    while ((task = task_pop(&worker->given))) {
        bool killed_for_it = worker->killed && worker->killed_for == task->id;
        leader_lose_task(leader, worker, task, killed_for_it ? worker->killed_with : WIRE_WORKER_LOST, failure);
    }
}

/* ---- ending ----------------------------------------------------------------------------------------------------- */

/* The end begins here. BYE is said at the end of the turn, when the workers are gone: this may be an event of theirs. */
static void leader_begin_end(struct leader *leader, enum wire_bye code, const char *reason,
                             const struct parts *exception)
{
    if (leader->state >= ENDING)
        return;
    for (uint32_t i = 0; i < leader->settings.n_workers; i++)
        leader_take_back(leader, &leader->workers[i]);
    leader_give_back(leader, &leader->queue);
    leader->state = ENDING;
    leader->bye = code;
    leader->reason = mem_text(reason);
    if (exception)
        parts_add_range(&leader->exception, exception, (struct place){0, 0}, exception->length);
}

static bool leader_has_failed(const struct leader *leader)
{
    return leader->bye == WIRE_FAILED || leader->bye == WIRE_SETUP_RAISED;
}

/* Of a rank that has failed its workers are gone, and so is what they ran: each task has its answer, and the block goes on
 * with its other ranks. */
static void leader_lose_given(struct leader *leader)
{
    const struct wire_failure failure = {
        .pid = leader->settings.pid, .exit_code = -1, .host = "", .block = "", .detail = leader->reason};
    for (uint32_t i = 0; i < leader->settings.n_workers; i++)
        leader_lose_tasks_of(leader, &leader->workers[i], &failure);
}

static void leader_say_bye(struct leader *leader)
{
    leader_flush_answers(leader); /* what was answered in the turn in which the end began */
    leader->host.end_runner(leader->host.arg);
    if (leader->bye == WIRE_FAILED)
        leader_lose_given(leader);
    leader_flush_answers(leader);
    leader->state = ENDED;
    leader->ended_us = leader->now_us;
    struct wire_message bye = {.type = WIRE_BYE, .count = leader->bye, .ending = {wire_text_of(leader->reason)}};
    leader_send(leader, msg_make(bye, &leader->exception));
    leader->host.ended(leader->host.arg, leader_has_failed(leader));
}

/* A leader that has ended waits for the last STOP, which may be hours away: other ranks work or drain. Its manager's
 * heartbeats say that it lives. INT64_MAX: as long as it takes, for before START the manager may be busy finding the
 * interchange. */
static int64_t leader_abandoned_at_us(const struct leader *leader)
{
    if (leader->state != ENDED || leader->manager_gone || !leader->period_us)
        return INT64_MAX;
    int64_t silence = leader->last_heard_us + leader->threshold_us + 1, least = leader->ended_us + MANAGER_GONE_US;
    return leader_has_failed(leader) && silence < least ? least : silence;
}

static void leader_drain(struct leader *leader, int64_t grace_until_us)
{
    if (leader->state >= ENDING)
        return;
    leader->grace_until_us = grace_until_us;
    if (leader->state != DRAINING) {
        leader->state = DRAINING;
        for (uint32_t i = 0; i < leader->settings.n_workers; i++)
            leader_take_back(leader, &leader->workers[i]);
        leader_give_back(leader, &leader->queue);
        leader_tell_credit(leader, true);
    }
    if (!leader->n_given)
        leader_begin_end(leader, WIRE_ASKED, "", NULL);
}

static void leader_fail(struct leader *leader, const char *reason)
{
    char text[1200];
    snprintf(text, sizeof text, "rank %u on %s: %s", leader->settings.rank, leader->host_name, reason);
    log_error("leader_failed reason=\"%s\"", text);
    leader_begin_end(leader, WIRE_FAILED, text, NULL);
}

/* ---- what the runner tells -------------------------------------------------------------------------------------- */

static void leader_on_stands(void *arg, const char *python_version)
{
    struct leader *leader = arg;
    struct wire_node node = {.rank = leader->settings.rank,
                             .pid = leader->settings.pid,
                             .n_workers = leader->settings.n_workers,
                             .n_cores = leader->settings.n_cores,
                             .memory = leader->settings.memory,
                             .host = wire_text_of(leader->host_name)};
    struct wire_message present = {.type = WIRE_NODE, .leader = {node, wire_text_of(python_version)}};
    leader_send(leader, msg_make(present, NULL));
}

static void leader_on_failed(void *arg, const char *reason)
{
    leader_fail(arg, reason);
}

static void leader_on_worker_ready(void *arg, uint32_t index)
{
    struct leader *leader = arg;
    struct worker *worker = &leader->workers[index];
    assert(worker->state == STARTING);
    worker->state = READY;
    leader->n_ready++;
    leader->n_start_failures = 0;
    leader_list_join(leader, worker, 0);
}

static void leader_on_setup_raised(void *arg, uint32_t index, const char *reason, const struct parts *exception)
{
    struct leader *leader = arg;
    log_error("setup_raised rank=%u worker=%u reason=\"%s\"", leader->settings.rank, index, reason);
    leader_begin_end(leader, WIRE_SETUP_RAISED, reason, exception);
}

static void leader_on_result(void *arg, uint32_t index, enum wire_status status, const struct runner_time *time,
                             const struct parts *payload)
{
    struct leader *leader = arg;
    struct worker *worker = &leader->workers[index];
    uint32_t before = worker->given.n;
    struct task *task = task_pop(&worker->given);
    assert(task);
    leader->n_given--;
    worker->began_us = leader->now_us;
    worker->n_done++;
    leader_depth_changed(leader, worker, before);
    prefetch_measure(&leader->prefetch, time->took_us);
    leader_answer(leader,
                  &(struct wire_result){.id = task->id,
                                        .start = (uint64_t)time->start_us,
                                        .time = time->took_us,
                                        .worker = leader->settings.first_in_block + index,
                                        .status = (uint8_t)status},
                  payload);
    log_debug("task_done id=%llu rank=%u worker=%u status=%d time_us=%u", (unsigned long long)task->id,
              leader->settings.rank, index, status, time->took_us);
    task_free(task);
    if (worker->n_done == leader->settings.most_tasks && worker->state == READY) {
        leader_worker_leaves(leader, worker); /* it has nothing: it gets them one by one */
        worker->leave_by_us = leader->now_us + LEAVE_TIMEOUT_US;
        leader->runner->ops->retire(leader->runner, worker->index);
    }
    leader_time_changed(leader, worker);
}

/* What the dead worker had not begun is for others. A task that was next may be why it died: arguments that do not fit its
 * memory end every worker that only reads them. After a few it is lost, for it must not end workers for ever. */
static void leader_take_back_from_dead(struct leader *leader, struct worker *worker, const struct wire_failure *failure)
{
    uint32_t had = worker->given.n, back = leader_take_back(leader, worker);
    struct task *next = back && back == had ? leader->queue.first : NULL;
    if (!next || worker->killed || ++next->n_blamed < MOST_BLAMED)
        return;
    struct wire_failure record = *failure;
    record.rank = leader->settings.rank;
    record.host = leader->host_name;
    record.block = leader->block_id;
    task_remove(&leader->queue, next);
    leader_answer_failure(leader, &(struct wire_result){.id = next->id, .status = WIRE_WORKER_LOST}, &record);
    task_free(next);
}

static void leader_on_worker_gone(void *arg, uint32_t index, const struct wire_failure *failure)
{
    struct leader *leader = arg;
    struct worker *worker = &leader->workers[index];
    bool asked = worker->state == LEAVING;
    leader_take_back_from_dead(leader, worker, failure);
    worker->leave_by_us = 0;
    if (worker->state == READY)
        leader_worker_leaves(leader, worker);
    else if (worker->state == STARTING && !worker->killed && ++leader->n_start_failures >= MOST_START_FAILURES) {
        const char *said = *failure->detail ? failure->detail : "it wrote nothing to stderr";
        char text[1100];
        if (failure->signal)
            snprintf(text, sizeof text, "no worker can be started (signal %d): %s", failure->signal, said);
        else if (failure->exit_code >= 0)
            snprintf(text, sizeof text, "no worker can be started (exit code %d): %s", failure->exit_code, said);
        else /* there was no process */
            snprintf(text, sizeof text, "no worker can be started: %s", said);
        leader_fail(leader, text);
    }
    worker->state = ABSENT;
    worker->n_done = 0;
    if (asked)
        log_debug("worker_retired rank=%u worker=%u pid=%u", leader->settings.rank, index, failure->pid);
    else
        log_warning("worker_lost rank=%u worker=%u pid=%u exit_code=%d signal=%d task=%lld", leader->settings.rank,
                    index, failure->pid, failure->exit_code, failure->signal,
                    worker->given.n ? (long long)worker->given.first->id : -1LL);
    leader_lose_tasks_of(leader, worker, failure);
    worker->killed = false;
    leader_time_changed(leader, worker);
    if (leader->state == RUNNING) {
        worker->state = STARTING;
        leader->runner->ops->start_worker(leader->runner, index);
    }
}

/* ---- what the manager says -------------------------------------------------------------------------------------- */

static void leader_on_start(struct leader *leader, const struct msg *msg)
{
    const struct wire_message *m = &msg->wire;
    if (leader->block_id)
        return;
    leader->block_id = mem_text_n(m->start.block_id.p, m->start.block_id.n);
    leader->period_us = m->start.heartbeat_period_ms * INT64_C(1000);
    leader->threshold_us = m->start.heartbeat_threshold_ms * INT64_C(1000);
    if (leader->state != WAITING)
        return;
    char *pool_id = mem_text_n(m->start.pool_id.p, m->start.pool_id.n);
    leader->state = RUNNING;
    struct runner_start start = {.rank = leader->settings.rank,
                                 .first_in_node = leader->settings.first_in_node,
                                 .n_in_node = leader->settings.n_in_node,
                                 .n_workers = leader->settings.n_workers,
                                 .cores_alone = leader->settings.cores_alone,
                                 .setup_codec = m->start.setup_codec,
                                 .block_id = leader->block_id,
                                 .pool_id = pool_id,
                                 .setup = &msg->payload};
    leader->runner->ops->prepare(leader->runner, &start);
    for (uint32_t i = 0; i < leader->settings.n_workers; i++) {
        leader->workers[i].state = STARTING;
        leader->runner->ops->start_worker(leader->runner, i);
    }
    mem_free(pool_id);
}

static void leader_on_tasks(struct leader *leader, const struct msg *msg)
{
    tasks_read(leader->table, msg, &leader->queue);
    if (leader->state != RUNNING)
        leader_give_back(leader, &leader->queue);
}

/* Of a task that is given. */
static struct worker *leader_worker_of(const struct task *task)
{
    return (struct worker *)task->queue; /* its first member */
}

static void leader_kill_for(struct leader *leader, struct worker *worker, uint64_t id, enum wire_status answer)
{
    worker->killed = true;
    worker->killed_for = id;
    worker->killed_with = answer;
    leader_time_changed(leader, worker);
    leader_worker_leaves(leader, worker); /* should it answer before it dies, the next task would die in its place */
    leader->runner->ops->kill(leader->runner, worker->index);
}

static void leader_on_cancel(struct leader *leader, const struct msg *msg)
{
    uint64_t *started = mem_array(msg->wire.count, sizeof *started);
    uint32_t n_started = 0;
    for (uint32_t i = 0; i < msg->wire.count; i++) {
        struct task *task = task_table_find(leader->table, wire_id(&msg->wire, i));
        if (!task)
            continue;
        if (task->queue != &leader->queue)
            leader_take_back(leader, leader_worker_of(task)); /* this one, or others behind it */
        if (task->queue == &leader->queue) {
            task_remove(&leader->queue, task);
            leader_answer(leader, &(struct wire_result){.id = task->id, .status = WIRE_CANCELLED}, NULL);
            task_free(task);
        } else if (!(msg->wire.flags & WIRE_KILL))
            started[n_started++] = task->id;
        else if (!leader_worker_of(task)->killed && !task->next) /* else it is answered, and the next has begun */
            leader_kill_for(leader, leader_worker_of(task), task->id, WIRE_CANCELLED);
    }
    if (n_started) {
        struct buf head = {0};
        wire_put_ids(&head, WIRE_STARTED, 0, started, n_started);
        leader_send(leader, msg_new(&head, NULL));
    }
    mem_free(started);
}

static void leader_on_recall(struct leader *leader, uint32_t wanted)
{
    struct task_queue back = {0};
    for (uint32_t depth = PREFETCH_MOST_DEPTH; depth > 1; depth--)
        for (struct worker *worker = leader->by_depth[depth].first, *next; worker && leader->queue.n < wanted;
             worker = next) {
            next = worker->next; /* it goes to another list */
            leader_take_back(leader, worker);
        }
    while (back.n < wanted && leader->queue.n)
        task_push_front(&back, task_pop_last(&leader->queue));
    if (back.n)
        leader_give_back(leader, &back);
    else
        leader_tell_credit(leader, true);
}

void leader_on_message(struct leader *leader, const struct msg *msg, int64_t now_us)
{
    leader->now_us = leader->last_heard_us = now_us;
    /* The runner is gone. Tasks are given back, and START says when the manager is to be taken for gone, too. */
    if (leader->state == ENDED && msg->wire.type != WIRE_TASKS && msg->wire.type != WIRE_START)
        return;
    switch (msg->wire.type) {
    case WIRE_START:
        leader_on_start(leader, msg);
        break;
    case WIRE_TASKS:
        leader_on_tasks(leader, msg);
        break;
    case WIRE_CANCEL:
        leader_on_cancel(leader, msg);
        break;
    case WIRE_RECALL:
        leader_on_recall(leader, msg->wire.count);
        break;
    case WIRE_STOP:
        if (msg->wire.flags & WIRE_NOW)
            leader_begin_end(leader, WIRE_ASKED, "", NULL);
        else
            leader_drain(leader, now_us + msg->wire.count * INT64_C(1000));
        break;
    case WIRE_HEARTBEAT:
        leader_send(leader, msg_heartbeat(now_us, msg->wire.heartbeat.clock_us));
        break;
    default:
        log_warning("message_unexpected rank=%u type=%d", leader->settings.rank, msg->wire.type);
    }
}

/* What has begun goes on: its answers are as many as there are workers. */
void leader_hold(struct leader *leader, bool held)
{
    if (held == leader->held)
        return;
    leader->held = held;
    for (uint32_t i = 0; held && leader->state == RUNNING && i < leader->settings.n_workers; i++)
        leader_take_back(leader, &leader->workers[i]);
}

void leader_on_heard(struct leader *leader, int64_t now_us)
{
    leader->last_heard_us = now_us;
}

/* Wake at once while it is quiet; when results come fast and every worker has its next task, let some gather. */
static void leader_rest(struct leader *leader)
{
    const struct worker *poorest = leader_shallowest(leader);
    if (!poorest || !leader->runner->ops->rest || leader->state != RUNNING || leader->held)
        return;
    int64_t rest_us = prefetch_rest_us(&leader->prefetch, leader->n_ready, poorest->given.n);
    if (rest_us)
        leader->runner->ops->rest(leader->runner, rest_us);
}

/* ---- time ------------------------------------------------------------------------------------------------------- */

/* The worker's task is out of time. One that was not begun, for its worker was held up, is taken back and begins anew. */
static void leader_task_is_late(struct leader *leader, struct worker *worker)
{
    leader_take_back(leader, worker);
    if (worker->given.n != 1) /* not begun; or the answer is on its way, for it has begun the next */
        return;
    log_info("task_timeout id=%llu rank=%u worker=%u", (unsigned long long)worker->given.first->id,
             leader->settings.rank, worker->index);
    leader_kill_for(leader, worker, worker->given.first->id, WIRE_TIMEOUT);
}

/* Each is looked at once: what comes of it, an answer or its end, gives the worker its next deadline. */
static void leader_meet_deadlines(struct leader *leader)
{
    while (deadlines_next_us(leader->deadlines) <= leader->now_us) {
        struct worker *worker = &leader->workers[deadlines_first(leader->deadlines)];
        if (worker->leave_by_us) {
            log_info("worker_does_not_leave rank=%u worker=%u", leader->settings.rank, worker->index);
            worker->leave_by_us = 0;
            leader->runner->ops->kill(leader->runner, worker->index);
        } else
            leader_task_is_late(leader, worker);
        deadlines_set(leader->deadlines, worker->index, INT64_MAX);
    }
}

void leader_on_tick(struct leader *leader, int64_t now_us)
{
    leader->now_us = now_us;
    if (now_us >= leader_abandoned_at_us(leader)) {
        leader->manager_gone = true;
        leader->host.manager_gone(leader->host.arg);
    }
    if (leader->state >= ENDING)
        return;
    if (leader->period_us && now_us - leader->last_heard_us > leader->threshold_us) {
        leader_fail(leader, "the manager has been silent for longer than the heartbeat threshold");
        return;
    }
    if (leader->period_us && now_us - leader->last_sent_us >= leader->period_us)
        leader_send(leader, msg_heartbeat(now_us, 0));
    leader_meet_deadlines(leader);
    if (leader->state == DRAINING && now_us >= leader->grace_until_us)
        leader_begin_end(leader, WIRE_ASKED, "", NULL);
}

int64_t leader_deadline_us(const struct leader *leader)
{
    int64_t next = INT64_MAX;
    if (leader->state >= ENDING)
        return leader_abandoned_at_us(leader);
    if (leader->period_us) {
        int64_t beat = leader->last_sent_us + leader->period_us,
                silence = leader->last_heard_us + leader->threshold_us + 1;
        next = beat < silence ? beat : silence;
    }
    if (leader->state == DRAINING && leader->grace_until_us < next)
        next = leader->grace_until_us;
    int64_t worker = deadlines_next_us(leader->deadlines);
    return worker < next ? worker : next;
}

void leader_flush(struct leader *leader, int64_t now_us)
{
    leader->now_us = now_us;
    if (leader->state == ENDED)
        return;
    if (leader->state == ENDING) {
        leader_say_bye(leader);
        return;
    }
    leader_dispatch(leader);
    leader->runner->ops->flush(leader->runner);
    if (leader->answers.results.n) {
        leader_flush_answers(leader);
        leader_rest(leader);
    }
    if (leader->state == RUNNING && (leader->n_ready || leader->announced))
        leader_tell_credit(leader, false);
    if (leader->state == DRAINING && !leader->n_given)
        leader_begin_end(leader, WIRE_ASKED, "", NULL);
    if (leader->state == ENDING)
        leader_say_bye(leader);
    INVARIANT(leader_check(leader));
}

static const char *leader_check_depths(const struct leader *leader)
{
    uint32_t n = 0;
    for (uint32_t depth = 0; depth <= PREFETCH_MOST_DEPTH; depth++) {
        const struct worker *before = NULL, *worker = leader->by_depth[depth].first;
        if (!worker != !(leader->depths >> depth & 1))
            return "the bits of the depths are not those of the lists";
        for (; worker; before = worker, worker = worker->next, n++)
            if (worker->prev != before || worker->state != READY || worker->given.n != depth)
                return "a worker is in a list of another depth, or of another state";
        if (leader->by_depth[depth].last != before)
            return "a list of workers has lost its end";
    }
    return n == leader->n_ready ? NULL : "a ready worker is in no list";
}

const char *leader_check(const struct leader *leader)
{
    uint32_t n_ready = 0, n_given = 0;
    if (leader->state == ENDED)
        return leader->queue.n ? "a leader that has ended keeps tasks" : NULL;
    for (uint32_t i = 0; i < leader->settings.n_workers; i++) {
        const struct worker *worker = &leader->workers[i];
        n_ready += worker->state == READY;
        n_given += worker->given.n;
        if (worker->killed && worker->state == READY)
            return "a worker that is killed gets tasks";
        if (worker->given.n && worker->state != READY && worker->state != LEAVING)
            return "a worker that is not there has tasks";
    }
    if (n_ready != leader->n_ready || n_given != leader->n_given)
        return "the ready workers, or the tasks given to workers, are not counted right";
    if (leader->state >= DRAINING && leader->queue.n)
        return "a leader that drains keeps tasks";
    return leader_check_depths(leader);
}

/* ---- life ------------------------------------------------------------------------------------------------------- */

struct leader *leader_new(const struct leader_settings *settings, const struct leader_host *host, struct runner *runner,
                          int64_t now_us)
{
    assert(settings->n_workers >= 1);
    struct leader *leader = mem_new(sizeof *leader);
    leader->settings = *settings;
    leader->host_name = mem_text(settings->host);
    leader->host = *host;
    leader->runner = runner;
    leader->prefetch = (struct prefetch){.most = settings->most_prefetch, .one_by_one = settings->most_tasks > 0};
    leader->table = task_table_new(KEEP_FUNCTION_BYTES);
    leader->workers = mem_array(settings->n_workers, sizeof *leader->workers);
    for (uint32_t i = 0; i < settings->n_workers; i++)
        leader->workers[i].index = i;
    leader->deadlines = deadlines_new(settings->n_workers);
    leader->now_us = leader->last_sent_us = leader->last_heard_us = now_us;
    leader->events = (struct runner_events){.stands = leader_on_stands,
                                            .failed = leader_on_failed,
                                            .worker_ready = leader_on_worker_ready,
                                            .setup_raised = leader_on_setup_raised,
                                            .result = leader_on_result,
                                            .worker_gone = leader_on_worker_gone,
                                            .arg = leader};
    return leader;
}

const struct runner_events *leader_events(struct leader *leader)
{
    return &leader->events;
}

void leader_free(struct leader *leader)
{
    if (!leader)
        return;
    for (uint32_t i = 0; i < leader->settings.n_workers; i++)
        task_queue_clear(&leader->workers[i].given);
    task_queue_clear(&leader->queue);
    task_table_free(leader->table);
    answers_free(&leader->answers);
    mem_free(leader->workers);
    deadlines_free(leader->deadlines);
    parts_clear(&leader->exception);
    mem_free(leader->reason);
    mem_free(leader->host_name);
    mem_free(leader->block_id);
    mem_free(leader);
}
