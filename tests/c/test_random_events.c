/* A block's state machines, one manager and some leaders, between an interchange and workers that are this test's: random events
 * in any order, messages that cross, workers that die; after each, what must always hold. argv: the seed (printed, by
 * default a new one) and how many blocks to live through. */
#include <stdlib.h>
#include <time.h>

#include "check.h"
#include "leader/leader.h"
#include "manager/manager.h"
#include "messages.h"

#define MOST_RANKS 3
#define MOST_WORKERS 3
#define MOST_TASKS 400 /* in the life of a block */
#define UP MOST_RANKS /* "rank" of the interchange */

static uint64_t seed, dice;

static uint32_t below(uint32_t n)
{
    dice ^= dice << 13; /* xorshift64, Marsaglia 2003 */
    dice ^= dice >> 7;
    dice ^= dice << 17;
    return (uint32_t)((dice >> 32) % n);
}

/* ---- what becomes of each task ---------------------------------------------------------------------------------- */

enum where { NEW, GIVEN, BACK, ANSWERED }; /* as the interchange sees it */

struct book {
    enum where where;
    int n_begun;
    bool cancelled, killed; /* was asked to be */
    bool hit; /* its worker died by itself while it ran */
    uint32_t n_blamed; /* workers that died by themselves when it was next, and nothing ran: the third is its end */
    uint32_t timeout_ms;
};

/* ---- the parts -------------------------------------------------------------------------------------------------- */

struct channel { /* messages arrive in the order they were sent, when the test says so */
    struct msg *v[1024];
    unsigned first, last;
};

enum life { NONE, STARTING, UP_AND_RUNNING, DYING };

struct worker { /* given >= begun >= finished >= reported, all counted from the oldest that is not reported */
    enum life life;
    uint64_t ids[256];
    uint32_t n_given, n_begun, n_finished;
    bool leaves; /* was asked to, when it had nothing */
};

struct rank {
    struct runner runner;
    struct leader *leader;
    struct worker workers[MOST_WORKERS];
    struct world *world;
    struct channel to_leader, to_manager;
    bool ended, failed;
};

struct world {
    struct manager *manager;
    struct rank ranks[MOST_RANKS];
    uint32_t n_ranks, n_workers;
    struct channel up, down; /* to the interchange, from it */
    struct book book[MOST_TASKS + 1];
    uint64_t n_tasks;
    uint32_t capacity, in_flight;
    int64_t now_us;
    int n_over, n_bye;
    uint32_t n_failed; /* ranks */
    bool orderly, stopped, recalled;
};

static unsigned long n_events;

static void put(struct channel *c, struct msg *msg)
{
    c->v[c->last++ % 1024] = msg;
    CHECK(c->last - c->first <= 1024, "a channel is full");
}

static struct msg *take(struct channel *c)
{
    return c->first == c->last ? NULL : c->v[c->first++ % 1024];
}

/* ---- the runner ------------------------------------------------------------------------------------------------- */

static struct rank *rank_of(struct runner *runner)
{
    return (struct rank *)runner;
}

static void prepare(struct runner *runner, const struct runner_start *start)
{
    (void)runner;
    (void)start;
}

static void start_worker(struct runner *runner, uint32_t i)
{
    struct worker *w = &rank_of(runner)->workers[i];
    CHECK(w->life == NONE, "worker %u is started twice", i);
    memset(w, 0, sizeof *w);
    w->life = STARTING;
}

static void give(struct runner *runner, uint32_t i, const struct task *task)
{
    struct worker *w = &rank_of(runner)->workers[i];
    CHECK(w->life == UP_AND_RUNNING && !w->leaves, "task %llu for worker %u, which takes none",
          (unsigned long long)task->id, i);
    w->ids[w->n_given++] = task->id;
}

static uint32_t take_back(struct runner *runner, uint32_t i)
{
    struct worker *w = &rank_of(runner)->workers[i];
    uint32_t n = w->n_given - w->n_begun;
    w->n_given = w->n_begun;
    return n;
}

