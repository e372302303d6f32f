/* What a leader accepts from its manager, in any order, with workers that answer, die and are late as workers do: it
 * never answers for more tasks than it was given. */
#include <stdio.h>

#include "feed.h"
#include "leader/leader.h"

#define N 3u /* workers */

struct fake { /* a runner; its workers do what the input says */
    struct runner runner;
    bool started[N], ready[N];
    uint32_t n_given[N], n_begun[N]; /* not answered yet; the first of those that have begun */
    bool freed;
};

struct world {
    struct fake fake;
    struct leader *leader;
    uint64_t n_in, n_out, next_id;
    int64_t now_us;
    bool ended, manager_gone;
};

static struct fake *self_of(struct runner *runner)
{
    return (struct fake *)runner;
}

static void prepare(struct runner *runner, const struct runner_start *start)
{
    MUST(!self_of(runner)->freed && start->block_id && start->pool_id);
}

static void start_worker(struct runner *runner, uint32_t worker)
{
    struct fake *f = self_of(runner);
    MUST(!f->freed && worker < N && !f->started[worker]);
    f->started[worker] = true;
    f->ready[worker] = false;
    f->n_given[worker] = f->n_begun[worker] = 0;
}

static void give(struct runner *runner, uint32_t worker, const struct task *task)
{
    struct fake *f = self_of(runner);
    MUST(!f->freed && worker < N && f->ready[worker] && task->arguments.length == task->length);
    f->n_given[worker]++;
}

static uint32_t take_back(struct runner *runner, uint32_t worker)
{
    struct fake *f = self_of(runner);
    MUST(!f->freed && worker < N);
    uint32_t n = f->n_given[worker] - f->n_begun[worker];
    f->n_given[worker] = f->n_begun[worker];
    return n;
}

static void retire(struct runner *runner, uint32_t worker)
{
    MUST(!self_of(runner)->freed && worker < N && !self_of(runner)->n_given[worker]);
}

static void kill_worker(struct runner *runner, uint32_t worker)
{
    MUST(!self_of(runner)->freed && worker < N && self_of(runner)->started[worker]);
}

static void flush(struct runner *runner)
{
    MUST(!self_of(runner)->freed);
}

static void free_runner(struct runner *runner)
{
    self_of(runner)->freed = true;
}

static const struct runner_ops ops = {prepare,     start_worker, give,        take_back, retire,
                                      kill_worker, flush,        free_runner, NULL};

static void on_send(void *arg, struct msg *msg)
{
    struct world *w = arg;
    if (msg->wire.type == WIRE_TASKS || msg->wire.type == WIRE_RESULTS)
        w->n_out += msg->wire.count;
    MUST(w->n_out <= w->n_in);
    msg_unref(msg);
}

static void on_end_runner(void *arg)
{
    free_runner(&((struct world *)arg)->fake.runner);
}

static void on_ended(void *arg, bool failed)
{
    struct world *w = arg;
    (void)failed;
    MUST(!w->ended && w->fake.freed);
    w->ended = true;
}

static void on_manager_gone(void *arg)
{
    struct world *w = arg;
    MUST(w->ended && !w->manager_gone);
    w->manager_gone = true;
}

static struct msg *make_start(struct feed *f)
{
    struct wire_start start = {.heartbeat_period_ms = 1u + feed_byte(f),
                               .heartbeat_threshold_ms = 1000,
                               .block_id = wire_text_of("b"),
                               .pool_id = wire_text_of("p")};
    return msg_make((struct wire_message){.type = WIRE_START, .count = 1, .start = start}, NULL);
}

static struct msg *from_manager(struct world *w, struct feed *f, uint8_t kind)
{
    uint32_t n;
    switch (kind % 8) {
    case 0:
        return make_start(f);
    case 1:
    case 2:
    case 3:
        n = 1 + feed_byte(f) % 8;
        w->next_id += n;
        return feed_tasks(f, w->next_id - n, n);
    case 4:
        return feed_ids(WIRE_CANCEL, feed_byte(f) & 1, w->next_id - feed_byte(f) % 64, 1 + feed_byte(f) % 8);
    case 5:
        return msg_bare(WIRE_RECALL, 0, 1 + feed_byte(f));
    case 6:
        return msg_bare(WIRE_STOP, feed_byte(f) == 0, feed_u32(f));
    default:
        return feed_raw(f);
    }
}

