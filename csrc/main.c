/* xse-pool: one rank of a block. Here its parts are put together; what each does, its header says. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/logfile.h"
#include "base/mem.h"
#include "base/title.h"
#include "leader/leader.h"
#include "leader/runner_echo.h"
#include "leader/runner_fork.h"
#include "leader/runner_sim.h"
#include "leader/share.h"
#include "links/link.h"
#include "links/mpx.h"
#include "links/zlink.h"
#include "manager/manager.h"
#include "options.h"
#include "worker/interpreter.h"

#define FINALIZE_TIMEOUT_S 3 /* some MPIs hang in MPI_Finalize (docs/decisions/0003) */
#define FINALIZE_FAILED_S 1 /* and so they do when what ends the block has cut them off from mpiexec, too */
#define LINGER_MS 1000

struct pool {
    struct options options; /* their texts lie in argv and in file_options */
    struct connect_file file_options;
    struct loop *loop;
    struct mpx *mpx;
    struct zygote *zygote;
    struct runner *runner;
    struct leader *leader;
    struct loop_timer leader_timer, manager_timer;
    struct loop_source source;
    int signals;
    char host[256], pool_id[17];
    int exit_code;
    bool leader_is_over;
    bool orderly; /* every rank has said BYE */
    bool failed; /* the block ends otherwise than it was asked to */
    /* rank 0 */
    struct manager *manager;
    struct link *link;
    struct logfile *log;
    struct {
        struct msg **v;
        size_t n, capacity;
    } up; /* from its own leader to the manager */
};

static int64_t now_us(const struct pool *pool)
{
    return loop_now_us(pool->loop);
}

static bool is_rank_0(const struct pool *pool)
{
    return mpx_rank(pool->mpx) == 0;
}

/* ---- logging ---------------------------------------------------------------------------------------------------- */

static void log_to_file(void *arg, enum log_level level, const char *line)
{
    logfile_write(((struct pool *)arg)->log, level, line);
}

static void log_to_manager(void *arg, enum log_level level, const char *line)
{
    struct pool *pool = arg;
    mpx_send(pool->mpx, 0, msg_text(WIRE_LOG, level, line));
}

static int make_dirs(char *path)
{
    for (char *slash = path + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        mkdir(path, 0777);
        *slash = '/';
    }
    return mkdir(path, 0777) && errno != EEXIST ? -1 : 0;
}

/* A log that cannot be written is no reason not to work. */
static void open_log(struct pool *pool, const char *block_id)
{
    char path[4096];
    enum log_level least = pool->options.debug ? LOG_DEBUG : LOG_INFO;
    if (!is_rank_0(pool)) {
        log_to(log_to_manager, pool, least);
        return;
    }
    if (!*pool->options.log_dir)
        return;
    int n = snprintf(path, sizeof path, "%s/block-%s/%s", pool->options.log_dir, block_id, pool->pool_id);
    if (n < (int)sizeof path - 16 && make_dirs(path) == 0) {
        strcat(path, "/manager.log");
        pool->log = logfile_open(path, LOGFILE_MOST_BYTES);
    }
    if (!pool->log) {
        log_warning("log_not_written path=%s reason=\"%s\"", path, strerror(errno));
        return;
    }
    log_to(log_to_file, pool, least);
}

/* ---- messages between parts -------------------------------------------------------------------------------------- */

static void leader_to_manager(void *arg, struct msg *msg)
{
    struct pool *pool = arg;
    if (!is_rank_0(pool)) {
        mpx_send(pool->mpx, 0, msg);
        return;
    }
    if (pool->up.n == pool->up.capacity) {
        pool->up.capacity = pool->up.capacity ? 2 * pool->up.capacity : 16;
        pool->up.v = mem_grow(pool->up.v, pool->up.capacity, sizeof *pool->up.v);
    }
    pool->up.v[pool->up.n++] = msg;
}

static void end_runner(void *arg)
{
    struct pool *pool = arg;
    pool->runner->ops->free(pool->runner);
    pool->runner = NULL;
}

static void leader_ended(void *arg, bool failed)
{
    struct pool *pool = arg;
    pool->leader_is_over = true;
    if (!is_rank_0(pool)) /* there the manager knows how it went */
        pool->exit_code = failed;
}

static void manager_gone(void *arg)
{
    struct pool *pool = arg;
    if (is_rank_0(pool)) /* its manager is here */
        return;
    pool->exit_code = 1;
    pool->failed = true;
    loop_end(pool->loop);
}

