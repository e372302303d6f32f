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
#include "wire/outq.h"
#include "worker/pipe.h"

#define END_GRACE_MS 300 /* for workers that wait to leave by themselves: exit handlers, buffers */
#ifndef READ_SIZE /* tests/fuzz has a smaller one, so that answers that are larger are cheap */
#define READ_SIZE (256u << 10)
#endif
#define MOST_EVENTS 64 /* served in a turn */
#define REST_MOST_BYTES 65536u /* of results in a turn */
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
    bool watched; /* its socket */
    bool broken; /* it has said what cannot be: nothing of it is believed any more */
    struct worker_page *page;
    uint64_t n_given, n_answered, n_taken_back; /* since the process was started */
    struct outq out; /* on its way down */
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
    bool failed, zygote_writing;
    int sockets; /* an epoll of the workers' sockets, which the loop watches but for rests */
    uint64_t n_read; /* bytes of results in this turn */
    struct loop_timer ping, rest;
    int64_t period_us, threshold_us, last_pong_us;
};

static struct runner_fork *fork_of(struct runner *runner)
{
    return (struct runner_fork *)runner; /* its first member */
}

static void fork_fail(struct runner_fork *self, const char *reason)
{
    if (self->failed)
        return;
    self->failed = true;
    self->runner.events.failed(self->runner.events.arg, reason);
}

static uint64_t fork_outstanding(const struct worker *worker)
{
    return worker->n_given - worker->n_answered - worker->n_taken_back;
}

/* ---- the workers' sockets ---------------------------------------------------------------------------------------- */

static void fork_watch(struct worker *worker, int how, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = worker};
    int refused = epoll_ctl(worker->home->sockets, how, worker->socket, &event);
    assert(!refused); /* fails only for a descriptor that is not open: our mistake */
    (void)refused;
    worker->watched = true;
}

static void fork_unwatch(struct worker *worker)
{
    if (worker->watched)
        epoll_ctl(worker->home->sockets, EPOLL_CTL_DEL, worker->socket, NULL);
    worker->watched = false;
}

static void fork_on_socket(struct worker *worker, uint32_t events);

static void fork_on_sockets(void *arg, uint32_t ready)
{
    struct runner_fork *self = arg;
    struct epoll_event events[MOST_EVENTS];
    int n = epoll_wait(self->sockets, events, MOST_EVENTS, 0);
    (void)ready;
    self->n_read = 0;
    for (int i = 0; i < n; i++) {
        struct worker *worker = events[i].data.ptr;
        if (worker->watched) /* what was served before it may have ended it */
            fork_on_socket(worker, events[i].events);
    }
}

static void fork_end_rest(void *arg)
{
    struct runner_fork *self = arg;
    loop_watch(self->loop, self->sockets, EPOLLIN, fork_on_sockets, self);
}

/* Large results are seen at once: their workers wait in write until they are read. */
static void fork_rest(struct runner *runner, int64_t rest_us)
{
    struct runner_fork *self = fork_of(runner);
    if (self->n_read > REST_MOST_BYTES)
        return;
    loop_watch(self->loop, self->sockets, 0, fork_on_sockets, self);
    loop_at(self->loop, &self->rest, loop_now_us(self->loop) + rest_us);
}

/* ---- down to a worker ------------------------------------------------------------------------------------------- */

static void fork_put_down(struct worker *worker, const struct down *down, const struct parts *bytes)
{
    struct down *copy = mem_new(sizeof *copy);
    *copy = *down;
    struct bytes *head = bytes_adopt(copy, sizeof *copy, mem_free, copy);
    outq_add(&worker->out, head, bytes_data(head), sizeof *down);
    bytes_unref(head);
    outq_add_parts(&worker->out, bytes);
}

/* If the worker is dead, the zygote tells. */
static void fork_write(struct worker *worker)
{
    bool full = outq_write(&worker->out, worker->socket) == OUTQ_FULL;
    if (full == worker->writing)
        return;
    worker->writing = full;
    if (worker->watched)
        fork_watch(worker, EPOLL_CTL_MOD, EPOLLIN | (full ? EPOLLOUT : 0));
}

