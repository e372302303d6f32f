/* memory: each allocation of the pool's parts fails once. Memory for our own books (mem.h) ends the process with its
 * line; memory that may be refused (bytes_new) leads to what the caller promises. Under sanitizers neither leaks.
 *
 * An operation runs again and again, each time in a child of its own, in which the first allocation fails, then the
 * second, and so on until none is left to fail. */
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/idset.h"
#include "base/loop.h"
#include "check.h"
#include "fake_zygote.h"
#include "leader/leader.h"
#include "leader/runner_echo.h"
#include "leader/runner_fork.h"
#include "links/mpx_frame.h"
#include "manager/manager.h"
#include "messages.h"
#include "wire/stream.h"

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);

static long countdown; /* allocations until the one that fails; 0: none does */
static bool refused; /* bytes_new was; it alone calls malloc */

static bool fails(void)
{
    return countdown && --countdown == 0;
}

void *__wrap_malloc(size_t n)
{
    if (fails()) {
        refused = true;
        return NULL;
    }
    return __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    return fails() ? NULL : __real_realloc(p, n);
}

/* ---- operations: each keeps its promises whether or not memory was refused ------------------------------------------ */

#define LARGE 300000u /* bytes: more than is read at once, and more than is copied */

static struct parts payload_of(size_t n)
{
    struct parts payload = {0};
    struct bytes *bytes = bytes_new(n);
    if (!bytes)
        return payload;
    memset(bytes_data(bytes), 'x', n);
    parts_add(&payload, bytes, bytes_data(bytes), n);
    bytes_unref(bytes);
    return payload;
}

static struct msg *make_value(size_t n)
{
    struct wire_results results = {0};
    struct buf head = {0};
    struct parts payload = payload_of(n);
    wire_results_add(&results, &(struct wire_result){.id = 1, .length = (uint32_t)payload.length});
    wire_results_finish(&results, &head);
    wire_results_free(&results);
    return msg_new(&head, &payload);
}

static void bytes_are_had_or_refused(void)
{
    struct bytes *bytes = bytes_new(100);
    CHECK_EQUAL(!bytes, refused);
    bytes_unref(bytes);
}

static void an_announcement_is_read_or_refused(void)
{
    struct msg *msg = make_value(LARGE), *other;
    const struct parts *frame = mpx_frame(msg);
    bool before = refused, is_large = frame->n_slices > 1; /* no memory for its payload: it is small */
    enum wire_error error = mpx_frame_read(bytes_ref(frame->v[is_large].owner), is_large, &other);
    CHECK_EQUAL(error, refused && !before ? WIRE_BAD_LENGTH : WIRE_OK);
    CHECK_EQUAL(!other, error != WIRE_OK);
    msg_unref(other);
    msg_unref(msg);
}

static void a_small_message_goes_through_mpi(void)
{
    struct msg *msg = make_tasks(1, 5, 'f', 0), *other;
    CHECK_EQUAL(mpx_frame_read(bytes_ref(mpx_frame(msg)->v[0].owner), false, &other), WIRE_OK);
    CHECK_EQUAL(other->wire.count, 5);
    msg_unref(other);
    msg_unref(msg);
}

/* Two tasks of a message so large that what is kept of it is copied. */
static struct msg *make_two(void)
{
    struct wire_tasks tasks = {0};
    struct buf head = {0};
    static const uint8_t digest[WIRE_DIGEST];
    struct parts payload = payload_of(80003);
    uint32_t n = payload.length ? 40000 : 0;
    wire_tasks_function(&tasks, digest, payload.length - 2 * n);
    wire_tasks_add(&tasks, 1, n, &(struct wire_run){0});
    wire_tasks_add(&tasks, 2, n, &(struct wire_run){0});
    wire_tasks_finish(&tasks, &head);
    wire_tasks_free(&tasks);
    return msg_new(&head, &payload);
}

/* Where a copy is refused the whole message is kept instead. */
static void tasks_are_all_there(void)
{
    struct task_table *table = task_table_new(0);
    struct task_queue queue = {0};
    struct msg *in = make_two();
    tasks_read(table, in, &queue);
    struct msg *out = tasks_write(&queue, 2);
    CHECK_EQUAL(out->payload.length, in->payload.length);
    CHECK_EQUAL(bytes_length(out->head), bytes_length(in->head));
    CHECK(memcmp(bytes_data(out->head), bytes_data(in->head), bytes_length(in->head)) == 0, "heads differ");
    for (size_t i = 0; i < out->payload.n_slices; i++)
        CHECK(out->payload.v[i].p[0] == 'x', "not what it was");
    msg_unref(in);
    msg_unref(out);
    task_table_free(table);
}

