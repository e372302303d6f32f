/* state_machines: what a task costs manager and leader alone, by how many ranks, workers, and tasks that wait there are; and what
 * else happens to one: it is cancelled, out of time, moves to another rank. Neither does I/O, so what stands around them here
 * is lists; no MPI, no sockets. Prints lines: state machine, size, ns of CPU for a task, with the making of its messages.
 * argv: for how many tasks, and the name of the one measure to take. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/mem.h"
#include "leader/leader.h"
#include "manager/manager.h"
#include "messages.h"

#define WORKERS 64u /* of a rank, for the manager */
#define TOGETHER 16u /* tasks that end within one turn of the loop */
#define LONG_US 1000000u
#define MANY 1000u /* ids in a CANCEL of many */
#define MESSAGE 4096u /* tasks in one, where many come at once */

static double cpu_ns(void) /* other people's work on this machine does not count */
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static uint32_t shuffle(void) /* Knuth 3.3.4 */
{
    static uint64_t state = 1;
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(state >> 33);
}

/* Ids of n_waiting tasks; a CANCEL of n_ids of them, from a place at random on, and others in their place. */
struct waiting {
    uint64_t *ids;
    uint32_t n;
};

static struct waiting waiting_from(uint64_t first, uint32_t n)
{
    struct waiting w = {mem_array(n, sizeof *w.ids), n};
    for (uint32_t i = 0; i < n; i++)
        w.ids[i] = first + i;
    return w;
}

static struct msg *cancel_some(struct waiting *w, uint32_t n_ids, uint64_t next)
{
    struct buf head = {0};
    uint64_t *ids = mem_array(n_ids, sizeof *ids);
    uint32_t at = shuffle() % w->n;
    for (uint32_t i = 0; i < n_ids; i++, at = at + 1 < w->n ? at + 1 : 0) {
        ids[i] = w->ids[at];
        w->ids[at] = next + i;
    }
    wire_put_ids(&head, WIRE_CANCEL, 0, ids, n_ids);
    mem_free(ids);
    return msg_new(&head, NULL);
}

/* ---- manager ---------------------------------------------------------------------------------------------------- */

struct block {
    struct manager *manager;
    uint32_t *has; /* tasks, by rank */
    int64_t now_us;
};

static void to_rank(void *arg, uint32_t rank, struct msg *msg)
{
    struct block *b = arg;
    if (msg->wire.type == WIRE_TASKS)
        b->has[rank] += msg->wire.count;
    msg_unref(msg);
}

static void drop(void *arg, struct msg *msg)
{
    (void)arg;
    msg_unref(msg);
}

static void over(void *arg, int exit_code, bool orderly, const char *reason)
{
    (void)arg;
    fprintf(stderr, "the manager ended: code %d, orderly %d: %s\n", exit_code, orderly, reason);
    exit(1);
}

static void from_rank(struct block *b, uint32_t rank, struct msg *msg)
{
    manager_on_rank(b->manager, rank, msg, b->now_us);
    msg_unref(msg);
}

static void from_interchange(struct block *b, struct msg *msg)
{
    manager_on_interchange(b->manager, msg, b->now_us);
    msg_unref(msg);
    manager_flush(b->manager, b->now_us);
}

static struct msg *node(uint32_t rank)
{
    struct wire_node node = {.rank = rank, .n_workers = WORKERS, .host = {"n", 1}};
    struct wire_message present = {.type = WIRE_NODE, .leader = {node, wire_text_of("3.11.7")}};
    return msg_make(present, NULL);
}

static struct msg *welcome(void)
{
    return msg_make((struct wire_message){.type = WIRE_WELCOME, .welcome = {30000, 120000, 0, 0}}, NULL);
}

/* n tasks, from `id` on. Returns the id after the last. */
static uint64_t more_tasks(struct block *b, uint64_t id, uint64_t n)
{
    for (; n; n -= n < MESSAGE ? n : MESSAGE) {
        uint32_t here = n < MESSAGE ? (uint32_t)n : MESSAGE;
        from_interchange(b, make_tasks(id, here, 'f', 0));
        id += here;
    }
    return id;
}