static void retire(struct runner *runner, uint32_t i)
{
    struct worker *w = &rank_of(runner)->workers[i];
    CHECK(!w->n_given, "worker %u is to leave with tasks", i);
    w->leaves = true;
}

static void kill_worker(struct runner *runner, uint32_t i)
{
    rank_of(runner)->workers[i].life = DYING;
}

static void nothing(struct runner *runner)
{
    (void)runner;
}

static const struct runner_ops ops = {prepare,     start_worker, give,    take_back, retire,
                                      kill_worker, nothing,      nothing, NULL};

static const struct runner_events *events_of(struct rank *r)
{
    return &r->runner.events;
}

static void begin_task(struct world *w, struct worker *worker)
{
    struct book *b = &w->book[worker->ids[worker->n_begun++]];
    CHECK(++b->n_begun == 1, "a task ran twice");
    CHECK(b->where == GIVEN, "a task runs that the block does not have: %d", b->where);
}

static void tell(struct rank *r, uint32_t i)
{
    struct worker *worker = &r->workers[i];
    struct parts none = {0};
    memmove(worker->ids, worker->ids + 1, --worker->n_given * sizeof *worker->ids);
    worker->n_begun--;
    worker->n_finished--;
    struct runner_time time = {.took_us = below(3) * 200};
    events_of(r)->result(r->runner.events.arg, i, WIRE_VALUE, &time, &none);
}

static void die(struct rank *r, uint32_t i)
{
    struct wire_failure failure = {.pid = 7, .exit_code = -1, .signal = 9, .host = "", .block = "", .detail = ""};
    struct worker *worker = &r->workers[i];
    while (worker->n_finished) /* the runner has reported all its results before */
        tell(r, i);
    if (worker->life == UP_AND_RUNNING && worker->n_begun)
        r->world->book[worker->ids[0]].hit = true;
    else if (worker->n_given)
        r->world->book[worker->ids[0]].n_blamed++;
    worker->life = NONE;
    events_of(r)->worker_gone(r->runner.events.arg, i, &failure);
}

/* Something that happens to a worker. */
static void live(struct world *w, struct rank *r, uint32_t i)
{
    struct worker *worker = &r->workers[i];
    switch (r->ended ? NONE : worker->life) {
    case NONE:
        break;
    case STARTING:
        worker->life = UP_AND_RUNNING;
        events_of(r)->worker_ready(r->runner.events.arg, i);
        break;
    case UP_AND_RUNNING:
        if (worker->n_finished && below(2))
            tell(r, i);
        else if (worker->n_begun > worker->n_finished)
            worker->n_finished++;
        else if (worker->n_begun < worker->n_given)
            begin_task(w, worker);
        else if (worker->n_finished)
            tell(r, i);
        else if (worker->leaves)
            die(r, i);
        break;
    case DYING:
        die(r, i);
    }
}

/* The zygote dies, and its workers with it; what they have answered is read before. The block goes on while half of its ranks
 * are left. */
static void fail_rank(struct world *w, struct rank *r)
{
    if (r->ended || r->failed)
        return;
    r->failed = true;
    for (uint32_t i = 0; i < w->n_workers; i++) {
        struct worker *worker = &r->workers[i];
        while (worker->n_finished)
            tell(r, i);
        for (uint32_t j = 0; j < worker->n_begun; j++)
            w->book[worker->ids[j]].hit = true;
    }
    w->stopped |= w->n_ranks - ++w->n_failed < (w->n_ranks + 1) / 2;
    events_of(r)->failed(r->runner.events.arg, "its zygote has died");
}

/* ---- messages --------------------------------------------------------------------------------------------------- */

static void on_send(void *arg, struct msg *msg)
{
    put(&((struct rank *)arg)->to_manager, msg);
}

static void on_end_runner(void *arg)
{
    ((struct rank *)arg)->ended = true;
}

static void on_ended(void *arg, bool failed)
{
    CHECK(failed == ((struct rank *)arg)->failed, "a leader has failed: %d", failed);
}

static void on_manager_gone(void *arg)
{
    (void)arg;
    CHECK(false, "a leader takes its manager for gone");
}

static void on_to_rank(void *arg, uint32_t rank, struct msg *msg)
{
    put(&((struct world *)arg)->ranks[rank].to_leader, msg);
}