/* ---- up from a worker ------------------------------------------------------------------------------------------- */

static void fork_take_answer(struct worker *worker, const struct up *up, const struct parts *payload)
{
    const struct runner_events *e = &worker->home->runner.events;
    if (up->kind == UP_READY) {
        worker->ready = true;
        e->worker_ready(e->arg, worker->index);
    } else if (up->kind == UP_RESULT) {
        worker->n_answered++;
        struct runner_time time = {up->start_us, up->time_us};
        e->result(e->arg, worker->index, (enum wire_status)up->status, &time, payload);
    } else {
        char *reason = mem_new((size_t)up->status + 1);
        struct parts exception = {0};
        struct buf copy = {0};
        struct place after = parts_step(payload, (struct place){0, 0}, up->status);
        size_t n = (size_t)(payload->length - up->status);
        parts_copy(payload, (struct place){0, 0}, up->status, (uint8_t *)reason);
        parts_copy(payload, after, n, buf_extend(&copy, n));
        struct bytes *bytes = buf_take(&copy);
        parts_add(&exception, bytes, bytes_data(bytes), n);
        bytes_unref(bytes);
        e->setup_raised(e->arg, worker->index, reason, &exception);
        parts_clear(&exception);
        mem_free(reason);
    }
}

/* A task can write where it likes in its process, its pipe to us included: what comes up is looked at. */
static bool fork_is_right(const struct worker *worker, const struct up *up)
{
    if (up->kind == UP_RESULT)
        return up->status <= WIRE_BLOCK_FAILED && up->length <= WIRE_MAX_ITEM && fork_outstanding(worker);
    if (up->kind == UP_SETUP_RAISED)
        return up->status <= up->length && up->length <= WIRE_MAX_ITEM && !worker->ready;
    return up->kind == UP_READY && !up->length && !worker->ready;
}

static void fork_give_up(struct worker *worker, const char *why)
{
    if (worker->broken)
        return;
    log_info("worker_pipe_broken rank=%u worker=%u reason=\"%s\"", worker->home->rank, worker->index, why);
    worker->broken = true;
    fork_unwatch(worker);
    zygote_kill(worker->home->zygote, worker->index);
}

/* The n bytes at p as a payload: lent where that is enough, else in memory of their own. */
static void fork_lend_or_copy(struct parts *payload, struct bytes *lent, const uint8_t *p, size_t n)
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

/* Whole answers at p, each reported; returns how many bytes they took. */
static size_t fork_take_answers(struct worker *worker, const uint8_t *p, size_t n)
{
    size_t at = 0;
    struct up up;
    struct bytes *lent = bytes_adopt(p, n, NULL, NULL);
    while (n - at >= sizeof up) {
        memcpy(&up, p + at, sizeof up);
        if (!fork_is_right(worker, &up)) {
            fork_give_up(worker, "an answer that is none");
            at = n;
            break;
        }
        if (up.length > n - at - sizeof up)
            break;
        struct parts payload = {0};
        fork_lend_or_copy(&payload, lent, p + at + sizeof up, up.length);
        at += sizeof up + up.length;
        fork_take_answer(worker, &up, &payload);
        parts_clear(&payload);
    }
    bytes_unref(lent);
    return at;
}

static void fork_begin_large(struct worker *worker, const uint8_t *p, size_t n)
{
    memcpy(&worker->large, p, sizeof worker->large);
    worker->large_bytes = bytes_new(worker->large.length);
    if (!worker->large_bytes) {
        fork_give_up(worker, "no memory for its answer");
        return;
    }
    worker->large_at = n - sizeof worker->large;
    memcpy(bytes_data(worker->large_bytes), p + sizeof worker->large, worker->large_at);
}

