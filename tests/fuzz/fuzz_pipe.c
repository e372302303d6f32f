/* What a worker may write to its pipe and to its page, where a task can write too: a leader with the runner of real
 * workers, their processes played by the input. Each task has at most one answer. */
#include <stdio.h>
#include <sys/socket.h>

#include "fake_zygote.h"
#include "feed.h"
#include "leader/leader.h"
#include "leader/runner_fork.h"
#include "limit.h"

#define N 2u /* workers */
#define MOST_TASKS 512u

struct world {
    struct loop *loop;
    struct zygote zygote;
    struct runner *runner;
    struct leader *leader;
    struct feed feed;
    uint64_t next_id;
    bool answered[MOST_TASKS];
    int64_t now_us;
    int quiet_turns;
};

static void on_send(void *arg, struct msg *msg)
{
    struct world *w = arg;
    bool answers = msg->wire.type == WIRE_TASKS || msg->wire.type == WIRE_RESULTS;
    for (uint32_t i = 0; answers && i < msg->wire.count; i++) {
        uint64_t id = wire_id(&msg->wire, i);
        MUST(id < w->next_id && !w->answered[id]);
        w->answered[id] = true;
    }
    msg_unref(msg);
}

static void on_end_runner(void *arg)
{
    struct world *w = arg;
    w->runner->ops->free(w->runner);
    w->runner = NULL;
}

static void on_ended(void *arg, bool failed)
{
    loop_end(((struct world *)arg)->loop);
    (void)failed;
}

static void on_manager_gone(void *arg)
{
    (void)arg;
}

static void say(struct world *w, struct msg *msg)
{
    if (msg)
        leader_on_message(w->leader, msg, w->now_us);
    msg_unref(msg);
}

/* What lies in the socket beyond what it takes is not worth waiting for. */
static void write_up(struct process *p, const void *bytes, size_t n)
{
    ssize_t sent = p->socket >= 0 ? send(p->socket, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
    (void)sent;
}

static void answer(struct world *w, struct process *p, uint8_t op)
{
    static const uint8_t bytes[256 * (READ_SIZE / 128)];
    uint32_t length = feed_byte(&w->feed), status = feed_byte(&w->feed);
    struct up up = {.kind = op % 16 ? UP_RESULT : UP_SETUP_RAISED, .status = status % 10, .time_us = length};
    if (op & 32) /* it may be larger than what is read at once */
        length *= READ_SIZE / 128;
    up.length = length;
    write_up(p, &up, sizeof up);
    if (op & 16) /* cut short; what comes next may complete it, or not */
        length /= 2;
    write_up(p, bytes, length < sizeof bytes ? length : sizeof bytes);
}

static void worker_acts(struct world *w, uint8_t op)
{
    uint32_t i = feed_byte(&w->feed) % N;
    struct process *p = &w->zygote.processes[i];
    if (p->socket < 0)
        return;
    if (op < 30) {
        size_t n = feed_byte(&w->feed);
        const uint8_t *bytes = feed_bytes(&w->feed, &n);
        write_up(p, bytes, n);
    } else if (op < 50)
        write_up(p, &(struct up){.kind = UP_READY}, sizeof(struct up));
    else if (op < 60)
        atomic_store(&p->page->next, (uint64_t)feed_byte(&w->feed));
    else if (op < 62)
        atomic_store(&p->page->next, feed_number(&w->feed, 8));
    else if (op < 80)
        atomic_fetch_add(&p->page->next, 1);
    else if (op < 85)
        fake_zygote_die(&w->zygote, i, feed_byte(&w->feed));
    else if (op < 87)
        shutdown(p->socket, SHUT_WR);
    else
        answer(w, p, op);
}

static void manager_acts(struct world *w, uint8_t op)
{
    struct feed *f = &w->feed;
    uint32_t n = 1 + feed_byte(f) % 8;
    if (op < 200) {
        n = n < MOST_TASKS - w->next_id ? n : (uint32_t)(MOST_TASKS - w->next_id);
        w->next_id += n;
        if (n)
            say(w, feed_tasks(f, w->next_id - n, n));
    } else if (op < 210)
        say(w, feed_ids(WIRE_CANCEL, op & 1, w->next_id > n ? w->next_id - n : 0, n));
    else if (op < 215)
        say(w, msg_bare(WIRE_RECALL, 0, n));
    else if (op < 216)
        say(w, msg_bare(WIRE_STOP, n & 1, n));
    else if (op < 225) {
        w->now_us += (int64_t)feed_u32(f) * 1000;
        leader_on_tick(w->leader, w->now_us);
    }
}

/* An act a turn: what it has written is read in the same turn, and the leader flushes at its end. Many acts at once, too:
 * answers that come together are read together. */
static bool turn(void *arg)
{
    struct world *w = arg;
    uint8_t op = 0;
    for (int i = 0; i < 8 && w->runner && feed_left(&w->feed); i++) {
        op = feed_byte(&w->feed);
        if (op >= 225)
            break;
        if (op < 170)
            worker_acts(w, op);
        else
            manager_acts(w, op);
    }
    if (!feed_left(&w->feed) && ++w->quiet_turns == 3)
        loop_end(w->loop);
    return true;
}

static void flush(void *arg)
{
    struct world *w = arg;
    leader_flush(w->leader, w->now_us);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world w = {.feed = {data, data + size}, .now_us = 1};
    struct err err;
    struct leader_host host = {on_send, on_end_runner, on_ended, on_manager_gone, &w};
    uint8_t first = feed_byte(&w.feed);
    struct leader_settings settings = {.rank = 4,
                                       .n_workers = N,
                                       .n_in_node = N,
                                       .host = "here",
                                       .most_tasks = first & 64 ? 2 : 0,
                                       .most_prefetch = -1};
    struct wire_start start = {.heartbeat_period_ms = 30000,
                               .heartbeat_threshold_ms = 120000,
                               .block_id = wire_text_of("b"),
                               .pool_id = wire_text_of("p")};
    feed_quiet();
    limit_begin(8u << 20);
    fake_zygote_begin(&w.zygote);
    w.loop = loop_new(&err);
    MUST(w.loop);
    w.runner = runner_fork_new(w.loop, &w.zygote, N);
    w.leader = leader_new(&settings, &host, w.runner, w.now_us);
    w.runner->events = *leader_events(w.leader);
    loop_add_source(w.loop, &(struct loop_source){.turn = turn, .flush = flush, .arg = &w});
    say(&w, msg_make((struct wire_message){.type = WIRE_START, .count = 1, .start = start}, NULL));
    if (!(first & 128))
        for (uint32_t i = 0; i < N; i++)
            write_up(&w.zygote.processes[i], &(struct up){.kind = UP_READY}, sizeof(struct up));
    loop_run(w.loop);
    if (w.runner)
        on_end_runner(&w);
    leader_free(w.leader);
    limit_end();
    loop_free(w.loop);
    return 0;
}
