/* The zygote itself: a Python that the rank has started, and that has entered C (worker/embed/embedded.h). */
#include "worker/orders.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/title.h"
#include "worker/embed/embedded.h"
#include "worker/interpreter.h"
#include "worker/worker.h"

struct child {
    pid_t pid; /* 0: none */
};

struct process_event { /* that the socket has not taken yet */
    struct process_event *next;
    size_t n;
    char bytes[]; /* the beginning of a struct zygote_event */
};

struct process {
    struct process_event *first, *last;
    int fd, signals; /* to the rank; a signalfd for SIGCHLD and SIGTERM */
    struct child *children; /* by worker */
    uint32_t n_children;
    int64_t memory_limit;
};

/* False: the socket is full. A rank that is gone makes sending fail; the next read of fd says so. */
static bool process_send(const struct process *self, const void *event, size_t n)
{
    ssize_t sent;
    do
        sent = send(self->fd, event, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    return sent >= 0 || (errno != EAGAIN && errno != ENOBUFS);
}

/* Neither side waits for the other to read: it might wait for this one. */
static void process_tell(struct process *self, const struct zygote_event *event)
{
    size_t n = offsetof(struct zygote_event, text) + strnlen(event->text, sizeof event->text - 1) + 1;
    if (!self->first && process_send(self, event, n))
        return;
    struct process_event *later = mem_new(sizeof *later + n);
    later->n = n;
    memcpy(later->bytes, event, n);
    *(self->last ? &self->last->next : &self->first) = later;
    self->last = later;
}

static void process_tell_more(struct process *self)
{
    struct process_event *event;
    while ((event = self->first) && process_send(self, event->bytes, event->n)) {
        self->first = event->next;
        if (!self->first)
            self->last = NULL;
        mem_free(event);
    }
}

static void process_die_with(pid_t parent, int signal)
{
    prctl(PR_SET_PDEATHSIG, signal);
    if (getppid() != parent) /* it died before we asked */
        _exit(1);
}

/* RLIMIT_DATA counts what a process has of its own to write into: not the files it maps, nor address space it only
 * reserves, by which RLIMIT_AS fails programs that use little. What exceeds it is refused: in Python a MemoryError. */
static void process_limit_memory(int64_t bytes)
{
    struct rlimit now;
    if (!bytes || getrlimit(RLIMIT_DATA, &now) || now.rlim_max < (rlim_t)bytes)
        return;
    setrlimit(RLIMIT_DATA, &(struct rlimit){(rlim_t)bytes, (rlim_t)bytes});
}

/* Descriptors that Python or a preloaded module has opened stay: they are the zygote's to share. */
static int process_be_worker(const struct process *self, const struct zygote_worker *worker, int *fds, pid_t parent)
{
    struct xse_place place = {.rank = worker->rank,
                              .worker = worker->worker,
                              .node_index = worker->node_index,
                              .n_in_node = worker->n_in_node,
                              .core_index = worker->core_index,
                              .n_on_cores = worker->n_on_cores,
                              .block_id = worker->block_id,
                              .pool_id = worker->pool_id};
    sigset_t none;
    setpgid(0, 0); /* its own children can be ended with it */
    process_die_with(parent, SIGKILL);
    prctl(PR_SET_CHILD_SUBREAPER, 0);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    dup2(fds[2], STDOUT_FILENO);
    dup2(fds[3], STDERR_FILENO);
    close(fds[2]);
    close(fds[3]);
    close(self->fd);
    close(self->signals);
    title_set("xse-pool: worker %u of rank %u", worker->worker, worker->rank);
    process_limit_memory(self->memory_limit);
    return worker_main(fds[0], fds[1], &place);
}

static void process_fork_worker(struct process *self, const struct order *order, int *fds)
{
    uint32_t index = order->worker.worker;
    if (index >= self->n_children) {
        self->children = mem_grow(self->children, index + 1, sizeof *self->children);
        while (self->n_children <= index)
            self->children[self->n_children++] = (struct child){0};
    }
    pid_t zygote = getpid();
    interpreter_before_fork();
    pid_t pid = fork();
    if (pid == 0) {
        interpreter_after_fork_in_child();
        _exit(process_be_worker(self, &order->worker, fds, zygote));
    }
    interpreter_after_fork_in_parent();
    struct zygote_event event = {.kind = pid < 0 ? ZYGOTE_NOT_FORKED : ZYGOTE_FORKED, .worker = index, .pid = pid};
    if (pid < 0)
        snprintf(event.text, sizeof event.text, "cannot fork a worker: %s", strerror(errno));
    else {
        setpgid(pid, pid); /* as the child does: whoever comes first */
        self->children[index].pid = pid;
    }
    process_tell(self, &event);
}

static void process_reap(struct process *self)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (uint32_t i = 0; i < self->n_children; i++)
            if (self->children[i].pid == pid) {
                kill(-pid, SIGKILL); /* what it has left in its group */
                self->children[i].pid = 0;
                process_tell(self,
                             &(struct zygote_event){.kind = ZYGOTE_GONE, .worker = i, .pid = pid, .status = status});
            }
}