static void fork_end_large(struct worker *worker)
{
    struct parts payload = {0};
    struct bytes *bytes = worker->large_bytes;
    worker->large_bytes = NULL;
    parts_add(&payload, bytes, bytes_data(bytes), worker->large.length);
    bytes_unref(bytes);
    /* Still right? Its task may have been taken back, when the page says that it has not begun. */
    if (fork_is_right(worker, &worker->large))
        fork_take_answer(worker, &worker->large, &payload);
    else
        fork_give_up(worker, "an answer that is none");
    parts_clear(&payload);
}

/* One read. 1: there may be more; 0: nothing now; -1: the end. */
static int fork_read_some(struct worker *worker)
{
    uint8_t *to = worker->home->scratch;
    size_t before = 0, space = READ_SIZE;
    if (worker->broken)
        return 0;
    if (worker->large_bytes) {
        to = bytes_data(worker->large_bytes) + worker->large_at;
        space = worker->large.length - worker->large_at;
    } else if (worker->in.n) {
        before = worker->in.n;
        memcpy(to, worker->in.p, before);
        worker->in.n = 0;
    }
    ssize_t got;
    do
        got = recv(worker->socket, to + before, space - before, MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    if (got <= 0) {
        buf_put(&worker->in, to, before);
        return got < 0 && errno == EAGAIN ? 0 : -1;
    }
    worker->home->n_read += (uint64_t)got;
    if (worker->large_bytes) {
        worker->large_at += (uint64_t)got;
        if (worker->large_at == worker->large.length)
            fork_end_large(worker);
        return 1;
    }
    size_t n = before + (size_t)got, used = fork_take_answers(worker, to, n), left = n - used;
    struct up up;
    if (left >= sizeof up)
        memcpy(&up, to + used, sizeof up);
    if (left >= sizeof up && up.length >= READ_SIZE / 4)
        fork_begin_large(worker, to + used, left);
    else
        buf_put(&worker->in, to + used, left);
    return (size_t)got == space - before ? 1 : 0;
}

static void fork_on_socket(struct worker *worker, uint32_t events)
{
    if (events & EPOLLOUT)
        fork_write(worker);
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        int more;
        do
            more = fork_read_some(worker);
        while (more > 0);
        if (more < 0) /* dead, which the zygote will tell; or it has closed its socket and is of no use */
            fork_give_up(worker, "end of file");
    }
}

/* ---- what the zygote tells -------------------------------------------------------------------------------------- */

static void fork_forget_process(struct worker *worker)
{
    if (worker->socket >= 0) {
        fork_unwatch(worker);
        close(worker->socket);
    }
    if (worker->page)
        munmap(worker->page, sizeof *worker->page);
    relay_free(worker->err);
    outq_clear(&worker->out);
    buf_free(&worker->in);
    bytes_unref(worker->large_bytes);
    mem_free(worker->known);
    *worker = (struct worker){.home = worker->home, .index = worker->index, .socket = -1};
}

static void fork_answered(struct runner_fork *self);

static void fork_on_gone(struct runner_fork *self, const struct zygote_event *event)
{
    struct worker *worker = &self->workers[event->worker];
    char detail[RELAY_TAIL + 1];
    while (fork_read_some(worker) > 0) /* what it answered before it died */
        ;
    relay_pump(worker->err);
    snprintf(detail, sizeof detail, "%s", relay_tail(worker->err));
    struct wire_failure failure = {.rank = self->rank,
                                   .pid = (uint32_t)event->pid,
                                   .exit_code = WIFEXITED(event->status) ? WEXITSTATUS(event->status) : -1,
                                   .signal = WIFSIGNALED(event->status) ? WTERMSIG(event->status) : 0,
                                   .host = "",
                                   .block = "",
                                   .detail = detail};
    /* The leader asks with take_back what had not begun: the page must still be there. */
    self->runner.events.worker_gone(self->runner.events.arg, event->worker, &failure);
}

static void fork_on_not_forked(struct runner_fork *self, const struct zygote_event *event)
{
    struct wire_failure failure = {.rank = self->rank, .exit_code = -1, .host = "", .block = "", .detail = event->text};
    fork_answered(self);
    self->runner.events.worker_gone(self->runner.events.arg, event->worker, &failure);
}