static void on_to_interchange(void *arg, struct msg *msg)
{
    put(&((struct world *)arg)->up, msg);
}

static void on_over(void *arg, int exit_code, bool orderly, const char *reason)
{
    struct world *w = arg;
    (void)exit_code;
    (void)reason;
    w->n_over++;
    w->orderly = orderly;
}

static void answered(struct world *w, uint64_t id, enum wire_status status)
{
    struct book *b = &w->book[id];
    CHECK(b->where == GIVEN, "task %llu is answered, and is %d", (unsigned long long)id, b->where);
    b->where = ANSWERED;
    w->in_flight--;
    switch (status) {
    case WIRE_VALUE:
        CHECK(b->n_begun, "a result of a task that never ran");
        break;
    case WIRE_CANCELLED:
        CHECK(b->cancelled && (!b->n_begun || b->killed), "cancelled: asked %d, ran %d", b->cancelled, b->n_begun);
        break;
    case WIRE_TIMEOUT:
        CHECK(b->timeout_ms && b->n_begun, "a timeout of a task that has none, or never ran");
        break;
    default:
        CHECK(status == WIRE_WORKER_LOST && (b->hit || (!b->n_begun && b->n_blamed >= 3)),
              "status %d, hit %d, blamed %u: somebody else was to be killed", status, b->hit, b->n_blamed);
    }
}

/* What a block had is lost with it. It gives back what has not begun, but for what it never got, if it ends by itself. */
static void lose_block(struct world *w, bool failed)
{
    w->capacity = 0;
    for (uint64_t id = 1; failed && id <= w->n_tasks; id++)
        if (w->book[id].where == GIVEN) {
            w->book[id].where = ANSWERED;
            w->in_flight--;
        }
}

static void at_interchange(struct world *w, const struct msg *msg)
{
    const struct wire_message *m = &msg->wire;
    struct wire_message welcome = {.type = WIRE_WELCOME, .welcome = {1000000, 2000000, 0, 0}};
    switch (m->type) {
    case WIRE_REGISTER:
        put(&w->down, msg_make(welcome, NULL));
        break;
    case WIRE_CREDIT:
        w->capacity = m->count;
        w->recalled = false;
        break;
    case WIRE_RESULTS:
        for (uint32_t i = 0; i < m->count; i++)
            answered(w, wire_id(m, i), wire_status(m, i));
        break;
    case WIRE_TASKS:
        w->recalled = false;
        for (uint32_t i = 0; i < m->count; i++) {
            struct book *b = &w->book[wire_id(m, i)];
            CHECK(b->where == GIVEN && !b->n_begun, "given back: %d, ran %d", b->where, b->n_begun);
            b->where = BACK;
            w->in_flight--;
        }
        break;
    case WIRE_BYE:
        w->n_bye++;
        lose_block(w, m->count == WIRE_FAILED);
        break;
    case WIRE_RANK_LOST:
        CHECK(w->n_failed, "no rank has failed");
        break;
    case WIRE_STARTED:
    case WIRE_HEARTBEAT:
        break;
    default:
        CHECK(false, "the interchange got type %d", m->type);
    }
}

static void deliver(struct world *w, struct rank *r, int which)
{
    struct msg *msg = take(which == 0 ? &w->up : which == 1 ? &w->down : which == 2 ? &r->to_leader : &r->to_manager);
    if (!msg)
        return;
    if (which == 0)
        at_interchange(w, msg);
    else if (which == 1)
        manager_on_interchange(w->manager, msg, w->now_us);
    else if (which == 2)
        leader_on_message(r->leader, msg, w->now_us);
    else
        manager_on_rank(w->manager, (uint32_t)(r - w->ranks), msg, w->now_us);
    msg_unref(msg);
}

static void check_holds(const char *broken)
{
    CHECK(!broken, "%s", broken ? broken : "");
}

static void flush(struct world *w)
{
    for (uint32_t i = 0; i < w->n_ranks; i++)
        leader_flush(w->ranks[i].leader, w->now_us);
    manager_flush(w->manager, w->now_us);
    for (uint32_t i = 0; i < w->n_ranks; i++)
        check_holds(leader_check(w->ranks[i].leader));
    check_holds(manager_check(w->manager));
}