/* Children of ours, workers or what workers have left to us; the kernel lists them. */
static void process_kill_children(void)
{
    char path[64];
    int pid;
    snprintf(path, sizeof path, "/proc/self/task/%d/children", getpid());
    FILE *f = fopen(path, "re");
    while (f && fscanf(f, "%d", &pid) == 1)
        kill(pid, SIGKILL);
    if (f)
        fclose(f);
}

static void process_end_all(struct process *self, int grace_ms)
{
    int64_t until = order_now_ms() + grace_ms;
    struct pollfd deaths = {.fd = self->signals, .events = POLLIN};
    struct signalfd_siginfo info;
    for (pid_t buried; (buried = waitpid(-1, NULL, WNOHANG)) >= 0;) { /* -1: no child is left */
        if (buried)
            continue;
        int64_t left = until - order_now_ms();
        if (left <= 0) {
            for (uint32_t i = 0; i < self->n_children; i++)
                if (self->children[i].pid)
                    kill(-self->children[i].pid, SIGKILL);
            process_kill_children();
            left = 20; /* whoever is orphaned by that comes to us next */
        }
        if (poll(&deaths, 1, (int)left) > 0 && read(self->signals, &info, sizeof info) < 0)
            continue;
    }
    _exit(0);
}

/* The descriptors that came with an order: how many. All, or none is kept. */
static int process_take_fds(struct msghdr *m, int *fds)
{
    struct cmsghdr *c = CMSG_FIRSTHDR(m);
    if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
        return 0;
    int n = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    n = n < ORDER_N_FDS ? n : ORDER_N_FDS;
    memcpy(fds, CMSG_DATA(c), (size_t)n * sizeof(int));
    if (n == ORDER_N_FDS && !(m->msg_flags & MSG_CTRUNC))
        return n;
    for (int i = 0; i < n; i++)
        close(fds[i]);
    return 0;
}

static void process_refuse(struct process *self, uint32_t worker)
{
    struct zygote_event event = {.kind = ZYGOTE_NOT_FORKED, .worker = worker};
    struct rlimit limit = {0};
    getrlimit(RLIMIT_NOFILE, &limit);
    snprintf(event.text, sizeof event.text,
             "the zygote has no descriptors left for a worker: the limit is %llu (ulimit -n)",
             (unsigned long long)limit.rlim_cur);
    process_tell(self, &event);
}

/* An order with its descriptors, if it has any. False: the rank is gone. */
static bool process_take_order(struct process *self, struct order *order)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(ORDER_N_FDS * sizeof(int))];
    } control;
    int fds[ORDER_N_FDS];
    struct iovec v = {order, sizeof *order};
    struct msghdr m = {
        .msg_iov = &v, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    ssize_t got = recvmsg(self->fd, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return true;
    if (got != sizeof *order)
        return false;
    int n = process_take_fds(&m, fds);
    if (order->kind == ORDER_FORK && n)
        process_fork_worker(self, order, fds);
    else if (order->kind == ORDER_FORK)
        process_refuse(self, order->worker.worker);
    else if (order->kind == ORDER_KILL && order->worker.worker < self->n_children) {
        pid_t pid = self->children[order->worker.worker].pid;
        if (pid)
            kill(-pid, SIGKILL);
    } else if (order->kind == ORDER_PING)
        process_tell(self, &(struct zygote_event){.kind = ZYGOTE_PONG});
    else if (order->kind == ORDER_END)
        process_end_all(self, order->grace_ms);
    for (int i = 0; i < n; i++)
        close(fds[i]);
    return true;
}

int xse_zygote(int rank, int64_t memory_limit, const char *version, const char *error)
{
    struct process self = {.fd = ORDER_FD, .memory_limit = memory_limit};
    struct zygote_event event = {.kind = *error ? ZYGOTE_FAILED : ZYGOTE_STANDS};
    struct order order;
    sigset_t heard;
    fcntl(ORDER_FD, F_SETFD, FD_CLOEXEC);
    mem_keep();
    title_find();
    title_set("xse-pool: zygote");
    snprintf(event.text, sizeof event.text, "%s", *error ? error : version);
    process_tell(&self, &event);
    if (*error)
        _exit(1);
    /* From here on it is the end of the socket that tells, and all children are ended before the zygote. */
    prctl(PR_SET_PDEATHSIG, 0);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    sigemptyset(&heard);
    sigaddset(&heard, SIGCHLD);
    sigaddset(&heard, SIGTERM);
    sigprocmask(SIG_SETMASK, &heard, NULL);
    self.signals = signalfd(-1, &heard, SFD_CLOEXEC | SFD_NONBLOCK);
    struct pollfd any[2] = {{.fd = self.fd, .events = POLLIN}, {.fd = self.signals, .events = POLLIN}};
    for (;;) {
        struct signalfd_siginfo info;
        any[0].events = POLLIN | (self.first ? POLLOUT : 0);
        if (poll(any, 2, -1) < 0)
            continue;
        if (any[1].revents)
            while (read(self.signals, &info, sizeof info) > 0)
                if (info.ssi_signo == SIGTERM)
                    kill(rank, SIGTERM); /* whoever ends a worker's parent means the pool, which ends in order */
        process_reap(&self);
        process_tell_more(&self);
        if (any[0].revents & ~POLLOUT && !process_take_order(&self, &order))
            process_end_all(&self, 0);
    }
}