static void ids_are_kept(void)
{
    struct idset set = {0};
    for (uint64_t id = 0; id < 40; id++)
        idset_add(&set, id);
    CHECK_EQUAL(set.n, 40);
    idset_clear(&set);
}

struct reader {
    struct loop *loop;
    int n_messages;
    char ended[128];
};

static void on_stream_message(void *arg, struct msg *msg)
{
    ((struct reader *)arg)->n_messages++;
    (void)msg;
}

static void on_stream_end(void *arg, const char *reason)
{
    struct reader *reader = arg;
    snprintf(reader->ended, sizeof reader->ended, "%s", reason);
    loop_end(reader->loop);
}

/* All of it; or, when there is no memory for a payload, what came before. */
static void a_stream_is_read(void)
{
    int pair[2], size = 1 << 20;
    struct err err;
    struct reader reader = {.loop = loop_new(&err)};
    struct msg *messages[3] = {make_tasks(1, 1, 'f', 0), make_value(LARGE), make_tasks(2, 1, 'f', 0)};
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "no pair");
    setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    struct stream *to =
        stream_new(reader.loop, pair[1], &(struct stream_events){on_stream_message, on_stream_end, &reader});
    bool before = refused;
    for (int i = 0; i < 3; i++) {
        struct iovec v[8] = {{bytes_data(messages[i]->head), bytes_length(messages[i]->head)}};
        uint64_t covered;
        int n =
            parts_iovec(&messages[i]->payload, (struct place){0, 0}, messages[i]->payload.length, v + 1, 7, &covered);
        CHECK_EQUAL(writev(pair[0], v, n + 1), bytes_length(messages[i]->head) + covered);
        msg_unref(messages[i]);
    }
    close(pair[0]);
    loop_run(reader.loop);
    CHECK_EQUAL(reader.n_messages, refused && !before ? 1 : 3);
    CHECK_TEXT(reader.ended,
               refused && !before ? "no memory for a payload" : "the connection to the interchange has ended");
    stream_close(to, 0);
    loop_free(reader.loop);
}

/* ---- a block of two ranks, with echoes for workers, in one loop ----------------------------------------------------- */

#define N_RANKS 2u
#define UP N_RANKS /* where a posted message is for: a rank, or the manager, from rank `to` - UP */
#define N_TASKS 40u

struct block {
    struct loop *loop;
    struct manager *manager;
    struct rank {
        struct block *home;
        struct leader *leader;
        struct runner *runner;
    } ranks[N_RANKS];
    struct outbox post;
    unsigned n_results;
    bool given, stopped, over;
};

static void manager_to_rank(void *arg, uint32_t rank, struct msg *msg)
{
    outbox_add(&((struct block *)arg)->post, rank, msg);
}

static void tell_manager(struct block *b, struct msg *msg)
{
    manager_on_interchange(b->manager, msg, loop_now_us(b->loop));
    msg_unref(msg);
}

static struct msg *make_welcome(void)
{
    struct parts setup = payload_of(3);
    return msg_make((struct wire_message){.type = WIRE_WELCOME, .welcome = {30000, 120000, 0, 0}}, &setup);
}

/* The interchange's part: it hears, and speaks in the next turn. */
static void manager_to_interchange(void *arg, struct msg *msg)
{
    struct block *b = arg;
    if (msg->wire.type == WIRE_REGISTER)
        outbox_add(&b->post, 2 * UP, make_welcome());
    if (msg->wire.type == WIRE_CREDIT && !b->given) {
        b->given = true;
        outbox_add(&b->post, 2 * UP, make_tasks(1, N_TASKS, 'f', 0));
        outbox_add(&b->post, 2 * UP, make_ids(WIRE_CANCEL, WIRE_KILL, N_TASKS));
        outbox_add(&b->post, 2 * UP, msg_bare(WIRE_RECALL, 0, 1));
    }
    if (msg->wire.type == WIRE_RESULTS || msg->wire.type == WIRE_TASKS)
        b->n_results += msg->wire.count;
    if (b->n_results == N_TASKS && !b->stopped) {
        b->stopped = true;
        outbox_add(&b->post, 2 * UP, msg_bare(WIRE_STOP, 0, 1000));
    }
    msg_unref(msg);
}

