#include "rank/rank.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "leader/leader.h"
#include "leader/runner_echo.h"
#include "leader/runner_fork.h"
#include "leader/runner_sim.h"
#include "leader/share.h"
#include "links/link.h"
#include "links/zlink.h"
#include "manager/manager.h"
#include "rank/rank_log.h"

#define FINALIZE_TIMEOUT_S 3 /* some MPIs hang in MPI_Finalize (docs/decisions/0003) */
#define FINALIZE_FAILED_S 1 /* and so they do when what ends the block has cut them off from mpiexec, too */
#define LINGER_MS 1000
/* So much may wait to leave this rank: then no more is made here, until little waits (docs/decisions/0012). */
#define HOLD_FROM_BYTES (64u << 20)
#define HOLD_TO_BYTES LINK_FEW_BYTES

struct rank_process {
    const struct options *options;
    const char *host;
    char pool_id[17];
    struct loop *loop;
    struct mpx *mpx;
    struct zygote *zygote;
    struct runner *runner;
    struct leader *leader;
    struct loop_timer leader_timer, manager_timer;
    struct loop_source source;
    int ending_fd; /* readable: the process is told to end */
    int exit_code;
    bool leader_is_over;
    bool orderly; /* every rank has said BYE */
    bool failed; /* the block ends otherwise than it was asked to */
    bool held; /* too much waits to leave: no task is given */
    /* rank 0 */
    struct manager *manager;
    struct link *link;
    struct rank_log *log;
    struct {
        struct msg **v;
        size_t n, capacity;
    } up; /* from its own leader to the manager */
};

static int64_t rank_now_us(const struct rank_process *rank)
{
    return loop_now_us(rank->loop);
}

static bool rank_has_manager(const struct rank_process *rank)
{
    return mpx_rank(rank->mpx) == 0;
}

/* ---- messages between parts -------------------------------------------------------------------------------------- */

static void rank_leader_to_manager(void *arg, struct msg *msg)
{
    struct rank_process *rank = arg;
    if (!rank_has_manager(rank)) {
        mpx_send(rank->mpx, 0, msg);
        return;
    }
    if (rank->up.n == rank->up.capacity) {
        rank->up.capacity = rank->up.capacity ? 2 * rank->up.capacity : 16;
        rank->up.v = mem_grow(rank->up.v, rank->up.capacity, sizeof *rank->up.v);
    }
    rank->up.v[rank->up.n++] = msg;
}

static void rank_end_runner(void *arg)
{
    struct rank_process *rank = arg;
    rank->runner->ops->free(rank->runner);
    rank->runner = NULL;
}

static void rank_leader_ended(void *arg, bool failed)
{
    (void)failed; /* the last STOP says how the block ends */
    ((struct rank_process *)arg)->leader_is_over = true;
}

static void rank_manager_gone(void *arg)
{
    struct rank_process *rank = arg;
    if (rank_has_manager(rank)) /* its manager is here */
        return;
    rank->exit_code = 1;
    rank->failed = true;
    loop_end(rank->loop);
}

static void rank_manager_to_rank(void *arg, uint32_t to, struct msg *msg)
{
    mpx_send(((struct rank_process *)arg)->mpx, to, msg);
}

static void rank_manager_to_interchange(void *arg, struct msg *msg)
{
    struct rank_process *rank = arg;
    if (rank->link)
        link_send(rank->link, msg);
    else
        msg_unref(msg);
}

static bool rank_interchange_is_busy(void *arg)
{
    return link_is_busy(((struct rank_process *)arg)->link);
}

static void rank_block_over(void *arg, int exit_code, bool orderly, const char *reason)
{
    struct rank_process *rank = arg;
    rank->exit_code = exit_code || !orderly;
    rank->orderly = orderly;
    rank->failed = rank->exit_code;
    if (exit_code && *reason)
        fprintf(stderr, "xse-pool: %s\n", reason);
    loop_end(rank->loop);
}

static void rank_on_message(void *arg, uint32_t from, struct msg *msg)
{
    struct rank_process *rank = arg;
    if (rank_has_manager(rank) && from != 0) {
        manager_on_rank(rank->manager, from, msg, rank_now_us(rank));
        return;
    }
    if (rank->leader_is_over && msg->wire.type == WIRE_STOP && !rank_has_manager(rank)) {
        rank->failed = msg->wire.count;
        rank->exit_code = rank->failed;
        loop_end(rank->loop); /* the block is over: see manager.c */
    }
    leader_on_message(rank->leader, msg, rank_now_us(rank));
    if (msg->wire.type == WIRE_START && rank->zygote && rank->runner)
        runner_fork_watch_zygote(rank->runner, msg->wire.start.heartbeat_period_ms * INT64_C(1000),
                                 msg->wire.start.heartbeat_threshold_ms * INT64_C(1000));
}

static void rank_on_heard(void *arg, uint32_t from)
{
    struct rank_process *rank = arg;
    if (rank_has_manager(rank))
        manager_on_heard(rank->manager, from, rank_now_us(rank));
    else
        leader_on_heard(rank->leader, rank_now_us(rank));
}