/* ---- events ----------------------------------------------------------------------------------------------------- */

static void send_task(struct world *w)
{
    if (w->stopped || w->in_flight >= w->capacity)
        return;
    for (uint64_t id = 1; id <= w->n_tasks; id++) /* one that came back goes again */
        if (w->book[id].where == BACK && !w->book[id].cancelled) {
            w->book[id].where = GIVEN;
            w->in_flight++;
            put(&w->down, make_run(id, 1, 'f', (struct wire_run){.timeout_ms = w->book[id].timeout_ms}));
            return;
        }
    uint32_t n = 1 + below(w->capacity - w->in_flight);
    if (w->n_tasks + n > MOST_TASKS)
        return;
    struct wire_run run = {.priority = (int32_t)below(2), .timeout_ms = below(8) ? 0 : 1 + below(1000)};
    put(&w->down, make_run(w->n_tasks + 1, n, (char)('f' + below(2)), run));
    for (uint32_t i = 0; i < n; i++)
        w->book[++w->n_tasks] = (struct book){.where = GIVEN, .timeout_ms = run.timeout_ms};
    w->in_flight += n;
}

static void cancel_tasks(struct world *w)
{
    if (!w->n_tasks)
        return;
    uint64_t first = 1 + below((uint32_t)w->n_tasks), ids[8];
    uint32_t n = 0, most = below(2) ? 1 : 8;
    bool kill = below(2);
    for (uint64_t id = first; id < first + most && id <= w->n_tasks; id++) {
        if (w->book[id].where != GIVEN) /* the interchange asks a block for what is in flight there */
            continue;
        w->book[id].cancelled = true;
        w->book[id].killed |= kill;
        ids[n++] = id;
    }
    if (n)
        put(&w->down, make_some_ids(WIRE_CANCEL, kill ? WIRE_KILL : 0, ids, n));
}

static void pass_time(struct world *w)
{
    if (w->stopped) /* a manager waits a bounded time for its ranks, and these are as slow as the dice */
        return;
    w->now_us += below(2) ? 10000 : 400000;
    manager_on_tick(w->manager, w->now_us);
    for (uint32_t i = 0; i < w->n_ranks; i++)
        leader_on_tick(w->ranks[i].leader, w->now_us);
}

static void one_event(struct world *w)
{
    struct rank *r = &w->ranks[below(w->n_ranks)];
    uint32_t worker = below(w->n_workers), kind = below(100);
    n_events++;
    if (kind < 45)
        deliver(w, r, (int)below(4));
    else if (kind < 75)
        live(w, r, worker);
    else if (kind < 88)
        send_task(w);
    else if (kind < 92)
        cancel_tasks(w);
    else if (kind < 94 && !w->recalled) { /* one at a time, as the protocol has it */
        w->recalled = true;
        put(&w->down, msg_bare(WIRE_RECALL, 0, 1 + below(6)));
    } else if (kind < 96)
        pass_time(w);
    else if (kind < 97 && !r->ended && r->workers[worker].life == UP_AND_RUNNING)
        die(r, worker);
    else if (kind < 98 && !below(10))
        fail_rank(w, r);
    if (below(3)) /* else what comes next comes in the same turn */
        flush(w);
}

/* Everything arrives and every worker does its work, until nothing happens any more. */
static void settle(struct world *w)
{
    for (int round = 0; round < 4000; round++) {
        for (uint32_t i = 0; i < w->n_ranks; i++) {
            for (int which = 0; which < 4; which++)
                deliver(w, &w->ranks[i], which);
            for (uint32_t j = 0; j < w->n_workers; j++)
                live(w, &w->ranks[i], j);
        }
        flush(w);
        if (round % 16 == 0)
            pass_time(w);
    }
}

static void stop(struct world *w)
{
    bool now = below(2);
    w->stopped = true;
    put(&w->down, msg_bare(WIRE_STOP, now ? WIRE_NOW : 0, now ? 0 : 1000));
}