static void block_over(void *arg, int exit_code, bool orderly, const char *reason)
{
    struct block *b = arg;
    CHECK(exit_code == 0 && orderly, "%s", reason);
    b->over = true;
}

static void leader_send(void *arg, struct msg *msg)
{
    struct rank *r = arg;
    outbox_add(&r->home->post, UP + (uint32_t)(r - r->home->ranks), msg);
}

static void end_runner(void *arg)
{
    struct rank *r = arg;
    r->runner->ops->free(r->runner);
    r->runner = NULL;
}

static void leader_ended(void *arg, bool failed)
{
    CHECK(!failed, "a leader failed");
    (void)arg;
}

static void leader_manager_gone(void *arg)
{
    CHECK(false, "a leader takes its manager for gone");
    (void)arg;
}

static bool deliver(void *arg)
{
    struct block *b = arg;
    struct outbox now = b->post;
    b->post.n = 0;
    for (int i = 0; i < now.n; i++) {
        if (now.to[i] == 2 * UP)
            tell_manager(b, msg_ref(now.v[i]));
        else if (now.to[i] >= UP)
            manager_on_rank(b->manager, now.to[i] - UP, now.v[i], loop_now_us(b->loop));
        else
            leader_on_message(b->ranks[now.to[i]].leader, now.v[i], loop_now_us(b->loop));
        msg_unref(now.v[i]);
    }
    if (b->over && !b->post.n)
        loop_end(b->loop);
    return true;
}

static void flush(void *arg)
{
    struct block *b = arg;
    for (uint32_t i = 0; i < N_RANKS; i++)
        leader_flush(b->ranks[i].leader, loop_now_us(b->loop));
    manager_flush(b->manager, loop_now_us(b->loop));
}

static void a_block_lives(void)
{
    struct err err;
    struct block b = {.loop = loop_new(&err)};
    struct manager_host host = {manager_to_rank, manager_to_interchange, NULL, block_over, &b};
    struct manager_settings settings = {.n_ranks = N_RANKS,
                                        .block_id = "7",
                                        .pool_id = "p",
                                        .xse_version = "1",
                                        .mpi = "MPI",
                                        .zmq = "4",
                                        .start_timeout_us = 60000000,
                                        .grace_ms = 1000};
    struct loop_source source = {.turn = deliver, .flush = flush, .arg = &b};
    loop_add_source(b.loop, &source);
    b.manager = manager_new(&settings, &host, loop_now_us(b.loop));
    for (uint32_t i = 0; i < N_RANKS; i++) {
        struct rank *r = &b.ranks[i];
        struct leader_host up = {leader_send, end_runner, leader_ended, leader_manager_gone, r};
        struct leader_settings of = {.rank = i, .n_workers = 2, .n_in_node = 4, .host = "here", .most_prefetch = -1};
        *r = (struct rank){.home = &b, .runner = runner_echo_new(b.loop, 2, "3.11.7")};
        r->leader = leader_new(&of, &up, r->runner, loop_now_us(b.loop));
        r->runner->events = *leader_events(r->leader);
    }
    loop_run(b.loop);
    CHECK_EQUAL(b.n_results, N_TASKS);
    for (uint32_t i = 0; i < N_RANKS; i++)
        leader_free(b.ranks[i].leader);
    manager_free(b.manager);
    loop_free(b.loop);
}

/* ---- a worker and its large answer ---------------------------------------------------------------------------------- */

struct home {
    struct loop *loop;
    struct zygote zygote;
    struct runner *runner;
    struct task_table *table;
    struct task_queue given;
    int n_turns, n_results, n_gone;
};

static void on_ready(void *arg, uint32_t worker)
{
    struct home *h = arg;
    struct msg *msg = make_tasks(1, 1, 'f', 0);
    tasks_read(h->table, msg, &h->given);
    msg_unref(msg);
    h->runner->ops->give(h->runner, worker, h->given.first);
}

static void on_result(void *arg, uint32_t worker, enum wire_status status, const struct runner_time *time,
                      const struct parts *payload)
{
    ((struct home *)arg)->n_results++;
    CHECK_EQUAL(payload->length, LARGE);
    (void)worker, (void)status, (void)time;
}

