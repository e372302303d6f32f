#include "leader/runner_fork.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "leader/relay.h"
#include "worker/pipe.h"

#define END_GRACE_MS 300 /* for workers that wait to leave by themselves: exit handlers, buffers */
#ifndef READ_SIZE /* tests/fuzz has a smaller one, so that answers that are larger are cheap */
#define READ_SIZE (256u << 10)
#endif
#define WRITE_SIZE 64 /* iovecs in one write */
#define SOCKET_BUFFER (1 << 20)
/* Forks under way. Each is an order with four descriptors, of which the kernel lets a user have only so many in flight; and
 * a zygote that waits for its answers to be read reads no orders. */
#define MOST_FORKING 8u

struct worker {
    struct runner_fork *home;
    uint32_t index;
    pid_t pid; /* 0: none, or not known yet */
    int socket;
    bool wanted; /* to be started when it is its turn */
    bool writing; /* the socket took less than there was */
    bool ready; /* it has said so */
    bool broken; /* it has said what cannot be: nothing of it is believed any more */
    struct worker_page *page;
    uint64_t n_given, n_answered, n_taken_back; /* since the process was started */
    struct parts out; /* on its way down, from out_at on */
    struct place out_at;
    uint64_t out_left;
    struct buf in; /* the beginning of an answer whose rest has not come */
    struct up large; /* an answer that is being read into large_bytes */
    struct bytes *large_bytes;
    uint64_t large_at;
    struct relay *err;
    uint32_t *known; /* by slot: the generation of the function it has there */
    uint32_t n_known;
};

struct runner_fork {
    struct runner runner;
    struct loop *loop;
    struct zygote *zygote;
    struct worker *workers;
    uint32_t n_workers, first_in_node, n_in_node, rank;
    uint32_t n_forking, n_wanted; /* orders that the zygote has not answered; workers that wait for it to */
    bool cores_alone;
    char *block_id, *pool_id;
    struct parts setup;
    uint32_t setup_codec;
    int out_pipe; /* the end that workers write to */
    struct relay *out;
    uint8_t *scratch;
    bool failed;
    struct loop_timer ping;
    int64_t period_us, threshold_us, last_pong_us;
};

static struct runner_fork *self_of(struct runner *runner)
{
    return (struct runner_fork *)runner; /* its first member */
}

static void fail(struct runner_fork *r, const char *reason)
{
    if (r->failed)
        return;
    r->failed = true;
    r->runner.events.failed(r->runner.events.arg, reason);
}

static uint64_t outstanding(const struct worker *w)
{
    return w->n_given - w->n_answered - w->n_taken_back;
}

/* ---- down to a worker ------------------------------------------------------------------------------------------- */

static void on_socket(void *arg, uint32_t events);

static void put_down(struct worker *w, const struct down *down, const struct parts *bytes)
{
    struct down *copy = mem_new(sizeof *copy);
    *copy = *down;
    struct bytes *head = bytes_adopt(copy, sizeof *copy, mem_free, copy);
    parts_add(&w->out, head, bytes_data(head), sizeof *down);
    bytes_unref(head);
    parts_add_range(&w->out, bytes, (struct place){0, 0}, down->length);
    w->out_left += sizeof *down + down->length;
}

