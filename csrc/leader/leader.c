#include "leader/leader.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/deadlines.h"
#include "base/log.h"
#include "base/mem.h"
#include "leader/answers.h"
#include "leader/prefetch.h"

#define MOST_START_FAILURES 3u /* in a row, none of them ready in between */
#define MOST_BLAMED 3u
#define FORSAKEN_US 3000000 /* for a leader that has failed to hear the last STOP; then its manager is gone */
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
    int64_t leave_by_us; /* of one that was told to leave by itself */
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
    struct room *room;
    struct task_queue queue;
    struct worker *workers;
    struct {
        struct worker *first, *last;
    } by_depth[PREFETCH_MOST_DEPTH + 1]; /* ready workers, by how many tasks they have been given */
    uint64_t depths; /* a bit for each list that is not empty */
    struct deadlines *deadlines; /* of workers whose task has a timeout, or that are to leave */
    uint32_t n_ready, n_start_failures, n_given;
    struct prefetch prefetch;
    uint32_t told_capacity, told_workers;
    bool told;
    struct answers answers; /* of the turn */
    int64_t now_us, last_sent_us, last_heard_us, period_us, threshold_us, grace_until_us, ended_us;
    /* how it will end */
    enum wire_bye bye;
    char *reason;
    struct parts exception;
    bool forsaken; /* and told so */
};

static void send(struct leader *l, struct msg *msg)
{
    l->last_sent_us = l->now_us;
    l->host.send(l->host.arg, msg);
}

static void flush_answers(struct leader *l)
{
    struct msg *msg = answers_take(&l->answers);
    if (msg)
        send(l, msg);
}

static void answer(struct leader *l, uint64_t id, enum wire_status status, uint32_t time_us,
                   const struct parts *payload)
{
    answers_add(&l->answers, id, status, time_us, payload);
    if (answers_full(&l->answers))
        flush_answers(l);
}

static void answer_failure(struct leader *l, uint64_t id, enum wire_status status, const struct wire_failure *failure)
{
    answers_add_failure(&l->answers, id, status, failure);
    if (answers_full(&l->answers))
        flush_answers(l);
}

static void give_back(struct leader *l, struct task_queue *tasks)
{
    flush_answers(l); /* what is answered is told before what is not */
    while (tasks->n)
        send(l, tasks_write(tasks, tasks->n < WIRE_MAX_ITEMS ? tasks->n : WIRE_MAX_ITEMS));
}

/* ---- credit ----------------------------------------------------------------------------------------------------- */

static void tell_credit(struct leader *l, bool always)
{
    uint32_t now = l->state == RUNNING ? prefetch_capacity(&l->prefetch, l->n_ready) : 0, told = l->told_capacity;
    bool differs = !l->told || l->n_ready != l->told_workers;
    /* Measured times waver: a capacity that differs by less than a quarter is the same. */
    differs |= now > told ? now - told > told / 4 : told - now > told / 4;
    if (!differs && !always)
        return;
    struct buf head = {0};
    wire_put_credit(&head, now, l->n_ready, (uint32_t)l->prefetch.task_us, l->state == DRAINING);
    l->told = true;
    l->told_capacity = now;
    l->told_workers = l->n_ready;
    send(l, msg_new(&head, NULL));
}

/* ---- workers ---------------------------------------------------------------------------------------------------- */

static void list_leave(struct leader *l, struct worker *w, uint32_t depth)
{
    *(w->prev ? &w->prev->next : &l->by_depth[depth].first) = w->next;
    *(w->next ? &w->next->prev : &l->by_depth[depth].last) = w->prev;
    w->next = w->prev = NULL;
    if (!l->by_depth[depth].first)
        l->depths &= ~(UINT64_C(1) << depth);
}

static void list_join(struct leader *l, struct worker *w, uint32_t depth)
{
    w->prev = l->by_depth[depth].last;
    w->next = NULL;
    *(w->prev ? &w->prev->next : &l->by_depth[depth].first) = w;
    l->by_depth[depth].last = w;
    l->depths |= UINT64_C(1) << depth;
}

