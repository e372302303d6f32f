#include "worker/zygote.h"

#include <dirent.h>
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
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/title.h"
#include "worker/embed/embedded.h"
#include "worker/interpreter.h"
#include "worker/worker.h"

#define N_FDS 4
#define UNLISTED_DESCRIPTORS 65536
#define END_TIMEOUT_MS 2000 /* beyond the grace: then the zygote itself is killed */

enum order_kind { FORK = 1, KILL, PING, END };

struct order {
    enum order_kind kind;
    struct zygote_worker worker; /* FORK: all of it; KILL: worker */
    int grace_ms; /* END */
};

struct zygote_order { /* that the socket has not taken yet */
    struct zygote_order *next;
    struct order order;
    bool has_fds;
    int fds[N_FDS]; /* copies of ours */
};

struct zygote_refusal { /* a worker that cannot be forked, which the zygote does not know of */
    struct zygote_refusal *next;
    uint32_t worker;
    char text[200];
};

struct zygote {
    pid_t pid;
    int fd;
    struct zygote_order *first, *last;
    struct zygote_refusal *refusals;
};

/* ---- in the zygote ---------------------------------------------------------------------------------------------- */

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

static void process_do_nothing(int signal)
{
    (void)signal;
}

/* What libraries have done to signals before main is undone (UCX catches SIGSEGV); what ends the pool reaches its
 * processes too, and must not end a worker before its rank has said so: a handler, not SIG_IGN, which a task's own
 * subprocesses would inherit. SIGPIPE is ignored as in every Python. */