/* Its workers die with it; what they have answered before is there to be read. */
static void fork_on_zygote_dead(struct runner_fork *self)
{
    loop_unwatch(self->loop, zygote_fd(self->zygote));
    for (uint32_t i = 0; i < self->n_workers; i++)
        while (self->workers[i].socket >= 0 && fork_read_some(&self->workers[i]) > 0)
            ;
    struct err err;
    zygote_explain_end(self->zygote, &err);
    fork_fail(self, err.text);
}

static void fork_on_zygote_event(struct runner_fork *self, const struct zygote_event *event)
{
    const struct runner_events *e = &self->runner.events;
    switch (event->kind) {
    case ZYGOTE_STANDS:
        e->stands(e->arg, event->text);
        break;
    case ZYGOTE_FAILED:
        fork_fail(self, event->text);
        break;
    case ZYGOTE_FORKED:
        self->workers[event->worker].pid = event->pid;
        fork_answered(self);
        break;
    case ZYGOTE_NOT_FORKED:
        fork_on_not_forked(self, event);
        break;
    case ZYGOTE_GONE:
        fork_on_gone(self, event);
        break;
    case ZYGOTE_PONG:
        self->last_pong_us = loop_now_us(self->loop);
    }
}

static void fork_on_zygote(void *arg, uint32_t events)
{
    struct runner_fork *self = arg;
    struct zygote_event *event = mem_new(sizeof *event);
    int got;
    (void)events;
    while ((got = zygote_next(self->zygote, event)) > 0)
        fork_on_zygote_event(self, event);
    mem_free(event);
    if (got < 0)
        fork_on_zygote_dead(self);
}

/* What the zygote did not take at once leaves when it can. */
static void fork_watch_zygote(struct runner_fork *self)
{
    bool writing = zygote_is_writing(self->zygote);
    if (writing == self->zygote_writing || self->failed)
        return;
    self->zygote_writing = writing;
    loop_watch(self->loop, zygote_fd(self->zygote), EPOLLIN | (writing ? EPOLLOUT : 0), fork_on_zygote, self);
}

static void fork_on_ping(void *arg)
{
    struct runner_fork *self = arg;
    int64_t now = loop_now_us(self->loop);
    if (now - self->last_pong_us > self->threshold_us) {
        fork_fail(self, "the zygote, which holds Python and the workers, does not answer");
        return;
    }
    zygote_ping(self->zygote);
    loop_at(self->loop, &self->ping, now + self->period_us);
}

void runner_fork_watch_zygote(struct runner *runner, int64_t period_us, int64_t threshold_us)
{
    struct runner_fork *self = fork_of(runner);
    self->period_us = period_us;
    self->threshold_us = threshold_us;
    self->last_pong_us = loop_now_us(self->loop);
    fork_on_ping(self);
}

/* ---- the table -------------------------------------------------------------------------------------------------- */

static void fork_prepare(struct runner *runner, const struct runner_start *start)
{
    struct runner_fork *self = fork_of(runner);
    self->rank = start->rank;
    self->first_in_node = start->first_in_node;
    self->n_in_node = start->n_in_node;
    self->cores_alone = start->cores_alone;
    self->block_id = mem_text(start->block_id);
    self->pool_id = mem_text(start->pool_id);
    self->setup_codec = start->setup_codec;
    parts_add_range(&self->setup, start->setup, (struct place){0, 0}, start->setup->length);
}

/* The worker's page, mapped here; its descriptor. -1: err says why. */
static int fork_make_page(struct worker *worker, struct err *err)
{
    int fd = memfd_create("xse-worker", MFD_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, "cannot make a worker's shared page");
    void *page = MAP_FAILED;
    if (ftruncate(fd, sizeof *worker->page) == 0)
        page = mmap(NULL, sizeof *worker->page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED) {
        err_set_errno(err, "cannot map a worker's shared page");
        close(fd);
        return -1;
    }
    worker->page = page;
    return fd;
}