static void rank_on_link_message(void *arg, struct msg *msg)
{
    struct rank_process *rank = arg;
    manager_on_interchange(rank->manager, msg, rank_now_us(rank));
}

static void rank_on_link_lost(void *arg, const char *reason)
{
    struct rank_process *rank = arg;
    manager_on_interchange_lost(rank->manager, reason, rank_now_us(rank));
}

/* A leader's messages to the manager of its own rank. */
static bool rank_turn(void *arg)
{
    struct rank_process *rank = arg;
    size_t n = rank->up.n;
    for (size_t i = 0; i < rank->up.n; i++) {
        manager_on_rank(rank->manager, 0, rank->up.v[i], rank_now_us(rank));
        msg_unref(rank->up.v[i]);
    }
    rank->up.n = 0;
    return n > 0;
}

static bool rank_doze(void *arg)
{
    return ((struct rank_process *)arg)->up.n > 0;
}

static void rank_arm(struct rank_process *rank, struct loop_timer *timer, int64_t when_us)
{
    if (when_us == INT64_MAX)
        loop_forget(rank->loop, timer);
    else if (!timer->set || timer->when_us != when_us)
        loop_at(rank->loop, timer, when_us);
}

/* Results that come faster than the next hop takes them must not gather here without bound. */
static void rank_hold(struct rank_process *rank)
{
    uint64_t waiting = rank_has_manager(rank) ? link_waiting(rank->link) : mpx_waiting(rank->mpx);
    rank->held = waiting > (rank->held ? HOLD_TO_BYTES : HOLD_FROM_BYTES);
    leader_hold(rank->leader, rank->held);
    if (!rank->manager)
        return;
    manager_hold(rank->manager, rank->held);
    mpx_hold_large(rank->mpx, rank->held);
}

static void rank_flush(void *arg)
{
    struct rank_process *rank = arg;
    rank_hold(rank);
    leader_flush(rank->leader, rank_now_us(rank));
    rank_arm(rank, &rank->leader_timer, leader_deadline_us(rank->leader));
    if (!rank->manager)
        return;
    manager_flush(rank->manager, rank_now_us(rank));
    link_flush(rank->link);
    rank_arm(rank, &rank->manager_timer, manager_deadline_us(rank->manager));
}

static void rank_on_leader_timer(void *arg)
{
    struct rank_process *rank = arg;
    leader_on_tick(rank->leader, rank_now_us(rank));
}

static void rank_on_manager_timer(void *arg)
{
    struct rank_process *rank = arg;
    manager_on_tick(rank->manager, rank_now_us(rank));
}

static void rank_on_signal(void *arg, uint32_t events)
{
    struct rank_process *rank = arg;
    uint64_t n;
    (void)events;
    if (read(rank->ending_fd, &n, sizeof n) != sizeof n)
        return;
    if (rank_has_manager(rank))
        manager_on_signal(rank->manager, rank_now_us(rank));
    else
        mpx_send(rank->mpx, 0, msg_bare(WIRE_STOP, 0, 0));
}

/* ---- life ------------------------------------------------------------------------------------------------------- */

/* What of its node is this rank's to use. Ranks that are bound apart do not share their cores; those with the same mask
 * do. */
static struct share rank_share(const struct rank_process *rank, const struct process_cores *cores)
{
    uint32_t index;
    struct share share = {.memory_gb = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE) / (1 << 30)};
    share.n_cores = cores->n;
    share.n_sharing_cores = mpx_node_equals(rank->mpx, cores->mask, cores->n_bytes);
    mpx_node_sums(rank->mpx, 1, &share.n_on_node, &index);
    share.index_on_node = index;
    share_take_provider(&share, getenv("PARSL_CORES"), getenv("PARSL_MEMORY_GB"));
    return share;
}

static struct runner *rank_make_runner(struct rank_process *rank, uint32_t n_workers)
{
    if (rank->zygote)
        return runner_fork_new(rank->loop, rank->zygote, n_workers);
    bool sim = strcmp(rank->options->runner, "sim") == 0;
    return (sim ? runner_sim_new : runner_echo_new)(rank->loop, n_workers, XSE_PYTHON_VERSION);
}

static void rank_make_leader(struct rank_process *rank, const struct process_cores *cores)
{
    struct leader_settings settings = {.rank = mpx_rank(rank->mpx),
                                       .pid = (uint32_t)getpid(),
                                       .memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE),
                                       .host = rank->host,
                                       .most_tasks = (uint64_t)rank->options->max_tasks_per_worker,
                                       .most_prefetch = rank->options->prefetch};
    struct leader_host host = {rank_leader_to_manager, rank_end_runner, rank_leader_ended, rank_manager_gone, rank};
    struct share share = rank_share(rank, cores);
    settings.n_cores = share.n_cores;
    settings.cores_alone = share.n_sharing_cores == 1;
    settings.n_workers = share_workers(&share, rank->options);
    bool fits = settings.n_workers > 0;
    if (!fits)
        settings.n_workers = 1; /* it will not be started; see below */
    mpx_node_sums(rank->mpx, settings.n_workers, &settings.n_in_node, &settings.first_in_node);
    settings.first_in_block = mpx_sum_before(rank->mpx, settings.n_workers);
    rank->runner = rank_make_runner(rank, settings.n_workers);
    rank->leader = leader_new(&settings, &host, rank->runner, rank_now_us(rank));
    rank->runner->events = *leader_events(rank->leader);
    if (!fits) {
        struct err err;
        share_explain(&share, rank->options, &err);
        rank->runner->events.failed(rank->runner->events.arg, err.text);
    }
    rank->leader_timer = (struct loop_timer){.due = rank_on_leader_timer, .arg = rank};
}