/* All workers of all ranks have a task that lasts. Returns the id of the next task. */
static uint64_t block_begin(struct block *b, uint32_t n_ranks)
{
    struct manager_settings settings = {.n_ranks = n_ranks,
                                        .block_id = "b",
                                        .pool_id = "p",
                                        .xse_version = "1",
                                        .mpi = "",
                                        .zmq = "",
                                        .start_timeout_us = INT64_C(1) << 40};
    struct manager_host host = {to_rank, drop, NULL, over, b};
    *b = (struct block){.has = mem_array(n_ranks, sizeof *b->has)};
    b->manager = manager_new(&settings, &host, 0);
    for (uint32_t i = 0; i < n_ranks; i++)
        from_rank(b, i, node(i));
    from_interchange(b, welcome());
    for (uint32_t i = 0; i < n_ranks; i++)
        from_rank(b, i, make_credit(WORKERS, WORKERS, LONG_US));
    return more_tasks(b, 1, (uint64_t)n_ranks * WORKERS);
}

static void block_end(struct block *b)
{
    manager_free(b->manager);
    mem_free(b->has);
}

/* Now and then one ends, in a rank of its own. */
static double manager_ns(uint32_t n_ranks, uint32_t n_tasks)
{
    struct block b;
    uint64_t id = block_begin(&b, n_ranks);
    double start = cpu_ns();
    for (uint32_t done = 0; done < n_tasks; done += TOGETHER) {
        for (uint32_t i = 0; i < TOGETHER; i++) {
            uint32_t rank = shuffle() % n_ranks;
            while (!b.has[rank])
                rank = (rank + 1) % n_ranks;
            b.has[rank]--;
            from_rank(&b, rank, make_results(id, 1));
        }
        manager_flush(b.manager, b.now_us); /* results leave; workers wait, and no task does */
        from_interchange(&b, make_tasks(id, TOGETHER, 'f', 0));
        id += TOGETHER;
    }
    double ns = (cpu_ns() - start) / n_tasks;
    block_end(&b);
    return ns;
}

/* Tasks that wait are cancelled, n_ids in a message, and others come in their place. */
static double manager_cancel_ns(uint32_t n_waiting, uint32_t n_ids, uint32_t n_tasks)
{
    struct block b;
    uint64_t id = block_begin(&b, 16);
    struct waiting w = waiting_from(id, n_waiting);
    uint32_t done = 0;
    id = more_tasks(&b, id, n_waiting);
    double start = cpu_ns();
    for (; done < n_tasks; done += n_ids) {
        from_interchange(&b, cancel_some(&w, n_ids, id));
        from_interchange(&b, make_tasks(id, n_ids, 'f', 0));
        id += n_ids;
    }
    double ns = (cpu_ns() - start) / done;
    mem_free(w.ids);
    block_end(&b);
    return ns;
}

/* The number of a rank's workers changes, as when they start, and when one dies and is replaced. */
static double manager_credit_ns(uint32_t n_ranks, uint32_t n_tasks)
{
    struct block b;
    block_begin(&b, n_ranks);
    double start = cpu_ns();
    for (uint32_t done = 0; done < n_tasks; done++) {
        from_rank(&b, shuffle() % n_ranks, make_credit(WORKERS, WORKERS - done % 2, LONG_US));
        manager_flush(b.manager, b.now_us);
    }
    double ns = (cpu_ns() - start) / n_tasks;
    block_end(&b);
    return ns;
}

/* The last rank alone has more tasks than workers: when another's worker waits it is asked for one, and gives it. */
static double manager_balance_ns(uint32_t n_ranks, uint32_t n_tasks)
{
    struct block b;
    uint64_t id = block_begin(&b, n_ranks);
    uint32_t last = n_ranks - 1, ahead = 2 * n_tasks;
    from_rank(&b, last, make_credit(WORKERS + ahead, WORKERS, LONG_US));
    id = more_tasks(&b, id, ahead);
    double start = cpu_ns();
    for (uint32_t done = 0; done < n_tasks; done++) {
        b.now_us += 100;
        from_rank(&b, shuffle() % last, make_results(id, 1));
        manager_flush(b.manager, b.now_us);
        from_rank(&b, last, make_tasks(id, 1, 'f', 0));
        manager_flush(b.manager, b.now_us);
    }
    double ns = (cpu_ns() - start) / n_tasks;
    block_end(&b);
    return ns;
}

/* ---- leader ----------------------------------------------------------------------------------------------------- */

struct rank {
    struct runner runner;
    struct leader *leader;
    uint32_t *busy; /* workers in the order in which they were given tasks; a ring */
    uint64_t first, last, size;
    uint64_t *runs; /* the task that a worker was given last, by worker */
    uint32_t killed; /* the worker that was killed last */
    int64_t now_us;
};

static void prepare(struct runner *runner, const struct runner_start *start)
{
    (void)runner;
    (void)start;
}

static void on_worker(struct runner *runner, uint32_t worker)
{
    (void)runner;
    (void)worker;
}