/* Ours and the worker's ends. 0, or -1 and err: nothing is open. */
static int fork_make_pipes(int pair[2], int err_pipe[2], struct err *err)
{
    int size = SOCKET_BUFFER;
    if (pipe2(err_pipe, O_CLOEXEC))
        return err_set_errno(err, "cannot make a worker's pipe for stderr");
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
        err_set_errno(err, "cannot make a worker's socket pair");
        close(err_pipe[0]);
        close(err_pipe[1]);
        return -1;
    }
    setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    return 0;
}

static struct zygote_worker fork_place(const struct runner_fork *self, uint32_t index)
{
    struct zygote_worker place = {
        .rank = self->rank, .worker = index, .node_index = self->first_in_node + index, .n_in_node = self->n_in_node};
    place.core_index = self->cores_alone ? index : place.node_index;
    place.n_on_cores = self->cores_alone ? self->n_workers : self->n_in_node;
    snprintf(place.block_id, sizeof place.block_id, "%s", self->block_id);
    snprintf(place.pool_id, sizeof place.pool_id, "%s", self->pool_id);
    return place;
}

static void fork_worker(struct runner_fork *self, uint32_t index)
{
    struct worker *worker = &self->workers[index];
    int pair[2], err_pipe[2];
    struct err err;
    fork_forget_process(worker);
    int page = fork_make_page(worker, &err);
    if (page < 0 || fork_make_pipes(pair, err_pipe, &err)) {
        if (page >= 0)
            close(page);
        fork_fail(self, err.text);
        return;
    }
    worker->socket = pair[0];
    worker->err = relay_new(self->loop, err_pipe[0], STDERR_FILENO);
    fork_watch(worker, EPOLL_CTL_ADD, EPOLLIN);
    struct zygote_worker place = fork_place(self, index);
    zygote_fork_worker(self->zygote, &place, &(struct zygote_fds){pair[1], page, self->out_pipe, err_pipe[1]});
    close(pair[1]);
    close(page);
    close(err_pipe[1]);
    fork_put_down(worker, &(struct down){.kind = DOWN_SETUP, .codec = self->setup_codec, .length = self->setup.length},
                  &self->setup);
}

static void fork_start_worker(struct runner *runner, uint32_t index)
{
    struct runner_fork *self = fork_of(runner);
    fork_forget_process(&self->workers[index]);
    if (self->n_forking < MOST_FORKING) {
        self->n_forking++;
        fork_worker(self, index);
    } else {
        self->workers[index].wanted = true;
        self->n_wanted++;
    }
}

static void fork_answered(struct runner_fork *self)
{
    self->n_forking--;
    for (uint32_t i = 0; self->n_wanted && i < self->n_workers; i++)
        if (self->workers[i].wanted) {
            self->workers[i].wanted = false;
            self->n_wanted--;
            self->n_forking++;
            fork_worker(self, i);
            return;
        }
}

static void fork_define(struct worker *worker, const struct function *f)
{
    if (f->slot >= worker->n_known) {
        uint32_t n = f->slot + 64;
        worker->known = mem_grow(worker->known, n, sizeof *worker->known);
        memset(worker->known + worker->n_known, 0, (n - worker->n_known) * sizeof *worker->known);
        worker->n_known = n;
    }
    if (worker->known[f->slot] == f->generation)
        return;
    worker->known[f->slot] = f->generation;
    struct down down = {.kind = DOWN_FUNCTION, .slot = f->slot, .codec = f->codec, .length = f->bytes.length};
    fork_put_down(worker, &down, &f->bytes);
}

static void fork_give(struct runner *runner, uint32_t index, const struct task *task)
{
    struct worker *worker = &fork_of(runner)->workers[index];
    fork_define(worker, task->function);
    struct down down = {
        .kind = DOWN_TASK, .slot = task->function->slot, .number = worker->n_given++, .length = task->length};
    fork_put_down(worker, &down, &task->arguments);
}