static void worker_acts(struct world *w, struct feed *f, uint8_t op)
{
    static const uint8_t bytes[RUNNER_LENT + 256];
    const struct runner_events *e = &w->fake.runner.events;
    uint32_t i = feed_byte(f) % N;
    struct fake *fake = &w->fake;
    if (fake->freed || !fake->started[i])
        return;
    if (op % 8 == 0) {
        struct wire_failure failure = {.exit_code = feed_byte(f), .host = "", .block = "", .detail = "last words"};
        fake->started[i] = false; /* the leader may start it from within; take_back comes before */
        e->worker_gone(e->arg, i, &failure);
        fake->ready[i] &= fake->started[i];
    } else if (op % 8 == 1 && !fake->ready[i]) {
        struct parts exception = feed_payload(bytes, 3);
        e->setup_raised(e->arg, i, "raised", &exception);
        parts_clear(&exception);
    } else if (op % 8 < 4 && !fake->ready[i]) {
        fake->ready[i] = true;
        e->worker_ready(e->arg, i);
    } else if (fake->n_begun[i]) {
        struct parts payload = feed_payload(bytes, feed_byte(f) + (size_t)(op % 8 == 7) * RUNNER_LENT);
        fake->n_given[i]--;
        fake->n_begun[i] = fake->n_given[i] && (op & 8) ? 1 : 0;
        struct runner_time time = {.took_us = feed_u32(f)};
        e->result(e->arg, i, feed_byte(f) % (WIRE_BLOCK_FAILED + 1), &time, &payload);
        parts_clear(&payload);
    } else
        fake->n_begun[i] = fake->n_given[i] ? 1 : 0;
}

static void step(struct world *w, struct feed *f)
{
    uint8_t op = feed_byte(f);
    const struct runner_events *e = &w->fake.runner.events;
    if (op < 100) {
        struct msg *msg = from_manager(w, f, op);
        if (!msg)
            return;
        w->n_in += msg->wire.type == WIRE_TASKS ? msg->wire.count : 0;
        leader_on_message(w->leader, msg, w->now_us);
        msg_unref(msg);
    } else if (op < 210)
        worker_acts(w, f, op);
    else if (op < 240) {
        w->now_us += (int64_t)feed_u32(f) * 1000;
        leader_on_tick(w->leader, w->now_us);
        MUST(leader_deadline_us(w->leader) > w->now_us); /* else the loop would turn without rest */
    } else if (op < 242 && !w->fake.freed)
        e->failed(e->arg, "the runner failed");
    else
        leader_flush(w->leader, w->now_us);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct feed feed = {data, data + size};
    uint8_t first = feed_byte(&feed);
    struct world w = {.next_id = 100};
    struct leader_host host = {on_send, on_end_runner, on_ended, on_manager_gone, &w};
    struct leader_settings settings = {.rank = 4,
                                       .n_workers = N,
                                       .n_in_node = N,
                                       .host = "here",
                                       .most_tasks = first & 64 ? 2 : 0,
                                       .most_prefetch = first & 32 ? 1 : -1};
    feed_quiet();
    w.fake.runner.ops = &ops;
    w.leader = leader_new(&settings, &host, &w.fake.runner, 0);
    w.fake.runner.events = *leader_events(w.leader);
    w.fake.runner.events.stands(w.fake.runner.events.arg, "3.11.7");
    if (!(first & 128)) { /* most inputs begin with workers */
        struct msg *msg = make_start(&(struct feed){(const uint8_t *)"\x63", (const uint8_t *)"\x63" + 1});
        leader_on_message(w.leader, msg, 0);
        msg_unref(msg);
        for (uint32_t i = 0; i < N; i++) {
            w.fake.ready[i] = true;
            w.fake.runner.events.worker_ready(w.fake.runner.events.arg, i);
        }
    }
    while (feed_left(&feed)) {
        step(&w, &feed);
        if (first & 16)
            leader_flush(w.leader, w.now_us);
    }
    leader_flush(w.leader, w.now_us);
    leader_free(w.leader);
    return 0;
}