static void manager_to_rank(void *arg, uint32_t rank, struct msg *msg)
{
    mpx_send(((struct pool *)arg)->mpx, rank, msg);
}

static void manager_to_interchange(void *arg, struct msg *msg)
{
    struct pool *pool = arg;
    if (pool->link)
        link_send(pool->link, msg);
    else
        msg_unref(msg);
}

static bool interchange_is_busy(void *arg)
{
    return link_is_busy(((struct pool *)arg)->link);
}

static void block_over(void *arg, int exit_code, bool orderly, const char *reason)
{
    struct pool *pool = arg;
    pool->exit_code = exit_code || !orderly;
    pool->orderly = orderly;
    pool->failed = pool->exit_code;
    if (exit_code && *reason)
        fprintf(stderr, "xse-pool: %s\n", reason);
    loop_end(pool->loop);
}

static void on_rank_message(void *arg, uint32_t from, struct msg *msg)
{
    struct pool *pool = arg;
    if (is_rank_0(pool) && from != 0) {
        manager_on_rank(pool->manager, from, msg, now_us(pool));
        return;
    }
    if (pool->leader_is_over && msg->wire.type == WIRE_STOP && !is_rank_0(pool)) {
        pool->failed = msg->wire.count;
        loop_end(pool->loop); /* the block is over: see manager.c */
    }
    leader_on_message(pool->leader, msg, now_us(pool));
    if (msg->wire.type == WIRE_START && pool->zygote && pool->runner)
        runner_fork_watch_zygote(pool->runner, msg->wire.start.heartbeat_period_ms * INT64_C(1000),
                                 msg->wire.start.heartbeat_threshold_ms * INT64_C(1000));
}

static void on_link_message(void *arg, struct msg *msg)
{
    struct pool *pool = arg;
    manager_on_interchange(pool->manager, msg, now_us(pool));
}

static void on_link_lost(void *arg, const char *reason)
{
    struct pool *pool = arg;
    manager_on_interchange_lost(pool->manager, reason, now_us(pool));
}

/* A leader's messages to the manager of its own rank. */
static bool turn(void *arg)
{
    struct pool *pool = arg;
    size_t n = pool->up.n;
    for (size_t i = 0; i < pool->up.n; i++) {
        manager_on_rank(pool->manager, 0, pool->up.v[i], now_us(pool));
        msg_unref(pool->up.v[i]);
    }
    pool->up.n = 0;
    return n > 0;
}

static bool doze(void *arg)
{
    return ((struct pool *)arg)->up.n > 0;
}

static void arm(struct pool *pool, struct loop_timer *timer, int64_t when_us)
{
    if (when_us == INT64_MAX)
        loop_forget(pool->loop, timer);
    else if (!timer->set || timer->when_us != when_us)
        loop_at(pool->loop, timer, when_us);
}

static void flush(void *arg)
{
    struct pool *pool = arg;
    leader_flush(pool->leader, now_us(pool));
    arm(pool, &pool->leader_timer, leader_deadline_us(pool->leader));
    if (!pool->manager)
        return;
    manager_flush(pool->manager, now_us(pool));
    link_flush(pool->link);
    arm(pool, &pool->manager_timer, manager_deadline_us(pool->manager));
}

static void on_leader_timer(void *arg)
{
    struct pool *pool = arg;
    leader_on_tick(pool->leader, now_us(pool));
}

static void on_manager_timer(void *arg)
{
    struct pool *pool = arg;
    manager_on_tick(pool->manager, now_us(pool));
}

static void on_signal(void *arg, uint32_t events)
{
    struct pool *pool = arg;
    struct signalfd_siginfo info;
    (void)events;
    while (read(pool->signals, &info, sizeof info) == sizeof info) {
        if (is_rank_0(pool))
            manager_on_signal(pool->manager, now_us(pool));
        else
            mpx_send(pool->mpx, 0, msg_bare(WIRE_STOP, 0, 0));
    }
}

/* ---- putting it together ---------------------------------------------------------------------------------------- */

/* What of its node is this rank's to use. Ranks that are bound apart do not share their cores; those with the same mask
 * do. */