/* Many ranks take longer: they read Python from one file system. xse/launch/options.py has the same figures. */
static int64_t rank_start_timeout_us(const struct options *options, uint32_t n_ranks)
{
    if (options->start_timeout_s)
        return options->start_timeout_s * 1000000;
    return INT64_C(120000000) + INT64_C(100000) * n_ranks;
}

static void rank_make_manager(struct rank_process *rank)
{
    struct err err;
    char unnamed[40];
    const struct options *o = rank->options;
    struct connect_file file; /* with the keys: only here, only as long as it takes */
    int unreadable = connect_read(o->connect, true, &file, &err);
    snprintf(unnamed, sizeof unnamed, "hand-%s", rank->pool_id);
    struct manager_settings settings = {.n_ranks = mpx_n_ranks(rank->mpx),
                                        .block_id = *o->block    ? o->block
                                                    : file.block ? file.block
                                                                 : unnamed,
                                        .pool_id = rank->pool_id,
                                        .xse_version = XSE_VERSION,
                                        .mpi = mpx_library(),
                                        .zmq = zlink_library(o->libzmq),
                                        .min_ranks = (uint32_t)o->min_ranks,
                                        .start_timeout_us = rank_start_timeout_us(o, mpx_n_ranks(rank->mpx)),
                                        .drain_after_us = o->drain_after_s * 1000000,
                                        .grace_ms = (uint32_t)o->grace_ms};
    struct manager_host host = {rank_manager_to_rank, rank_manager_to_interchange, rank_interchange_is_busy,
                                rank_block_over, rank};
    struct link_events events = {rank_on_link_message, rank_on_link_lost, rank};
    rank->log = rank_log_to_file(o, settings.block_id, rank->pool_id);
    rank->manager = manager_new(&settings, &host, rank_now_us(rank));
    rank->manager_timer = (struct loop_timer){.due = rank_on_manager_timer, .arg = rank};
    if (!unreadable)
        rank->link = link_open(&file, (int)o->probe_timeout_s * 1000, rank->loop, &events, &err);
    if (rank->link)
        log_info("link_open endpoint=%s pool=%s", link_endpoint(rank->link), rank->pool_id);
    else
        manager_on_interchange_lost(rank->manager, err.text, rank_now_us(rank));
    connect_clear(&file);
}

struct rank_process *rank_new(const struct rank_settings *settings, struct loop *loop, struct mpx *mpx,
                              struct zygote *zygote)
{
    struct rank_process *rank = mem_new(sizeof *rank);
    rank->options = settings->options;
    rank->host = settings->host;
    rank->loop = loop;
    rank->mpx = mpx;
    rank->zygote = zygote;
    rank->orderly = true;
    snprintf(rank->pool_id, sizeof rank->pool_id, "%012llx", (unsigned long long)settings->random & 0xffffffffffff);
    mpx_listen(mpx, &(struct mpx_events){rank_on_message, rank_on_heard, rank});
    rank_make_leader(rank, settings->cores);
    if (rank_has_manager(rank))
        rank_make_manager(rank);
    else
        rank_log_to_manager(rank->options, mpx);
    rank->source = (struct loop_source){rank_turn, rank_flush, rank_doze, NULL, NULL, rank};
    loop_add_source(loop, &rank->source);
    return rank;
}

static int rank_free(struct rank_process *rank)
{
    int exit_code = rank->exit_code;
    if (rank->runner) /* the block ends without waiting for its ranks */
        rank_end_runner(rank);
    rank_log_close(rank->log);
    link_close(rank->link, LINGER_MS);
    if (rank_has_manager(rank) && !rank->orderly) { /* a rank is dead or hangs: MPI would wait for it */
        fflush(NULL);
        _exit(exit_code);
    }
    mpx_close(rank->mpx, rank->failed ? FINALIZE_FAILED_S : FINALIZE_TIMEOUT_S, exit_code);
    leader_free(rank->leader);
    manager_free(rank->manager);
    mem_free(rank->up.v);
    mem_free(rank);
    return exit_code;
}

int rank_run(struct rank_process *rank, int ending_fd)
{
    rank->ending_fd = ending_fd;
    loop_watch(rank->loop, ending_fd, EPOLLIN, rank_on_signal, rank);
    loop_run(rank->loop);
    loop_unwatch(rank->loop, ending_fd);
    return rank_free(rank);
}