static uint32_t fork_take_back(struct runner *runner, uint32_t index)
{
    struct worker *worker = &fork_of(runner)->workers[index];
    if (!worker->page)
        return 0;
    uint64_t next = atomic_load(&worker->page->next);
    /* A task may write anything there; what cannot be is taken for "all begun". */
    while (next < worker->n_given && worker->n_given - next <= fork_outstanding(worker))
        if (atomic_compare_exchange_weak(&worker->page->next, &next, worker->n_given)) {
            worker->n_taken_back += worker->n_given - next;
            return (uint32_t)(worker->n_given - next);
        }
    return 0;
}

static void fork_retire(struct runner *runner, uint32_t index)
{
    shutdown(fork_of(runner)->workers[index].socket, SHUT_WR); /* it reads end of file */
}

static void fork_kill_worker(struct runner *runner, uint32_t index)
{
    zygote_kill(fork_of(runner)->zygote, index);
}

static void fork_flush(struct runner *runner)
{
    struct runner_fork *self = fork_of(runner);
    for (uint32_t i = 0; i < self->n_workers; i++)
        if (self->workers[i].out.length && !self->workers[i].writing)
            fork_write(&self->workers[i]);
    fork_watch_zygote(self);
}

static void fork_free(struct runner *runner)
{
    struct runner_fork *self = fork_of(runner);
    loop_forget(self->loop, &self->ping);
    loop_forget(self->loop, &self->rest);
    loop_unwatch(self->loop, self->sockets);
    loop_unwatch(self->loop, zygote_fd(self->zygote));
    for (uint32_t i = 0; i < self->n_workers; i++) {
        struct worker *worker = &self->workers[i];
        if (fork_outstanding(worker))
            zygote_kill(self->zygote, i);
        if (worker->socket >= 0) { /* an idle one reads end of file, and ends */
            fork_unwatch(worker);
            close(worker->socket);
            worker->socket = -1;
        }
    }
    zygote_end(self->zygote, END_GRACE_MS);
    for (uint32_t i = 0; i < self->n_workers; i++)
        fork_forget_process(&self->workers[i]);
    relay_free(self->out);
    close(self->out_pipe);
    close(self->sockets);
    parts_clear(&self->setup);
    mem_free(self->workers);
    mem_free(self->block_id);
    mem_free(self->pool_id);
    mem_free(self->scratch);
    mem_free(self);
}

static const struct runner_ops ops = {fork_prepare,     fork_start_worker, fork_give, fork_take_back, fork_retire,
                                      fork_kill_worker, fork_flush,        fork_free, fork_rest};

struct runner *runner_fork_new(struct loop *loop, struct zygote *zygote, uint32_t n_workers)
{
    struct runner_fork *self = mem_new(sizeof *self);
    int out_pipe[2];
    self->runner.ops = &ops;
    self->loop = loop;
    self->zygote = zygote;
    self->n_workers = n_workers;
    self->workers = mem_array(n_workers, sizeof *self->workers);
    for (uint32_t i = 0; i < n_workers; i++)
        self->workers[i] = (struct worker){.home = self, .index = i, .socket = -1};
    self->scratch = mem_new(READ_SIZE);
    self->ping = (struct loop_timer){.due = fork_on_ping, .arg = self};
    self->rest = (struct loop_timer){.due = fork_end_rest, .arg = self};
    self->sockets = epoll_create1(EPOLL_CLOEXEC);
    int refused = pipe2(out_pipe, O_CLOEXEC);
    assert(!refused && self->sockets >= 0); /* the first descriptors of a process */
    (void)refused;
    self->out_pipe = out_pipe[1];
    self->out = relay_new(loop, out_pipe[0], STDOUT_FILENO);
    loop_watch(loop, self->sockets, EPOLLIN, fork_on_sockets, self);
    loop_watch(loop, zygote_fd(zygote), EPOLLIN, fork_on_zygote, self);
    return &self->runner;
}