/* Every change of what a ready worker has passes here. */
static void depth_changed(struct leader *l, struct worker *w, uint32_t before)
{
    if (w->state != READY || before == w->given.n)
        return;
    list_leave(l, w, before);
    list_join(l, w, w->given.n);
}

/* When the worker is to be looked at. Every change of what is read here passes time_changed. */
static int64_t deadline_us(const struct worker *w)
{
    if (w->leave_by_us)
        return w->leave_by_us;
    const struct task *task = w->given.first;
    return task && task->timeout_ms && !w->killed ? w->began_us + task->timeout_ms * INT64_C(1000) : INT64_MAX;
}

static void time_changed(struct leader *l, struct worker *w)
{
    deadlines_set(l->deadlines, w->index, deadline_us(w));
}

static void leave(struct leader *l, struct worker *w)
{
    if (w->state == READY) {
        list_leave(l, w, w->given.n);
        l->n_ready--;
    }
    w->state = LEAVING;
}

static void give(struct leader *l, struct worker *w, struct task *task)
{
    uint32_t before = w->given.n;
    task_push_back(&w->given, task);
    l->n_given++;
    if (!before) {
        w->began_us = l->now_us;
        time_changed(l, w);
    }
    depth_changed(l, w, before);
    l->runner->ops->give(l->runner, w->index, task);
}

/* What the worker has not begun comes back to the front of the queue, in its old order. */
static uint32_t take_back(struct leader *l, struct worker *w)
{
    uint32_t before = w->given.n;
    uint32_t n = l->runner->ops->take_back(l->runner, w->index);
    assert(n <= before);
    for (uint32_t i = 0; i < n; i++)
        task_push_front(&l->queue, task_pop_last(&w->given));
    l->n_given -= n;
    if (n == before)
        time_changed(l, w);
    depth_changed(l, w, before);
    return n;
}

static struct worker *shallowest(const struct leader *l)
{
    return l->depths ? l->by_depth[__builtin_ctzll(l->depths)].first : NULL;
}

static struct worker *deepest(const struct leader *l)
{
    return l->depths ? l->by_depth[63 - __builtin_clzll(l->depths)].first : NULL;
}

/* Somebody is idle and nothing waits here: what waits behind another's task moves. True: something waits here now. */
static bool level(struct leader *l)
{
    struct worker *poor = shallowest(l), *rich = deepest(l);
    return poor && poor->given.n == 0 && rich->given.n > 1 && take_back(l, rich);
}

static void dispatch(struct leader *l)
{
    uint32_t limit = prefetch_depth(&l->prefetch);
    struct worker *w = shallowest(l);
    if (l->state != RUNNING || !w || (!l->queue.n && !level(l)))
        return;
    /* A worker is filled up when half of what it had is done, not task by task: a message for each would cost more. */
    if (w->given.n > limit / 2)
        return;
    while (l->queue.n && (w = shallowest(l))->given.n < limit)
        give(l, w, task_pop(&l->queue));
}

/* ---- ending ----------------------------------------------------------------------------------------------------- */

/* The end begins here. BYE is said at the end of the turn, when the workers are gone: this may be an event of theirs. */
static void end(struct leader *l, enum wire_bye code, const char *reason, const struct parts *exception)
{
    if (l->state >= ENDING)
        return;
    for (uint32_t i = 0; i < l->settings.n_workers; i++)
        take_back(l, &l->workers[i]);
    give_back(l, &l->queue);
    l->state = ENDING;
    l->bye = code;
    l->reason = mem_text(reason);
    if (exception)
        parts_add_range(&l->exception, exception, (struct place){0, 0}, exception->length);
}

static bool has_failed(const struct leader *l)
{
    return l->bye == WIRE_FAILED || l->bye == WIRE_SETUP_RAISED;
}

static void say_bye(struct leader *l)
{
    struct buf head = {0};
    flush_answers(l); /* what was answered in the turn in which the end began */
    l->host.end_runner(l->host.arg);
    l->state = ENDED;
    l->ended_us = l->now_us;
    struct wire_text reason = {l->reason, (uint32_t)strlen(l->reason)};
    wire_put_text(&head, WIRE_BYE, l->bye, reason, l->exception.length);
    send(l, msg_new(&head, &l->exception));
    l->host.ended(l->host.arg, has_failed(l));
}