/* ---- a life ----------------------------------------------------------------------------------------------------- */

static bool is_busy(void *arg)
{
    struct world *w = arg;
    return w->up.first != w->up.last;
}

static struct world *begin(void)
{
    struct world *w = calloc(1, sizeof *w);
    w->n_ranks = 1 + below(MOST_RANKS);
    w->n_workers = 1 + below(MOST_WORKERS);
    struct manager_settings settings = {.n_ranks = w->n_ranks,
                                        .block_id = "7",
                                        .pool_id = "p",
                                        .xse_version = "1",
                                        .mpi = "MPI",
                                        .zmq = "4",
                                        .start_timeout_us = INT64_MAX / 2,
                                        .grace_ms = 1000};
    struct manager_host host = {on_to_rank, on_to_interchange, is_busy, on_over, w};
    w->manager = manager_new(&settings, &host, 0);
    struct leader_settings each = {.n_workers = w->n_workers,
                                   .n_in_node = w->n_workers,
                                   .host = "here",
                                   .most_prefetch = below(2) ? -1 : (int64_t)below(4),
                                   .most_tasks = below(4) ? 0 : 1 + below(5)};
    for (uint32_t i = 0; i < w->n_ranks; i++) {
        struct rank *r = &w->ranks[i];
        struct leader_host up = {on_send, on_end_runner, on_ended, on_manager_gone, r};
        each.rank = i;
        r->world = w;
        r->runner.ops = &ops;
        r->leader = leader_new(&each, &up, &r->runner, 0);
        r->runner.events = *leader_events(r->leader);
        events_of(r)->stands(r->runner.events.arg, "3.11.7");
    }
    return w;
}

static void end(struct world *w)
{
    struct msg *msg;
    for (uint32_t i = 0; i < w->n_ranks; i++) {
        while ((msg = take(&w->ranks[i].to_leader)) || (msg = take(&w->ranks[i].to_manager)))
            msg_unref(msg);
        leader_free(w->ranks[i].leader);
    }
    while ((msg = take(&w->up)) || (msg = take(&w->down)))
        msg_unref(msg);
    manager_free(w->manager);
    free(w);
}

static void one_life(void)
{
    struct world *w = begin();
    uint32_t n = 200 + below(1500);
    for (uint32_t i = 0; i < n && !check_failures; i++)
        one_event(w);
    bool works_on = below(2);
    if (works_on) {
        settle(w);
        for (uint64_t id = 1; id <= w->n_tasks; id++)
            CHECK(w->book[id].where == ANSWERED || w->book[id].where == BACK, "task %llu is left: %d, ran %d",
                  (unsigned long long)id, w->book[id].where, w->book[id].n_begun);
        CHECK_EQUAL(w->in_flight, 0);
    }
    stop(w);
    for (uint32_t i = 0; i < 300 && !check_failures; i++)
        one_event(w);
    settle(w);
    CHECK(w->n_over == 1 && w->n_bye == 1 && w->orderly, "over %d, bye %d, orderly %d", w->n_over, w->n_bye,
          w->orderly);
    for (uint64_t id = 1; id <= w->n_tasks;
         id++) /* what ran when it was stopped goes with it; what had not comes back */
        CHECK(w->book[id].where != GIVEN || w->book[id].n_begun, "task %llu never ran and was kept",
              (unsigned long long)id);
    end(w);
}

int main(int argc, char **argv)
{
    unsigned long n = argc > 2 ? strtoul(argv[2], NULL, 10) : 300;
    seed = argc > 1 ? strtoull(argv[1], NULL, 10) : (uint64_t)time(NULL);
    quiet();
    printf("seed %llu\n", (unsigned long long)seed);
    for (unsigned long i = 0; i < n && !check_failures; i++) {
        dice = seed + i + 0x9e3779b97f4a7c15u; /* never 0 */
        for (int j = 0; j < 8; j++)
            below(2);
        one_life();
        if (check_failures)
            fprintf(stderr, "seed %llu\n", (unsigned long long)(seed + i));
    }
    printf("%lu events\n", n_events);
    return check_end("random_events");
}