static struct share share_of(struct pool *pool)
{
    uint32_t index;
    cpu_set_t mask;
    struct share share = {.memory_gb = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE) / (1 << 30)};
    CPU_ZERO(&mask);
    if (sched_getaffinity(0, sizeof mask, &mask))
        CPU_SET(0, &mask);
    share.n_cores = (uint32_t)CPU_COUNT(&mask);
    share.n_sharing_cores = mpx_node_equals(pool->mpx, &mask, sizeof mask);
    mpx_node_sums(pool->mpx, 1, &share.n_on_node, &index);
    share.index_on_node = index;
    share_take_provider(&share, getenv("PARSL_CORES"), getenv("PARSL_MEMORY_GB"));
    return share;
}

static struct runner *make_runner(struct pool *pool, uint32_t n_workers)
{
    if (pool->zygote)
        return runner_fork_new(pool->loop, pool->zygote, n_workers);
    bool sim = strcmp(pool->options.runner, "sim") == 0;
    return (sim ? runner_sim_new : runner_echo_new)(pool->loop, n_workers, interpreter_version());
}

static void make_leader(struct pool *pool)
{
    struct leader_settings settings = {.rank = mpx_rank(pool->mpx),
                                       .pid = (uint32_t)getpid(),
                                       .memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE),
                                       .host = pool->host,
                                       .most_tasks = (uint64_t)pool->options.max_tasks_per_worker,
                                       .most_prefetch = pool->options.prefetch};
    struct leader_host host = {leader_to_manager, end_runner, leader_ended, manager_gone, pool};
    struct share share = share_of(pool);
    settings.n_cores = share.n_cores;
    settings.cores_alone = share.n_sharing_cores == 1;
    settings.n_workers = share_workers(&share, &pool->options);
    bool fits = settings.n_workers > 0;
    if (!fits)
        settings.n_workers = 1; /* it will not be started; see below */
    mpx_node_sums(pool->mpx, settings.n_workers, &settings.n_in_node, &settings.first_in_node);
    pool->runner = make_runner(pool, settings.n_workers);
    pool->leader = leader_new(&settings, &host, pool->runner, now_us(pool));
    pool->runner->events = *leader_events(pool->leader);
    if (!fits) {
        struct err err;
        share_explain(&share, &pool->options, &err);
        pool->runner->events.failed(pool->runner->events.arg, err.text);
    }
    pool->leader_timer = (struct loop_timer){.due = on_leader_timer, .arg = pool};
}

static void make_manager(struct pool *pool)
{
    struct err err;
    char unnamed[40];
    const struct options *o = &pool->options;
    struct connect_file file; /* with the keys: only here, only as long as it takes */
    int unreadable = connect_read(o->connect, true, &file, &err);
    snprintf(unnamed, sizeof unnamed, "hand-%s", pool->pool_id);
    struct manager_settings settings = {.n_ranks = mpx_n_ranks(pool->mpx),
                                        .block_id = *o->block    ? o->block
                                                    : file.block ? file.block
                                                                 : unnamed,
                                        .pool_id = pool->pool_id,
                                        .xse_version = XSE_VERSION,
                                        .mpi = mpx_library(),
                                        .zmq = zlink_library(o->libzmq),
                                        .start_timeout_us = o->start_timeout_s * 1000000,
                                        .drain_after_us = o->drain_after_s * 1000000,
                                        .grace_ms = (uint32_t)o->grace_ms};
    struct manager_host host = {manager_to_rank, manager_to_interchange, interchange_is_busy, block_over, pool};
    struct link_events events = {on_link_message, on_link_lost, pool};
    open_log(pool, settings.block_id);
    pool->manager = manager_new(&settings, &host, now_us(pool));
    pool->manager_timer = (struct loop_timer){.due = on_manager_timer, .arg = pool};
    if (!unreadable)
        pool->link = link_open(&file, (int)o->probe_timeout_s * 1000, pool->loop, &events, &err);
    if (pool->link)
        log_info("link_open endpoint=%s pool=%s", link_endpoint(pool->link), pool->pool_id);
    else
        manager_on_interchange_lost(pool->manager, err.text, now_us(pool));
    connect_clear(&file);
}