/* A leader that has ended waits for the last STOP: while other ranks drain for hours, if their manager's heartbeats say
 * that it lives; and once it has failed, for which the manager stops the block, not long. INT64_MAX: as long as it takes,
 * for before START the manager may be busy finding the interchange. */
static int64_t forsaken_at_us(const struct leader *l)
{
    if (l->state != ENDED || l->forsaken || !l->block_id)
        return INT64_MAX;
    if (has_failed(l))
        return l->ended_us + FORSAKEN_US;
    return l->period_us ? l->last_heard_us + l->threshold_us + 1 : INT64_MAX;
}

static void drain(struct leader *l, int64_t grace_until_us)
{
    if (l->state >= ENDING)
        return;
    l->grace_until_us = grace_until_us;
    if (l->state != DRAINING) {
        l->state = DRAINING;
        for (uint32_t i = 0; i < l->settings.n_workers; i++)
            take_back(l, &l->workers[i]);
        give_back(l, &l->queue);
        tell_credit(l, true);
    }
    if (!l->n_given)
        end(l, WIRE_ASKED, "", NULL);
}

static void failed(struct leader *l, const char *reason)
{
    char text[1200];
    snprintf(text, sizeof text, "rank %u on %s: %s", l->settings.rank, l->host_name, reason);
    log_error("leader_failed reason=\"%s\"", text);
    end(l, WIRE_FAILED, text, NULL);
}

/* ---- what the runner tells -------------------------------------------------------------------------------------- */

static void on_stands(void *arg, const char *python_version)
{
    struct leader *l = arg;
    struct buf head = {0};
    struct wire_node node = {.rank = l->settings.rank,
                             .pid = l->settings.pid,
                             .n_workers = l->settings.n_workers,
                             .n_cores = l->settings.n_cores,
                             .memory = l->settings.memory,
                             .host = {l->host_name, (uint32_t)strlen(l->host_name)}};
    wire_put_node(&head, &node, python_version);
    send(l, msg_new(&head, NULL));
}

static void on_failed(void *arg, const char *reason)
{
    failed(arg, reason);
}

static void on_worker_ready(void *arg, uint32_t worker)
{
    struct leader *l = arg;
    struct worker *w = &l->workers[worker];
    assert(w->state == STARTING);
    w->state = READY;
    l->n_ready++;
    l->n_start_failures = 0;
    list_join(l, w, 0);
}

static void on_setup_raised(void *arg, uint32_t worker, const char *reason, const struct parts *exception)
{
    struct leader *l = arg;
    log_error("setup_raised rank=%u worker=%u reason=\"%s\"", l->settings.rank, worker, reason);
    end(l, WIRE_SETUP_RAISED, reason, exception);
}

static void on_result(void *arg, uint32_t worker, enum wire_status status, uint32_t time_us,
                      const struct parts *payload)
{
    struct leader *l = arg;
    struct worker *w = &l->workers[worker];
    uint32_t before = w->given.n;
    struct task *task = task_pop(&w->given);
    assert(task);
    l->n_given--;
    w->began_us = l->now_us;
    w->n_done++;
    depth_changed(l, w, before);
    prefetch_measure(&l->prefetch, time_us);
    answer(l, task->id, status, time_us, payload);
    log_debug("task_done id=%llu rank=%u worker=%u status=%d time_us=%u", (unsigned long long)task->id,
              l->settings.rank, worker, status, time_us);
    task_free(task);
    if (w->n_done == l->settings.most_tasks && w->state == READY) {
        leave(l, w); /* it has nothing: it gets them one by one */
        w->leave_by_us = l->now_us + LEAVE_TIMEOUT_US;
        l->runner->ops->retire(l->runner, w->index);
    }
    time_changed(l, w);
}

/* The task ends without an answer of its own. */
static void lose_task(struct leader *l, struct task *task, enum wire_status status, const struct wire_failure *failure)
{
    struct wire_failure record = *failure;
    char late[64];
    record.rank = l->settings.rank;
    record.host = l->host_name;
    record.block = l->block_id;
    if (status == WIRE_TIMEOUT) {
        snprintf(late, sizeof late, "it ran longer than its timeout of %g s", task->timeout_ms / 1000.0);
        record.detail = late;
    }
    l->n_given--;
    if (status == WIRE_CANCELLED)
        answer(l, task->id, status, 0, NULL);
    else
        answer_failure(l, task->id, status, &record);
    task_free(task);
}