static void give(struct runner *runner, uint32_t worker, const struct task *task)
{
    struct rank *r = (struct rank *)runner;
    r->runs[worker] = task->id;
    r->busy[r->last++ % r->size] = worker;
}

static uint32_t take_back(struct runner *runner, uint32_t worker)
{
    (void)runner;
    (void)worker;
    return 0;
}

static void kill_worker(struct runner *runner, uint32_t worker)
{
    ((struct rank *)runner)->killed = worker;
}

static void nothing(struct runner *runner)
{
    (void)runner;
}

static const struct runner_ops ops = {prepare,     on_worker, give,    take_back, on_worker,
                                      kill_worker, nothing,   nothing, NULL};

static void end_runner(void *arg)
{
    (void)arg;
}

static void ended(void *arg, bool failed)
{
    (void)arg;
    (void)failed;
}

static void manager_gone(void *arg)
{
    (void)arg;
}

/* A message, and the end of a turn: the loop asks for how long it may sleep. */
static void say(struct rank *r, struct msg *msg)
{
    leader_on_message(r->leader, msg, r->now_us);
    msg_unref(msg);
    leader_flush(r->leader, r->now_us);
    if (leader_deadline_us(r->leader) < r->now_us)
        fprintf(stderr, "the leader has a deadline in the past\n");
}

static uint32_t timeout_ms(bool timed)
{
    return timed ? 1000000 + shuffle() % 1000000 : 0;
}

static struct msg *one_task(uint64_t id, bool timed)
{
    return make_run(id, 1, 'f', (struct wire_run){.timeout_ms = timeout_ms(timed)});
}

/* All workers have a task that lasts, and n_waiting more wait. Returns the id of the next task. */
static uint64_t rank_begin(struct rank *r, uint32_t n_workers, uint32_t n_waiting, bool timed)
{
    struct leader_settings settings = {
        .n_workers = n_workers, .n_in_node = n_workers, .host = "n", .most_prefetch = -1};
    struct leader_host host = {drop, end_runner, ended, manager_gone, NULL};
    uint64_t id = 1;
    *r = (struct rank){.runner.ops = &ops, .size = (uint64_t)n_workers * 64 + n_waiting + 1};
    r->busy = mem_array(r->size, sizeof *r->busy);
    r->runs = mem_array(n_workers, sizeof *r->runs);
    r->leader = leader_new(&settings, &host, &r->runner, 0);
    r->runner.events = *leader_events(r->leader);
    const struct runner_events *e = &r->runner.events;
    e->stands(e->arg, "3.11.7");
    say(r, make_start(UINT32_MAX - 1, UINT32_MAX));
    for (uint32_t i = 0; i < n_workers; i++)
        e->worker_ready(e->arg, i);
    for (uint64_t left = n_workers + (uint64_t)n_waiting; left;) {
        uint32_t n = timed ? 1 : left < MESSAGE ? (uint32_t)left : MESSAGE;
        say(r, make_run(id, n, 'f', (struct wire_run){.timeout_ms = timeout_ms(timed)}));
        id += n;
        left -= n;
    }
    return id;
}

static void rank_end(struct rank *r)
{
    leader_free(r->leader);
    mem_free(r->busy);
    mem_free(r->runs);
}

/* One ends, and one more comes. */
static double leader_ns(uint32_t n_workers, uint32_t n_waiting, bool timed, uint32_t n_tasks)
{
    struct rank r;
    const struct parts empty = {0};
    uint64_t id = rank_begin(&r, n_workers, n_waiting, timed);
    const struct runner_events *e = &r.runner.events;
    double start = cpu_ns();
    for (uint32_t done = 0; done < n_tasks; done++) {
        r.now_us++;
        e->result(e->arg, r.busy[r.first++ % r.size], WIRE_VALUE, &(struct runner_time){.took_us = LONG_US}, &empty);
        say(&r, one_task(id++, timed));
    }
    double ns = (cpu_ns() - start) / n_tasks;
    rank_end(&r);
    return ns;
}

/* One is out of time: its worker is killed and replaced, and one more comes. */
static double leader_late_ns(uint32_t n_workers, uint32_t n_tasks)
{
    struct rank r;
    const struct wire_failure failure = {.signal = 9, .host = "", .block = "", .detail = ""};
    uint64_t id = rank_begin(&r, n_workers, 0, true);
    const struct runner_events *e = &r.runner.events;
    double start = cpu_ns();
    for (uint32_t done = 0; done < n_tasks; done++) {
        r.now_us = leader_deadline_us(r.leader);
        leader_on_tick(r.leader, r.now_us);
        e->worker_gone(e->arg, r.killed, &failure);
        e->worker_ready(e->arg, r.killed);
        say(&r, one_task(id++, true));
    }
    double ns = (cpu_ns() - start) / n_tasks;
    rank_end(&r);
    return ns;
}