static void catch_signals(struct pool *pool)
{
    sigset_t ending;
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGINT);
    sigprocmask(SIG_BLOCK, &ending, NULL);
    pool->signals = signalfd(-1, &ending, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void free_pool(struct pool *pool)
{
    if (pool->runner) /* the block ends without waiting for its ranks */
        end_runner(pool);
    log_to(NULL, NULL, LOG_WARNING);
    link_close(pool->link, LINGER_MS);
    if (is_rank_0(pool) && !pool->orderly) { /* a rank is dead or hangs: MPI would wait for it */
        fflush(NULL);
        _exit(pool->exit_code);
    }
    mpx_close(pool->mpx, pool->failed ? FINALIZE_FAILED_S : FINALIZE_TIMEOUT_S, pool->exit_code);
    leader_free(pool->leader);
    manager_free(pool->manager);
    logfile_close(pool->log);
    mem_free(pool->up.v);
    close(pool->signals);
    loop_free(pool->loop);
}

static int fail(const struct err *err)
{
    fprintf(stderr, "xse-pool: %s\n", err->text);
    return 1;
}

static void print_versions(void)
{
    printf("xse-pool %s\nmpi %s\nmpicc %s\nzmq %s\npython %s\n", XSE_VERSION, mpx_library(), XSE_MPICC,
           zlink_library(""), interpreter_built_for());
}

static int start_zygote(struct pool *pool, struct err *err)
{
    const struct options *o = &pool->options;
    struct zygote_settings settings = {.python = *o->python ? o->python : XSE_PYTHON,
                                       .preload = o->preload,
                                       .path = o->path,
                                       .affinity = o->affinity,
                                       .accelerators = o->accelerators,
                                       .memory_limit = o->memory_limit,
                                       .working_dir = o->working_dir};
    if (strcmp(o->runner, "fork") != 0)
        return 0;
    pool->zygote = zygote_start(&settings, err);
    return pool->zygote ? 0 : -1;
}

/* The command line, after what the connect file has for it. The file is kept: options point into it. */
static int read_options(struct pool *pool, int argc, char **argv, struct err *err)
{
    if (options_parse(&pool->options, argc, argv, err))
        return -1;
    if (pool->options.help || pool->options.version)
        return 0;
    if (connect_read(pool->options.connect, false, &pool->file_options, err))
        return -1;
    int n = 1 + pool->file_options.n_options;
    char **all = mem_array((size_t)(n + argc), sizeof *all);
    all[0] = argv[0];
    memcpy(all + 1, pool->file_options.options, (size_t)(n - 1) * sizeof *all);
    memcpy(all + n, argv + 1, (size_t)(argc - 1) * sizeof *all);
    int bad = options_parse(&pool->options, n + argc - 1, all, err);
    mem_free(all);
    return bad;
}

int main(int argc, char **argv)
{
    static struct pool pool;
    struct err err;
    uint64_t random;
    title_init(argc, argv);
    mem_keep();
    if (read_options(&pool, argc, argv, &err))
        return fail(&err);
    if (pool.options.help || pool.options.version) {
        (pool.options.help ? options_help : print_versions)();
        return 0;
    }
    if (*pool.options.expect_python && strcmp(pool.options.expect_python, interpreter_built_for()) != 0) {
        err_set(&err,
                "this xse-pool was built for Python %s, and the executor runs Python %s: build xse with that Python "
                "(pip install . there), or use Python %s",
                interpreter_built_for(), pool.options.expect_python, interpreter_built_for());
        return fail(&err);
    }
    if (gethostname(pool.host, sizeof pool.host - 1) || getrandom(&random, sizeof random, 0) != sizeof random)
        return fail((err_set_errno(&err, "cannot learn the host's name"), &err));
    snprintf(pool.pool_id, sizeof pool.pool_id, "%012llx", (unsigned long long)random & 0xffffffffffff);
    if (start_zygote(&pool, &err)) /* before MPI_Init, and before any thread */
        return fail(&err);
    catch_signals(&pool);
    if (!(pool.loop = loop_new(&err)) || !(pool.mpx = mpx_open(&argc, &argv, pool.loop, &err)))
        return fail(&err);
    pool.orderly = true;
    mpx_on_message(pool.mpx, on_rank_message, &pool);
    make_leader(&pool);
    if (is_rank_0(&pool))
        make_manager(&pool);
    else
        open_log(&pool, "");
    pool.source = (struct loop_source){turn, flush, doze, NULL, NULL, &pool};
    loop_add_source(pool.loop, &pool.source);
    loop_watch(pool.loop, pool.signals, EPOLLIN, on_signal, &pool);
    loop_run(pool.loop);
    free_pool(&pool);
    return pool.exit_code;
}