/* What the dead worker had not begun is for others. A task that was next may be why it died: arguments that do not fit its
 * memory end every worker that only reads them. After a few it is lost, for it must not end workers for ever. */
static void take_back_from_dead(struct leader *l, struct worker *w, const struct wire_failure *failure)
{
    uint32_t had = w->given.n, back = take_back(l, w);
    struct task *next = back && back == had ? l->queue.first : NULL;
    if (!next || w->killed || ++next->n_blamed < MOST_BLAMED)
        return;
    struct wire_failure record = *failure;
    record.rank = l->settings.rank;
    record.host = l->host_name;
    record.block = l->block_id;
    task_remove(&l->queue, next);
    answer_failure(l, next->id, WIRE_WORKER_LOST, &record);
    task_free(next);
}

static void on_worker_gone(void *arg, uint32_t worker, const struct wire_failure *failure)
{
    struct leader *l = arg;
    struct worker *w = &l->workers[worker];
    struct task *task;
    bool asked = w->state == LEAVING;
    take_back_from_dead(l, w, failure);
    w->leave_by_us = 0;
    if (w->state == READY)
        leave(l, w);
    else if (w->state == STARTING && !w->killed && ++l->n_start_failures >= MOST_START_FAILURES) {
        const char *said = *failure->detail ? failure->detail : "it wrote nothing to stderr";
        char text[1100];
        if (failure->signal)
            snprintf(text, sizeof text, "no worker can be started (signal %d): %s", failure->signal, said);
        else
            snprintf(text, sizeof text, "no worker can be started (exit code %d): %s", failure->exit_code, said);
        failed(l, text);
    }
    w->state = ABSENT;
    w->n_done = 0;
    if (asked)
        log_debug("worker_retired rank=%u worker=%u pid=%u", l->settings.rank, worker, failure->pid);
    else
        log_warning("worker_lost rank=%u worker=%u pid=%u exit_code=%d signal=%d task=%lld", l->settings.rank, worker,
                    failure->pid, failure->exit_code, failure->signal,
                    w->given.n ? (long long)w->given.first->id : -1LL);
    while ((task = task_pop(&w->given))) /* several had begun if it wrote to its own pipe and was not heard any more */
        lose_task(l, task, w->killed && w->killed_for == task->id ? w->killed_with : WIRE_WORKER_LOST, failure);
    w->killed = false;
    time_changed(l, w);
    if (l->state == RUNNING) {
        w->state = STARTING;
        l->runner->ops->start_worker(l->runner, worker);
    }
}

/* ---- what the manager says -------------------------------------------------------------------------------------- */

static void on_start(struct leader *l, const struct msg *msg)
{
    const struct wire_message *m = &msg->wire;
    if (l->state != WAITING)
        return;
    l->block_id = mem_text_n(m->start.block_id.p, m->start.block_id.n);
    char *pool_id = mem_text_n(m->start.pool_id.p, m->start.pool_id.n);
    l->period_us = m->start.heartbeat_period_ms * INT64_C(1000);
    l->threshold_us = m->start.heartbeat_threshold_ms * INT64_C(1000);
    l->state = RUNNING;
    struct runner_start start = {.rank = l->settings.rank,
                                 .first_in_node = l->settings.first_in_node,
                                 .n_in_node = l->settings.n_in_node,
                                 .n_workers = l->settings.n_workers,
                                 .cores_alone = l->settings.cores_alone,
                                 .setup_codec = m->start.setup_codec,
                                 .block_id = l->block_id,
                                 .pool_id = pool_id,
                                 .setup = &msg->payload};
    l->runner->ops->prepare(l->runner, &start);
    for (uint32_t i = 0; i < l->settings.n_workers; i++) {
        l->workers[i].state = STARTING;
        l->runner->ops->start_worker(l->runner, i);
    }
    mem_free(pool_id);
}