static void write_some(struct worker *w)
{
    while (w->out_left) {
        struct iovec v[WRITE_SIZE];
        uint64_t covered;
        int n = parts_iovec(&w->out, w->out_at, w->out_left, v, WRITE_SIZE, &covered);
        struct msghdr m = {.msg_iov = v, .msg_iovlen = (size_t)n};
        ssize_t sent = sendmsg(w->socket, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            break; /* full: on_socket goes on; or dead: the zygote tells */
        w->out_at = parts_step(&w->out, w->out_at, (uint64_t)sent);
        w->out_left -= (uint64_t)sent;
    }
    if (!w->out_left) {
        parts_clear(&w->out);
        w->out_at = (struct place){0, 0};
    }
    if (w->writing != (w->out_left > 0)) {
        w->writing = w->out_left > 0;
        loop_watch(w->home->loop, w->socket, EPOLLIN | (w->writing ? EPOLLOUT : 0), on_socket, w);
    }
}

/* ---- up from a worker ------------------------------------------------------------------------------------------- */

static void take_answer(struct worker *w, const struct up *up, const struct parts *payload)
{
    const struct runner_events *e = &w->home->runner.events;
    if (up->kind == UP_READY) {
        w->ready = true;
        e->worker_ready(e->arg, w->index);
    } else if (up->kind == UP_RESULT) {
        w->n_answered++;
        e->result(e->arg, w->index, (enum wire_status)up->status, up->time_us, payload);
    } else {
        char *reason = mem_new((size_t)up->status + 1);
        struct parts exception = {0};
        struct buf copy = {0};
        struct place after = parts_step(payload, (struct place){0, 0}, up->status);
        size_t n = (size_t)(payload->length - up->status);
        parts_copy(payload, (struct place){0, 0}, up->status, (uint8_t *)reason);
        parts_copy(payload, after, n, buf_room(&copy, n));
        struct bytes *bytes = buf_take(&copy);
        parts_add(&exception, bytes, bytes_data(bytes), n);
        bytes_unref(bytes);
        e->setup_raised(e->arg, w->index, reason, &exception);
        parts_clear(&exception);
        mem_free(reason);
    }
}

/* A task can write where it likes in its process, its pipe to us included: what comes up is looked at. */
static bool is_right(const struct worker *w, const struct up *up)
{
    if (up->kind == UP_RESULT)
        return up->status <= WIRE_BLOCK_FAILED && up->length <= WIRE_MAX_ITEM && outstanding(w);
    if (up->kind == UP_SETUP_RAISED)
        return up->status <= up->length && up->length <= WIRE_MAX_ITEM && !w->ready;
    return up->kind == UP_READY && !up->length && !w->ready;
}

static void give_up(struct worker *w, const char *why)
{
    if (w->broken)
        return;
    log_info("worker_pipe_broken rank=%u worker=%u reason=\"%s\"", w->home->rank, w->index, why);
    w->broken = true;
    loop_unwatch(w->home->loop, w->socket);
    zygote_kill(w->home->zygote, w->index);
}

/* The n bytes at p as a payload: lent where that is enough, else in memory of their own. */
static void lend_or_copy(struct parts *payload, struct bytes *lent, const uint8_t *p, size_t n)
{
    struct buf copy = {0};
    if (n < RUNNER_LENT) {
        parts_add(payload, lent, p, n);
        return;
    }
    buf_put(&copy, p, n);
    struct bytes *bytes = buf_take(&copy);
    parts_add(payload, bytes, bytes_data(bytes), n);
    bytes_unref(bytes);
}

/* Whole answers at p, each told; returns how many bytes they took. */
static size_t take_answers(struct worker *w, const uint8_t *p, size_t n)
{
    size_t at = 0;
    struct up up;
    struct bytes *lent = bytes_adopt(p, n, NULL, NULL);
    while (n - at >= sizeof up) {
        memcpy(&up, p + at, sizeof up);
        if (!is_right(w, &up)) {
            give_up(w, "an answer that is none");
            at = n;
            break;
        }
        if (up.length > n - at - sizeof up)
            break;
        struct parts payload = {0};
        lend_or_copy(&payload, lent, p + at + sizeof up, up.length);
        at += sizeof up + up.length;
        take_answer(w, &up, &payload);
        parts_clear(&payload);
    }
    bytes_unref(lent);
    return at;
}

static void begin_large(struct worker *w, const uint8_t *p, size_t n)
{
    memcpy(&w->large, p, sizeof w->large);
    w->large_bytes = bytes_new(w->large.length);
    if (!w->large_bytes) {
        give_up(w, "no memory for its answer");
        return;
    }
    w->large_at = n - sizeof w->large;
    memcpy(bytes_data(w->large_bytes), p + sizeof w->large, w->large_at);
}

static void end_large(struct worker *w)
{
    struct parts payload = {0};
    struct bytes *bytes = w->large_bytes;
    w->large_bytes = NULL;
    parts_add(&payload, bytes, bytes_data(bytes), w->large.length);
    bytes_unref(bytes);
    if (is_right(w, &w->large)) /* still: its task may have been taken back, when the page says that it has not begun */
        take_answer(w, &w->large, &payload);
    else
        give_up(w, "an answer that is none");
    parts_clear(&payload);
}

/* One read. 1: there may be more; 0: nothing now; -1: the end. */
static int read_some(struct worker *w)
{
    uint8_t *to = w->home->scratch;
    size_t before = 0, room = READ_SIZE;
    if (w->broken)
        return 0;
    if (w->large_bytes) {
        to = bytes_data(w->large_bytes) + w->large_at;
        room = w->large.length - w->large_at;
    } else if (w->in.n) {
        before = w->in.n;
        memcpy(to, w->in.p, before);
        w->in.n = 0;
    }
    ssize_t got;
    do
        got = recv(w->socket, to + before, room - before, MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    if (got <= 0) {
        buf_put(&w->in, to, before);
        return got < 0 && errno == EAGAIN ? 0 : -1;
    }
    if (w->large_bytes) {
        w->large_at += (uint64_t)got;
        if (w->large_at == w->large.length)
            end_large(w);
        return 1;
    }
    size_t n = before + (size_t)got, used = take_answers(w, to, n), left = n - used;
    struct up up;
    if (left >= sizeof up)
        memcpy(&up, to + used, sizeof up);
    if (left >= sizeof up && up.length >= READ_SIZE / 4)
        begin_large(w, to + used, left);
    else
        buf_put(&w->in, to + used, left);
    return (size_t)got == room - before ? 1 : 0;
}

static void on_socket(void *arg, uint32_t events)
{
    struct worker *w = arg;
    if (events & EPOLLOUT)
        write_some(w);
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        int more;
        do
            more = read_some(w);
        while (more > 0);
        if (more < 0) /* dead, which the zygote will tell; or it has closed its socket and is of no use */
            give_up(w, "end of file");
    }
}

/* ---- what the zygote tells -------------------------------------------------------------------------------------- */

static void forget_process(struct worker *w)
{
    if (w->socket >= 0) {
        loop_unwatch(w->home->loop, w->socket);
        close(w->socket);
    }
    if (w->page)
        munmap(w->page, sizeof *w->page);
    relay_free(w->err);
    parts_clear(&w->out);
    buf_free(&w->in);
    bytes_unref(w->large_bytes);
    mem_free(w->known);
    *w = (struct worker){.home = w->home, .index = w->index, .socket = -1};
}

static void fork_answered(struct runner_fork *r);

static void on_gone(struct runner_fork *r, const struct zygote_event *event)
{
    struct worker *w = &r->workers[event->worker];
    char detail[RELAY_TAIL + 1];
    while (read_some(w) > 0) /* what it answered before it died */
        ;
    relay_pump(w->err);
    snprintf(detail, sizeof detail, "%s", relay_tail(w->err));
    struct wire_failure failure = {.rank = r->rank,
                                   .pid = (uint32_t)event->pid,
                                   .exit_code = WIFEXITED(event->status) ? WEXITSTATUS(event->status) : -1,
                                   .signal = WIFSIGNALED(event->status) ? WTERMSIG(event->status) : 0,
                                   .host = "",
                                   .block = "",
                                   .detail = detail};
    /* The leader asks with take_back what had not begun: the page must still be there. */
    r->runner.events.worker_gone(r->runner.events.arg, event->worker, &failure);
}

static void on_zygote(void *arg, uint32_t events)
{
    struct runner_fork *r = arg;
    struct zygote_event *event = mem_new(sizeof *event);
    int got;
    (void)events;
    while ((got = zygote_next(r->zygote, event)) > 0) {
        if (event->kind == ZYGOTE_STANDS)
            r->runner.events.stands(r->runner.events.arg, event->text);
        else if (event->kind == ZYGOTE_FAILED)
            fail(r, event->text);
        else if (event->kind == ZYGOTE_FORKED) {
            r->workers[event->worker].pid = event->pid;
            fork_answered(r);
        } else if (event->kind == ZYGOTE_GONE)
            on_gone(r, event);
        else if (event->kind == ZYGOTE_PONG)
            r->last_pong_us = loop_now_us(r->loop);
    }
    mem_free(event);
    if (got < 0) {
        loop_unwatch(r->loop, zygote_fd(r->zygote));
        fail(r, "the zygote, which holds Python and the workers, has died");
    }
}

static void on_ping(void *arg)
{
    struct runner_fork *r = arg;
    int64_t now = loop_now_us(r->loop);
    if (now - r->last_pong_us > r->threshold_us) {
        fail(r, "the zygote, which holds Python and the workers, does not answer");
        return;
    }
    zygote_ping(r->zygote);
    loop_at(r->loop, &r->ping, now + r->period_us);
}

void runner_fork_watch_zygote(struct runner *runner, int64_t period_us, int64_t threshold_us)
{
    struct runner_fork *r = self_of(runner);
    r->period_us = period_us;
    r->threshold_us = threshold_us;
    r->last_pong_us = loop_now_us(r->loop);
    on_ping(r);
}

/* ---- the table -------------------------------------------------------------------------------------------------- */

static void prepare(struct runner *runner, const struct runner_start *start)
{
    struct runner_fork *r = self_of(runner);
    r->rank = start->rank;
    r->first_in_node = start->first_in_node;
    r->n_in_node = start->n_in_node;
    r->cores_alone = start->cores_alone;
    r->block_id = mem_text(start->block_id);
    r->pool_id = mem_text(start->pool_id);
    r->setup_codec = start->setup_codec;
    parts_add_range(&r->setup, start->setup, (struct place){0, 0}, start->setup->length);
}

static void fork_worker(struct runner_fork *r, uint32_t index)
{
    struct worker *w = &r->workers[index];
    int pair[2], err_pipe[2], size = SOCKET_BUFFER;
    forget_process(w);
    int page = memfd_create("xse-worker", MFD_CLOEXEC);
    if (page < 0 || ftruncate(page, sizeof *w->page) || pipe2(err_pipe, O_CLOEXEC) ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
        struct err err;
        err_set_errno(&err, "cannot make what a worker needs (its pipe, its page)");
        fail(r, err.text);
        return;
    }
    setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    w->page = mmap(NULL, sizeof *w->page, PROT_READ | PROT_WRITE, MAP_SHARED, page, 0);
    assert(w->page != MAP_FAILED);
    w->socket = pair[0];
    w->err = relay_new(r->loop, err_pipe[0], STDERR_FILENO);
    loop_watch(r->loop, w->socket, EPOLLIN, on_socket, w);
    struct zygote_worker place = {
        .rank = r->rank, .worker = index, .node_index = r->first_in_node + index, .n_in_node = r->n_in_node};
    place.core_index = r->cores_alone ? index : place.node_index;
    place.n_on_cores = r->cores_alone ? r->n_workers : r->n_in_node;
    snprintf(place.block_id, sizeof place.block_id, "%s", r->block_id);
    snprintf(place.pool_id, sizeof place.pool_id, "%s", r->pool_id);
    zygote_fork_worker(r->zygote, &place, &(struct zygote_fds){pair[1], page, r->out_pipe, err_pipe[1]});
    close(pair[1]);
    close(page);
    close(err_pipe[1]);
    put_down(w, &(struct down){.kind = DOWN_SETUP, .codec = r->setup_codec, .length = r->setup.length}, &r->setup);
}

static void start_worker(struct runner *runner, uint32_t index)
{
    struct runner_fork *r = self_of(runner);
    forget_process(&r->workers[index]);
    if (r->n_forking < MOST_FORKING) {
        r->n_forking++;
        fork_worker(r, index);
    } else {
        r->workers[index].wanted = true;
        r->n_wanted++;
    }
}

static void fork_answered(struct runner_fork *r)
{
    r->n_forking--;
    for (uint32_t i = 0; r->n_wanted && i < r->n_workers; i++)
        if (r->workers[i].wanted) {
            r->workers[i].wanted = false;
            r->n_wanted--;
            r->n_forking++;
            fork_worker(r, i);
            return;
        }
}

static void define(struct worker *w, const struct function *f)
{
    if (f->slot >= w->n_known) {
        uint32_t n = f->slot + 64;
        w->known = mem_grow(w->known, n, sizeof *w->known);
        memset(w->known + w->n_known, 0, (n - w->n_known) * sizeof *w->known);
        w->n_known = n;
    }
    if (w->known[f->slot] == f->generation)
        return;
    w->known[f->slot] = f->generation;
    struct down down = {.kind = DOWN_FUNCTION, .slot = f->slot, .codec = f->codec, .length = f->bytes.length};
    put_down(w, &down, &f->bytes);
}

static void give(struct runner *runner, uint32_t index, const struct task *task)
{
    struct worker *w = &self_of(runner)->workers[index];
    define(w, task->function);
    struct down down = {
        .kind = DOWN_TASK, .slot = task->function->slot, .number = w->n_given++, .length = task->length};
    put_down(w, &down, &task->arguments);
}

static uint32_t take_back(struct runner *runner, uint32_t index)
{
    struct worker *w = &self_of(runner)->workers[index];
    if (!w->page)
        return 0;
    uint64_t next = atomic_load(&w->page->next);
    /* A task may write anything there; what cannot be is taken for "all begun". */
    while (next < w->n_given && w->n_given - next <= outstanding(w))
        if (atomic_compare_exchange_weak(&w->page->next, &next, w->n_given)) {
            w->n_taken_back += w->n_given - next;
            return (uint32_t)(w->n_given - next);
        }
    return 0;
}

static void retire(struct runner *runner, uint32_t index)
{
    shutdown(self_of(runner)->workers[index].socket, SHUT_WR); /* it reads end of file */
}

static void kill_worker(struct runner *runner, uint32_t index)
{
    zygote_kill(self_of(runner)->zygote, index);
}

static void flush(struct runner *runner)
{
    struct runner_fork *r = self_of(runner);
    for (uint32_t i = 0; i < r->n_workers; i++)
        if (r->workers[i].out_left && !r->workers[i].writing)
            write_some(&r->workers[i]);
}

static void free_runner(struct runner *runner)
{
    struct runner_fork *r = self_of(runner);
    loop_forget(r->loop, &r->ping);
    loop_unwatch(r->loop, zygote_fd(r->zygote));
    for (uint32_t i = 0; i < r->n_workers; i++) {
        struct worker *w = &r->workers[i];
        if (outstanding(w))
            zygote_kill(r->zygote, i);
        if (w->socket >= 0) { /* an idle one reads end of file, and ends */
            loop_unwatch(r->loop, w->socket);
            close(w->socket);
            w->socket = -1;
        }
    }
    zygote_end(r->zygote, END_GRACE_MS);
    for (uint32_t i = 0; i < r->n_workers; i++)
        forget_process(&r->workers[i]);
    relay_free(r->out);
    close(r->out_pipe);
    parts_clear(&r->setup);
    mem_free(r->workers);
    mem_free(r->block_id);
    mem_free(r->pool_id);
    mem_free(r->scratch);
    mem_free(r);
}

static const struct runner_ops ops = {prepare, start_worker, give, take_back, retire, kill_worker, flush, free_runner};

struct runner *runner_fork_new(struct loop *loop, struct zygote *zygote, uint32_t n_workers)
{
    struct runner_fork *r = mem_new(sizeof *r);
    int out_pipe[2];
    r->runner.ops = &ops;
    r->loop = loop;
    r->zygote = zygote;
    r->n_workers = n_workers;
    r->workers = mem_array(n_workers, sizeof *r->workers);
    for (uint32_t i = 0; i < n_workers; i++)
        r->workers[i] = (struct worker){.home = r, .index = i, .socket = -1};
    r->scratch = mem_new(READ_SIZE);
    r->ping = (struct loop_timer){.due = on_ping, .arg = r};
    int refused = pipe2(out_pipe, O_CLOEXEC);
    assert(!refused); /* the first descriptors of a process */
    (void)refused;
    r->out_pipe = out_pipe[1];
    r->out = relay_new(loop, out_pipe[0], STDOUT_FILENO);
    loop_watch(loop, zygote_fd(zygote), EPOLLIN, on_zygote, r);
    return &r->runner;
}