static void process_reset_signals(void)
{
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS, SIGALRM};
    static const int ending[] = {SIGTERM, SIGINT, SIGHUP};
    sigset_t none;
    for (size_t i = 0; i < sizeof fatal / sizeof fatal[0]; i++)
        signal(fatal[i], SIG_DFL);
    for (size_t i = 0; i < sizeof ending / sizeof ending[0]; i++)
        sigaction(ending[i], &(struct sigaction){.sa_handler = process_do_nothing, .sa_flags = SA_RESTART}, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Those that are open, as the kernel lists them: as many as there might be can be a thousand million. */
static int process_close_listed(int first)
{
    DIR *all = opendir("/proc/self/fd");
    struct dirent *entry;
    if (!all)
        return -1;
    while ((entry = readdir(all))) {
        int fd = atoi(entry->d_name);
        if (fd >= first && fd != dirfd(all))
            close(fd);
    }
    return closedir(all);
}

/* Close everything but stdin, stdout, stderr, and fd, which becomes 3: launchers leave descriptors open in ranks. */
static int process_close_the_rest(int fd)
{
    if (fd != 3)
        dup3(fd, 3, O_CLOEXEC);
#ifdef SYS_close_range
    if (syscall(SYS_close_range, 4u, ~0u, 0u) == 0)
        return 3;
#endif
    if (process_close_listed(4)) /* there is no /proc */
        for (int i = 4; i < UNLISTED_DESCRIPTORS; i++)
            close(i);
    return 3;
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

static int64_t zygote_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
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
    int64_t until = zygote_now_ms() + grace_ms;
    struct pollfd deaths = {.fd = self->signals, .events = POLLIN};
    struct signalfd_siginfo info;
    for (pid_t buried; (buried = waitpid(-1, NULL, WNOHANG)) >= 0;) { /* -1: no child is left */
        if (buried)
            continue;
        int64_t left = until - zygote_now_ms();
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
    n = n < N_FDS ? n : N_FDS;
    memcpy(fds, CMSG_DATA(c), (size_t)n * sizeof(int));
    if (n == N_FDS && !(m->msg_flags & MSG_CTRUNC))
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
        char bytes[CMSG_SPACE(N_FDS * sizeof(int))];
    } control;
    int fds[N_FDS];
    struct iovec v = {order, sizeof *order};
    struct msghdr m = {
        .msg_iov = &v, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    ssize_t got = recvmsg(self->fd, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return true;
    if (got != sizeof *order)
        return false;
    int n = process_take_fds(&m, fds);
    if (order->kind == FORK && n)
        process_fork_worker(self, order, fds);
    else if (order->kind == FORK)
        process_refuse(self, order->worker.worker);
    else if (order->kind == KILL && order->worker.worker < self->n_children) {
        pid_t pid = self->children[order->worker.worker].pid;
        if (pid)
            kill(-pid, SIGKILL);
    } else if (order->kind == PING)
        process_tell(self, &(struct zygote_event){.kind = ZYGOTE_PONG});
    else if (order->kind == END)
        process_end_all(self, order->grace_ms);
    for (int i = 0; i < n; i++)
        close(fds[i]);
    return true;
}

static void process_start_python(struct process *self, const struct zygote_settings *settings)
{
    struct err err;
    struct zygote_event event = {.kind = ZYGOTE_FAILED};
    struct xse_preparation preparation = {.preload = settings->preload,
                                          .path = settings->path,
                                          .working_dir = settings->working_dir,
                                          .affinity = settings->affinity,
                                          .accelerators = settings->accelerators,
                                          .environment = settings->environment,
                                          .launcher_variables = settings->launcher_variables};
    if (interpreter_start(settings->python, &err))
        snprintf(event.text, sizeof event.text, "%s", err.text);
    else if (!xse_prepare(&preparation, event.text, sizeof event.text))
        snprintf(event.text, sizeof event.text,
                 "Python (%s) cannot import xse.worker; is xse installed in that environment? See stderr for the "
                 "traceback",
                 settings->python);
    if (*event.text) {
        process_tell(self, &event);
        _exit(1);
    }
    event.kind = ZYGOTE_STANDS;
    snprintf(event.text, sizeof event.text, "%s", interpreter_version());
    process_tell(self, &event);
}

static void process_main(int fd, const struct zygote_settings *settings, pid_t rank)
{
    struct process self = {.memory_limit = settings->memory_limit};
    struct order order;
    sigset_t heard;
    /* The texts lie in argv, which the title overwrites. */
    const struct zygote_settings copy = {.python = mem_text(settings->python),
                                         .preload = mem_text(settings->preload),
                                         .path = mem_text(settings->path),
                                         .working_dir = mem_text(settings->working_dir),
                                         .affinity = mem_text(settings->affinity),
                                         .accelerators = mem_text(settings->accelerators),
                                         .environment = mem_text(settings->environment),
                                         .launcher_variables = mem_text(settings->launcher_variables)};
    process_reset_signals();
    process_die_with(rank, SIGKILL); /* while it may be busy in an import, and has no child */
    setpgid(0, 0); /* out of reach of signals that mpiexec sends to the rank's group */
    fd = process_close_the_rest(fd);
    int null = open("/dev/null", O_RDONLY);
    dup2(null, STDIN_FILENO);
    close(null);
    title_set("xse-pool: zygote");
    self.fd = fd;
    process_start_python(&self, &copy);
    /* From here on it is the end of fd that tells, and all children are ended before the zygote. */
    prctl(PR_SET_PDEATHSIG, 0);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    sigemptyset(&heard);
    sigaddset(&heard, SIGCHLD);
    sigaddset(&heard, SIGTERM);
    sigprocmask(SIG_BLOCK, &heard, NULL);
    self.signals = signalfd(-1, &heard, SFD_CLOEXEC | SFD_NONBLOCK);
    struct pollfd any[2] = {{.fd = fd, .events = POLLIN}, {.fd = self.signals, .events = POLLIN}};
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

/* ---- in the rank ------------------------------------------------------------------------------------------------ */

struct zygote *zygote_start(const struct zygote_settings *settings, struct err *err)
{
    int pair[2];
    pid_t rank = getpid();
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) {
        err_set_errno(err, "cannot make a socket pair");
        return NULL;
    }
    pid_t pid = fork();
    if (pid < 0) {
        err_set_errno(err, "cannot fork");
        close(pair[0]);
        close(pair[1]);
        return NULL;
    }
    if (pid == 0) {
        close(pair[0]);
        process_main(pair[1], settings, rank);
        _exit(1);
    }
    close(pair[1]);
    struct zygote *zygote = mem_new(sizeof *zygote);
    *zygote = (struct zygote){.pid = pid, .fd = pair[0]};
    return zygote;
}

int zygote_fd(const struct zygote *zygote)
{
    return zygote->fd;
}

/* 0: it has gone. Otherwise errno's number: EAGAIN when the socket is full. */
static int zygote_try(const struct zygote *zygote, const struct order *order, const int *fds)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(N_FDS * sizeof(int))];
    } control = {0};
    struct iovec v = {(void *)(uintptr_t)order, sizeof *order};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
    if (fds) {
        m.msg_control = control.bytes;
        m.msg_controllen = sizeof control.bytes;
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(N_FDS * sizeof(int));
        memcpy(CMSG_DATA(c), fds, N_FDS * sizeof(int));
    }
    ssize_t sent;
    do
        sent = sendmsg(zygote->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    if (sent >= 0)
        return 0;
    return errno == ENOBUFS ? EAGAIN : errno;
}

static void zygote_refuse(struct zygote *zygote, uint32_t worker, int error)
{
    struct zygote_refusal *refusal = mem_new(sizeof *refusal);
    *refusal = (struct zygote_refusal){.next = zygote->refusals, .worker = worker};
    snprintf(refusal->text, sizeof refusal->text, "cannot hand a worker its descriptors: %s", strerror(error));
    zygote->refusals = refusal;
}

static void zygote_forget(struct zygote_order *order)
{
    for (int i = 0; order->has_fds && i < N_FDS; i++)
        if (order->fds[i] >= 0)
            close(order->fds[i]);
    mem_free(order);
}

static void zygote_send_later(struct zygote *zygote, const struct order *order, const int *fds)
{
    struct zygote_order *later = mem_new(sizeof *later);
    later->order = *order;
    later->has_fds = fds != NULL;
    bool copied = true;
    for (int i = 0; fds && i < N_FDS; i++) {
        later->fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
        copied &= later->fds[i] >= 0;
    }
    if (!copied) {
        zygote_refuse(zygote, order->worker.worker, errno);
        zygote_forget(later);
        return;
    }
    *(zygote->last ? &zygote->last->next : &zygote->first) = later;
    zygote->last = later;
}

/* What cannot be sent was sent to a zygote that is dead; zygote_next says so. */
static void zygote_send(struct zygote *zygote, const struct order *order, const int *fds)
{
    int error = zygote->first ? EAGAIN : zygote_try(zygote, order, fds);
    if (error == EAGAIN)
        zygote_send_later(zygote, order, fds);
    else if (error == ETOOMANYREFS)
        zygote_refuse(zygote, order->worker.worker, error);
}

static void zygote_send_more(struct zygote *zygote)
{
    struct zygote_order *order;
    while ((order = zygote->first)) {
        int error = zygote_try(zygote, &order->order, order->has_fds ? order->fds : NULL);
        if (error == EAGAIN)
            return;
        if (error == ETOOMANYREFS)
            zygote_refuse(zygote, order->order.worker.worker, error);
        zygote->first = order->next;
        if (!zygote->first)
            zygote->last = NULL;
        zygote_forget(order);
    }
}

bool zygote_is_writing(const struct zygote *zygote)
{
    return zygote->first || zygote->refusals;
}

int zygote_next(struct zygote *zygote, struct zygote_event *event)
{
    zygote_send_more(zygote);
    struct zygote_refusal *refusal = zygote->refusals;
    if (refusal) {
        zygote->refusals = refusal->next;
        event->kind = ZYGOTE_NOT_FORKED;
        event->worker = refusal->worker;
        snprintf(event->text, sizeof event->text, "%s", refusal->text);
        mem_free(refusal);
        return 1;
    }
    ssize_t n = recv(zygote->fd, event, sizeof *event, MSG_DONTWAIT);
    if (n > (ssize_t)offsetof(struct zygote_event, text)) {
        event->text[n - (ssize_t)offsetof(struct zygote_event, text) - 1] = 0;
        return 1;
    }
    return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

void zygote_fork_worker(struct zygote *zygote, const struct zygote_worker *worker, const struct zygote_fds *fds)
{
    const int all[N_FDS] = {fds->socket, fds->page, fds->out, fds->err};
    zygote_send(zygote, &(struct order){.kind = FORK, .worker = *worker}, all);
}

void zygote_kill(struct zygote *zygote, uint32_t worker)
{
    zygote_send(zygote, &(struct order){.kind = KILL, .worker.worker = worker}, NULL);
}

void zygote_ping(struct zygote *zygote)
{
    zygote_send(zygote, &(struct order){.kind = PING}, NULL);
}

void zygote_end(struct zygote *zygote, int grace_ms)
{
    struct zygote_event event;
    struct pollfd end = {.fd = zygote->fd, .events = POLLIN};
    int64_t until = zygote_now_ms() + grace_ms + END_TIMEOUT_MS;
    zygote_send(zygote, &(struct order){.kind = END, .grace_ms = grace_ms}, NULL);
    for (int64_t left; (left = until - zygote_now_ms()) > 0;) {
        end.events = POLLIN | (zygote_is_writing(zygote) ? POLLOUT : 0);
        if (poll(&end, 1, (int)left) > 0 && zygote_next(zygote, &event) < 0)
            break;
    }
    kill(zygote->pid, SIGKILL); /* it is a zombie by now, or stopped */
    waitpid(zygote->pid, NULL, 0);
    close(zygote->fd);
    for (struct zygote_order *order; (order = zygote->first);) {
        zygote->first = order->next;
        zygote_forget(order);
    }
    for (struct zygote_refusal *refusal; (refusal = zygote->refusals);) {
        zygote->refusals = refusal->next;
        mem_free(refusal);
    }
    mem_free(zygote);
}