static void on_tasks(struct leader *l, const struct msg *msg)
{
    tasks_read(l->room, msg, &l->queue);
    if (l->state != RUNNING)
        give_back(l, &l->queue);
}

/* Of a task that is given. */
static struct worker *holder(const struct task *task)
{
    return (struct worker *)task->queue; /* its first member */
}

static void kill_for(struct leader *l, struct worker *w, uint64_t id, enum wire_status answer)
{
    w->killed = true;
    w->killed_for = id;
    w->killed_with = answer;
    time_changed(l, w);
    leave(l, w); /* should it answer before it dies, the next task would die in its place */
    l->runner->ops->kill(l->runner, w->index);
}

static void on_cancel(struct leader *l, const struct msg *msg)
{
    uint64_t *started = mem_array(msg->wire.count, sizeof *started);
    uint32_t n_started = 0;
    for (uint32_t i = 0; i < msg->wire.count; i++) {
        struct task *task = room_task(l->room, wire_id(&msg->wire, i));
        if (!task)
            continue;
        if (task->queue != &l->queue)
            take_back(l, holder(task)); /* this one, or others behind it */
        if (task->queue == &l->queue) {
            task_remove(&l->queue, task);
            answer(l, task->id, WIRE_CANCELLED, 0, NULL);
            task_free(task);
        } else if (!(msg->wire.flags & WIRE_KILL))
            started[n_started++] = task->id;
        else if (!holder(task)->killed && !task->next) /* else it is answered, and the next has begun */
            kill_for(l, holder(task), task->id, WIRE_CANCELLED);
    }
    if (n_started) {
        struct buf head = {0};
        wire_put_ids(&head, WIRE_STARTED, 0, started, n_started);
        send(l, msg_new(&head, NULL));
    }
    mem_free(started);
}

static void on_recall(struct leader *l, uint32_t wanted)
{
    struct task_queue back = {0};
    for (uint32_t depth = PREFETCH_MOST_DEPTH; depth > 1; depth--)
        for (struct worker *w = l->by_depth[depth].first, *next; w && l->queue.n < wanted; w = next) {
            next = w->next; /* it goes to another list */
            take_back(l, w);
        }
    while (back.n < wanted && l->queue.n)
        task_push_front(&back, task_pop_last(&l->queue));
    if (back.n)
        give_back(l, &back);
    else
        tell_credit(l, true);
}

void leader_on_message(struct leader *l, const struct msg *msg, int64_t now_us)
{
    l->now_us = l->last_heard_us = now_us;
    if (l->state == ENDED && msg->wire.type != WIRE_TASKS) /* the runner is gone; tasks are given back */
        return;
    switch (msg->wire.type) {
    case WIRE_START:
        on_start(l, msg);
        break;
    case WIRE_TASKS:
        on_tasks(l, msg);
        break;
    case WIRE_CANCEL:
        on_cancel(l, msg);
        break;
    case WIRE_RECALL:
        on_recall(l, msg->wire.count);
        break;
    case WIRE_STOP:
        if (msg->wire.flags & WIRE_NOW)
            end(l, WIRE_ASKED, "", NULL);
        else
            drain(l, now_us + msg->wire.count * INT64_C(1000));
        break;
    case WIRE_HEARTBEAT:
        break;
    default:
        log_warning("message_unexpected rank=%u type=%d", l->settings.rank, msg->wire.type);
    }
}

/* ---- time ------------------------------------------------------------------------------------------------------- */

/* The worker's task is out of time. One that was not begun, for its worker was held up, is taken back and begins anew. */
static void is_late(struct leader *l, struct worker *w)
{
    take_back(l, w);
    if (w->given.n != 1) /* not begun; or the answer is on its way, for it has begun the next */
        return;
    log_info("task_timeout id=%llu rank=%u worker=%u", (unsigned long long)w->given.first->id, l->settings.rank,
             w->index);
    kill_for(l, w, w->given.first->id, WIRE_TIMEOUT);
}

