/* brains: what a task costs manager and leader alone, by how many ranks, workers, and tasks that wait there are. Neither
 * does I/O, so what stands around them here is lists; no MPI, no sockets. Prints lines: brain, size, ns of CPU for a task, with
 * the making of its messages. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "leader.h"
#include "manager.h"
#include "mem.h"
#include "messages.h"

#define WORKERS 64u /* of a rank, for the manager */
#define TOGETHER 16u /* tasks that end within one turn of the loop */
#define LONG_US 1000000u

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

/* ---- manager ---------------------------------------------------------------------------------------------------- */

struct block {
    struct manager *manager;
    uint32_t *has; /* tasks, by rank */
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
    manager_on_rank(b->manager, rank, msg, 0);
    msg_unref(msg);
}

static void from_interchange(struct block *b, struct msg *msg)
{
    manager_on_interchange(b->manager, msg, 0);
    msg_unref(msg);
    manager_flush(b->manager, 0);
}

static struct msg *node(uint32_t rank)
{
    struct buf head = {0};
    struct wire_node node = {.rank = rank, .n_workers = WORKERS, .host = {"n", 1}};
    wire_put_node(&head, &node, "3.11.7");
    return msg_new(&head, NULL);
}

static struct msg *welcome(void)
{
    struct buf head = {0};
    struct wire_start start = {.heartbeat_period_ms = 30000, .heartbeat_threshold_ms = 120000};
    wire_put_welcome(&head, &start);
    return msg_new(&head, NULL);
}

/* All workers of all ranks have a task that lasts; now and then one ends, in a rank of its own. */
static double manager_ns(uint32_t n_ranks, uint32_t n_tasks)
{
    struct block b = {.has = mem_array(n_ranks, sizeof *b.has)};
    struct manager_settings settings = {.n_ranks = n_ranks,
                                        .block_id = "b",
                                        .pool_id = "p",
                                        .xse_version = "1",
                                        .mpi = "",
                                        .zmq = "",
                                        .start_timeout_us = INT64_C(1) << 40};
    struct manager_host host = {to_rank, drop, NULL, over, &b};
    uint64_t id = 1;
    b.manager = manager_new(&settings, &host, 0);
    for (uint32_t i = 0; i < n_ranks; i++)
        from_rank(&b, i, node(i));
    from_interchange(&b, welcome());
    for (uint32_t i = 0; i < n_ranks; i++)
        from_rank(&b, i, make_credit(WORKERS, WORKERS, LONG_US));
    for (uint64_t left = (uint64_t)n_ranks * WORKERS; left;) {
        uint32_t n = left < 4096 ? (uint32_t)left : 4096;
        from_interchange(&b, make_tasks(id, n, 'f', 0));
        id += n;
        left -= n;
    }
    double start = cpu_ns();
    for (uint32_t done = 0; done < n_tasks; done += TOGETHER) {
        for (uint32_t i = 0; i < TOGETHER; i++) {
            uint32_t rank = shuffle() % n_ranks;
            while (!b.has[rank])
                rank = (rank + 1) % n_ranks;
            b.has[rank]--;
            from_rank(&b, rank, make_results(id, 1));
        }
        manager_flush(b.manager, 0); /* results leave; workers wait, and no task does */
        from_interchange(&b, make_tasks(id, TOGETHER, 'f', 0));
        id += TOGETHER;
    }
    double ns = (cpu_ns() - start) / n_tasks;
    manager_free(b.manager);
    mem_free(b.has);
    return ns;
}

/* ---- leader ----------------------------------------------------------------------------------------------------- */

struct rank {
    struct runner runner;
    struct leader *leader;
    uint32_t *busy; /* workers in the order in which they were given tasks; a ring */
    uint64_t first, last, size;
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
    (void)task;
    r->busy[r->last++ % r->size] = worker;
}

static uint32_t take_back(struct runner *runner, uint32_t worker)
{
    (void)runner;
    (void)worker;
    return 0;
}

static void nothing(struct runner *runner)
{
    (void)runner;
}

static const struct runner_ops ops = {prepare, on_worker, give, take_back, on_worker, on_worker, nothing, nothing};

static void end_runner(void *arg)
{
    (void)arg;
}

static void ended(void *arg, bool failed)
{
    (void)arg;
    (void)failed;
}

static void say(struct rank *r, struct msg *msg)
{
    leader_on_message(r->leader, msg, 0);
    msg_unref(msg);
    leader_flush(r->leader, 0);
}

/* All workers have a task, n_waiting more wait; one ends, and one more comes. */
static double leader_ns(uint32_t n_workers, uint32_t n_waiting, uint32_t time_us, uint32_t n_tasks)
{
    struct rank r = {.runner.ops = &ops, .size = (uint64_t)n_workers * 64 + n_waiting + 1};
    struct leader_settings settings = {
        .n_workers = n_workers, .n_in_node = n_workers, .host = "n", .most_prefetch = -1};
    struct leader_host host = {drop, end_runner, ended, NULL};
    const struct parts empty = {0};
    uint64_t id = 1;
    r.busy = mem_array(r.size, sizeof *r.busy);
    r.leader = leader_new(&settings, &host, &r.runner, 0);
    r.runner.events = *leader_events(r.leader);
    const struct runner_events *e = &r.runner.events;
    e->stands(e->arg, "3.11.7");
    say(&r, make_start(30000, 120000));
    for (uint32_t i = 0; i < n_workers; i++)
        e->worker_ready(e->arg, i);
    for (uint64_t left = n_workers + (uint64_t)n_waiting; left;) {
        uint32_t n = left < 4096 ? (uint32_t)left : 4096;
        say(&r, make_tasks(id, n, 'f', 0));
        id += n;
        left -= n;
    }
    double start = cpu_ns();
    for (uint32_t done = 0; done < n_tasks; done++) {
        e->result(e->arg, r.busy[r.first++ % r.size], WIRE_VALUE, time_us, &empty);
        say(&r, make_tasks(id++, 1, 'f', 0));
    }
    double ns = (cpu_ns() - start) / n_tasks;
    leader_free(r.leader);
    mem_free(r.busy);
    return ns;
}

int main(int argc, char **argv)
{
    uint32_t n = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 200000;
    quiet();
    for (uint32_t size = 1; size <= 10000; size *= 10)
        printf("manager-ranks %" PRIu32 " %.0f\n", size, manager_ns(size, n));
    for (uint32_t size = 1; size <= 10000; size *= 10)
        printf("leader-workers %" PRIu32 " %.0f\n", size, leader_ns(size, 0, LONG_US, n));
    for (uint32_t size = 100; size <= 1000000; size *= 10)
        printf("leader-queue %" PRIu32 " %.0f\n", size, leader_ns(64, size, LONG_US, n));
    return 0;
}