/* Tasks that wait are cancelled, n_ids in a message, and others come in their place. */
static double leader_cancel_ns(uint32_t n_waiting, uint32_t n_ids, uint32_t n_tasks)
{
    struct rank r;
    uint64_t id = rank_begin(&r, WORKERS, n_waiting, false);
    struct waiting w = waiting_from(id - n_waiting, n_waiting);
    uint32_t done = 0;
    double start = cpu_ns();
    for (; done < n_tasks; done += n_ids) {
        say(&r, cancel_some(&w, n_ids, id));
        say(&r, make_tasks(id, n_ids, 'f', 0));
        id += n_ids;
    }
    double ns = (cpu_ns() - start) / done;
    mem_free(w.ids);
    rank_end(&r);
    return ns;
}

/* One that runs is asked to be cancelled, and the leader says that it has started. */
static double leader_cancel_running_ns(uint32_t n_workers, uint32_t n_tasks)
{
    struct rank r;
    rank_begin(&r, n_workers, 0, false);
    double start = cpu_ns();
    for (uint32_t done = 0; done < n_tasks; done++)
        say(&r, make_ids(WIRE_CANCEL, 0, r.runs[shuffle() % n_workers]));
    double ns = (cpu_ns() - start) / n_tasks;
    rank_end(&r);
    return ns;
}

/* It is asked for tasks when each worker has one, and no more. */
static double leader_recall_ns(uint32_t n_workers, uint32_t n_tasks)
{
    struct rank r;
    rank_begin(&r, n_workers, 0, false);
    double start = cpu_ns();
    for (uint32_t done = 0; done < n_tasks; done++)
        say(&r, msg_bare(WIRE_RECALL, 0, 1));
    double ns = (cpu_ns() - start) / n_tasks;
    rank_end(&r);
    return ns;
}

/* ---- what is measured ------------------------------------------------------------------------------------------- */

static double leader_by_workers(uint32_t size, uint32_t n)
{
    return leader_ns(size, 0, false, n);
}

static double leader_timed(uint32_t size, uint32_t n)
{
    return leader_ns(size, 0, true, n);
}

static double leader_by_queue(uint32_t size, uint32_t n)
{
    return leader_ns(WORKERS, size, false, n);
}

static double leader_cancel_one(uint32_t size, uint32_t n)
{
    return leader_cancel_ns(size, 1, n);
}

static double leader_cancel_many(uint32_t size, uint32_t n)
{
    return leader_cancel_ns(size, MANY, n);
}

static double manager_cancel_one(uint32_t size, uint32_t n)
{
    return manager_cancel_ns(size, 1, n);
}

static double manager_cancel_many(uint32_t size, uint32_t n)
{
    return manager_cancel_ns(size, MANY, n);
}

static const struct {
    const char *name;
    double (*ns)(uint32_t size, uint32_t n_tasks);
    uint32_t least, most; /* sizes */
} measures[] = {
    {"manager-ranks", manager_ns, 1, 10000},
    {"leader-workers", leader_by_workers, 1, 10000},
    {"leader-timed", leader_timed, 1, 10000},
    {"leader-late", leader_late_ns, 1, 10000},
    {"leader-cancel-running", leader_cancel_running_ns, 1, 10000},
    {"leader-recall", leader_recall_ns, 1, 10000},
    {"manager-credit", manager_credit_ns, 1, 10000},
    {"manager-balance", manager_balance_ns, 10, 10000},
    {"leader-queue", leader_by_queue, 100, 1000000},
    {"leader-cancel-one", leader_cancel_one, 1000, 1000000},
    {"leader-cancel-many", leader_cancel_many, 1000, 1000000},
    {"manager-cancel-one", manager_cancel_one, 1000, 1000000},
    {"manager-cancel-many", manager_cancel_many, 1000, 1000000},
};

int main(int argc, char **argv)
{
    uint32_t n = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 200000;
    quiet();
    for (size_t i = 0; i < sizeof measures / sizeof *measures; i++) {
        if (argc > 2 && strcmp(argv[2], measures[i].name) != 0)
            continue;
        for (uint32_t size = measures[i].least; size <= measures[i].most; size *= 10) {
            printf("%s %" PRIu32 " %.0f\n", measures[i].name, size, measures[i].ns(size, n));
            fflush(stdout);
        }
    }
    return 0;
}