/* Each is looked at once: what comes of it, an answer or its end, gives the worker its next deadline. */
static void meet_deadlines(struct leader *l)
{
    while (deadlines_next_us(l->deadlines) <= l->now_us) {
        struct worker *w = &l->workers[deadlines_first(l->deadlines)];
        if (w->leave_by_us) {
            log_info("worker_does_not_leave rank=%u worker=%u", l->settings.rank, w->index);
            w->leave_by_us = 0;
            l->runner->ops->kill(l->runner, w->index);
        } else
            is_late(l, w);
        deadlines_set(l->deadlines, w->index, INT64_MAX);
    }
}

void leader_on_tick(struct leader *l, int64_t now_us)
{
    l->now_us = now_us;
    if (now_us >= forsaken_at_us(l)) {
        l->forsaken = true;
        l->host.forsaken(l->host.arg);
    }
    if (l->state >= ENDING)
        return;
    if (l->period_us && now_us - l->last_heard_us > l->threshold_us) {
        failed(l, "the manager has been silent for longer than the heartbeat threshold");
        return;
    }
    if (l->period_us && now_us - l->last_sent_us >= l->period_us)
        send(l, msg_bare(WIRE_HEARTBEAT, 0, 0));
    meet_deadlines(l);
    if (l->state == DRAINING && now_us >= l->grace_until_us)
        end(l, WIRE_ASKED, "", NULL);
}

int64_t leader_deadline_us(const struct leader *l)
{
    int64_t next = INT64_MAX;
    if (l->state >= ENDING)
        return forsaken_at_us(l);
    if (l->period_us) {
        int64_t beat = l->last_sent_us + l->period_us, silence = l->last_heard_us + l->threshold_us + 1;
        next = beat < silence ? beat : silence;
    }
    if (l->state == DRAINING && l->grace_until_us < next)
        next = l->grace_until_us;
    int64_t worker = deadlines_next_us(l->deadlines);
    return worker < next ? worker : next;
}

void leader_flush(struct leader *l, int64_t now_us)
{
    l->now_us = now_us;
    if (l->state == ENDED)
        return;
    if (l->state == ENDING) {
        say_bye(l);
        return;
    }
    dispatch(l);
    l->runner->ops->flush(l->runner);
    flush_answers(l);
    if (l->state == RUNNING && (l->n_ready || l->told))
        tell_credit(l, false);
    if (l->state == DRAINING && !l->n_given)
        end(l, WIRE_ASKED, "", NULL);
    if (l->state == ENDING)
        say_bye(l);
}

/* ---- life ------------------------------------------------------------------------------------------------------- */

struct leader *leader_new(const struct leader_settings *settings, const struct leader_host *host, struct runner *runner,
                          int64_t now_us)
{
    assert(settings->n_workers >= 1);
    struct leader *l = mem_new(sizeof *l);
    l->settings = *settings;
    l->host_name = mem_text(settings->host);
    l->host = *host;
    l->runner = runner;
    l->prefetch = (struct prefetch){.most = settings->most_prefetch, .one_by_one = settings->most_tasks > 0};
    l->room = room_new(KEEP_FUNCTION_BYTES);
    l->workers = mem_array(settings->n_workers, sizeof *l->workers);
    for (uint32_t i = 0; i < settings->n_workers; i++)
        l->workers[i].index = i;
    l->deadlines = deadlines_new(settings->n_workers);
    l->now_us = l->last_sent_us = l->last_heard_us = now_us;
    l->events = (struct runner_events){.stands = on_stands,
                                       .failed = on_failed,
                                       .worker_ready = on_worker_ready,
                                       .setup_raised = on_setup_raised,
                                       .result = on_result,
                                       .worker_gone = on_worker_gone,
                                       .arg = l};
    return l;
}

const struct runner_events *leader_events(struct leader *l)
{
    return &l->events;
}

void leader_free(struct leader *l)
{
    if (!l)
        return;
    for (uint32_t i = 0; i < l->settings.n_workers; i++)
        task_queue_clear(&l->workers[i].given);
    task_queue_clear(&l->queue);
    room_free(l->room);
    answers_free(&l->answers);
    mem_free(l->workers);
    deadlines_free(l->deadlines);
    parts_clear(&l->exception);
    mem_free(l->reason);
    mem_free(l->host_name);
    mem_free(l->block_id);
    mem_free(l);
}