static void on_gone(void *arg, uint32_t worker, const struct wire_failure *failure)
{
    ((struct home *)arg)->n_gone++;
    CHECK_EQUAL(failure->signal, 9);
    (void)worker;
}

static bool work(void *arg)
{
    static const uint8_t answer[LARGE];
    struct home *h = arg;
    struct process *p = &h->zygote.processes[0];
    struct up up = {.kind = h->n_turns ? UP_RESULT : UP_READY, .length = h->n_turns ? LARGE : 0};
    if (h->n_turns < 2) {
        struct iovec v[2] = {{&up, sizeof up}, {(void *)(uintptr_t)answer, up.length}};
        CHECK_EQUAL(writev(p->socket, v, 2), sizeof up + up.length);
    }
    if (++h->n_turns == 6)
        loop_end(h->loop);
    return true;
}

static void end_turn(void *arg)
{
    struct home *h = arg;
    h->runner->ops->flush(h->runner);
}

/* Where it is refused the worker is given up, and the loss is reported. */
static void a_worker_answers_or_is_given_up(void)
{
    struct err err;
    struct parts setup = {0};
    struct runner_start start = {.n_workers = 1, .n_in_node = 1, .block_id = "b", .pool_id = "p", .setup = &setup};
    struct home h = {.loop = loop_new(&err), .table = task_table_new(0)};
    fake_zygote_begin(&h.zygote);
    h.runner = runner_fork_new(h.loop, &h.zygote, 1);
    h.runner->events =
        (struct runner_events){.worker_ready = on_ready, .result = on_result, .worker_gone = on_gone, .arg = &h};
    struct loop_source source = {.turn = work, .flush = end_turn, .arg = &h};
    loop_add_source(h.loop, &source);
    h.runner->ops->prepare(h.runner, &start);
    h.runner->ops->start_worker(h.runner, 0);
    loop_run(h.loop);
    CHECK_EQUAL(h.n_results, !refused);
    CHECK_EQUAL(h.n_gone, refused);
    h.runner->ops->free(h.runner);
    task_queue_clear(&h.given);
    task_table_free(h.table);
    loop_free(h.loop);
}

/* ---- every allocation ----------------------------------------------------------------------------------------------- */

enum { SURVIVED = 40, DONE = 41 }; /* a child's exit codes, beside 70 of mem.h: after a refusal; nothing has failed */

static int run_child(void (*operation)(void), long n, char *said, size_t capacity)
{
    int err[2], status;
    CHECK(pipe(err) == 0, "no pipe");
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(err[1], STDERR_FILENO);
        close(err[0]);
        close(err[1]);
        check_failures = 0;
        countdown = n;
        operation();
        bool failed = !countdown; /* it has come to its end all the same */
        countdown = 0;
        exit(check_failures ? 1 : failed ? SURVIVED : DONE); /* here leaks are found */
    }
    close(err[1]);
    size_t at = 0;
    ssize_t got;
    while ((got = read(err[0], said + at, capacity - 1 - at)) > 0)
        at += (size_t)got;
    said[at] = 0;
    close(err[0]);
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void every_allocation_fails_once(const char *name, void (*operation)(void), bool refusable)
{
    static char said[1 << 16];
    int code, n_ended = 0, n_survived = 0;
    for (long n = 1; (code = run_child(operation, n, said, sizeof said)) != DONE; n++) {
        bool ended = code == 70 && strstr(said, "out of memory");
        n_ended += ended;
        n_survived += code == SURVIVED;
        CHECK(ended || code == SURVIVED, "%s, allocation %ld: exit code %d\n%s", name, n, code, said);
        if (!ended && code != SURVIVED)
            break;
    }
    CHECK_EQUAL(n_survived > 0, refusable);
    printf("%s: %d allocations failed, of which %d were refusals\n", name, n_ended + n_survived, n_survived);
}

#define EVERY(operation, refusable) every_allocation_fails_once(#operation, operation, refusable)

int main(void)
{
    quiet();
    EVERY(bytes_are_had_or_refused, true);
    EVERY(a_small_message_goes_through_mpi, false);
    EVERY(an_announcement_is_read_or_refused, true);
    EVERY(tasks_are_all_there, true);
    EVERY(ids_are_kept, false);
    EVERY(a_stream_is_read, true);
    EVERY(a_block_lives, true);
    EVERY(a_worker_answers_or_is_given_up, true);
    return check_end("memory");
}
