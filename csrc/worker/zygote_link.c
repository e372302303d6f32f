#include "worker/orders.h"

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
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"

#define UNLISTED_DESCRIPTORS 65536
#define END_TIMEOUT_MS 2000 /* beyond the grace: then the zygote itself is killed */

struct zygote_order { /* that the socket has not taken yet */
    struct zygote_order *next;
    struct order order;
    bool has_fds;
    int fds[ORDER_N_FDS]; /* copies of ours */
};

struct zygote_refusal { /* a worker that cannot be forked, which the zygote does not know of */
    struct zygote_refusal *next;
    uint32_t worker;
    char text[200];
};

struct zygote {
    pid_t pid;
    int fd;
    bool stands;
    char *python;
    struct zygote_order *first, *last;
    struct zygote_refusal *refusals;
};

/* ---- in the child, until it becomes Python ---------------------------------------------------------------------- */

/* Those that are open, as the kernel lists them: as many as there might be can be a thousand million. */
static int zygote_close_listed(int first)
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

/* Close everything but stdin, stdout, stderr, and fd, which becomes ORDER_FD and outlives the exec: launchers leave
 * descriptors open in ranks. */
static void zygote_close_the_rest(int fd)
{
    if (fd != ORDER_FD)
        dup2(fd, ORDER_FD);
    fcntl(ORDER_FD, F_SETFD, 0);
#ifdef SYS_close_range
    if (syscall(SYS_close_range, ORDER_FD + 1u, ~0u, 0u) == 0)
        return;
#endif
    if (zygote_close_listed(ORDER_FD + 1)) /* there is no /proc */
        for (int i = ORDER_FD + 1; i < UNLISTED_DESCRIPTORS; i++)
            close(i);
}

/* What the rank and its libraries ignore or catch is undone. A signal that ends the block must not end its Python before
 * xse.worker.entry has set its own handlers: it is blocked until then. */
static void zygote_reset_signals(void)
{
    sigset_t ending;
    for (int i = 1; i < NSIG; i++)
        signal(i, SIG_DFL);
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGINT);
    sigaddset(&ending, SIGHUP);
    sigprocmask(SIG_SETMASK, &ending, NULL);
}

/* It lies beside this executable, in the package xse. */
static void zygote_find_module(char *path, size_t size)
{
    ssize_t n = readlink("/proc/self/exe", path, size - 1);
    path[n > 0 ? n : 0] = 0;
    char *slash = strrchr(path, '/');
    size_t at = slash ? (size_t)(slash + 1 - path) : 0;
    snprintf(path + at, size - at, "_zygote.abi3.so");
}

/* The words of the flags, which spaces part; in a word %XX is a byte. argv has room for them behind the first n; returns
 * how many it has then. */
static size_t zygote_add_flags(char **argv, size_t n, const char *flags)
{
    char *rest = NULL, *text = mem_text(flags);
    for (char *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        char *to = word;
        for (const char *from = word; *from; to++) {
            char hex[3] = {0};
            if (*from == '%' && from[1] && from[2]) {
                memcpy(hex, from + 1, 2);
                *to = (char)strtol(hex, NULL, 16);
                from += 3;
            } else
                *to = *from++;
        }
        *to = 0;
        argv[n++] = word;
    }
    return n; /* the text stays: the words lie in it, until exec */
}

/* The user's interpreter, started as it is meant to be started: it finds its own library, prefix and site-packages. The
 * code leaves no name in __main__, and takes the working directory, which -c puts there, off sys.path. */
static void zygote_become_python(int fd, const struct zygote_settings *settings, pid_t rank)
{
    char module[4096], parent[16], limit[24];
    struct zygote_event event = {.kind = ZYGOTE_FAILED};
    zygote_find_module(module, sizeof module);
    snprintf(parent, sizeof parent, "%d", rank);
    snprintf(limit, sizeof limit, "%lld", (long long)settings->memory_limit);
    const char *const args[] = {"-c",
                                "[p.pop(0) for p in [__import__('sys').path] if p[:1] == ['']]\n"
                                "__import__('xse.worker.entry', fromlist=['main']).main()",
                                module,
                                parent,
                                limit,
                                settings->preload,
                                settings->path,
                                settings->working_dir,
                                settings->affinity,
                                settings->accelerators,
                                settings->environment,
                                settings->launcher_variables,
                                "xse-pool: zygote", /* for whoever looks at the list of processes meanwhile */
                                NULL};
    char **argv = mem_array(strlen(settings->python_flags) + 1 + sizeof args / sizeof args[0], sizeof *argv);
    argv[0] = mem_text(settings->python);
    size_t n = zygote_add_flags(argv, 1, settings->python_flags);
    memcpy(argv + n, args, sizeof args);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* while it may be busy in an import, and has no child */
    if (getppid() != rank) /* it died before we asked */
        _exit(1);
    setpgid(0, 0); /* out of reach of signals that mpiexec sends to the rank's group */
    zygote_close_the_rest(fd);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    dup2(null, STDIN_FILENO);
    zygote_reset_signals();
    execv(settings->python, argv);
    snprintf(event.text, sizeof event.text, "cannot start Python (%s): %s", settings->python, strerror(errno));
    send(ORDER_FD, &event, sizeof event, MSG_NOSIGNAL);
    _exit(1);
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
        zygote_become_python(pair[1], settings, rank);
    }
    close(pair[1]);
    struct zygote *zygote = mem_new(sizeof *zygote);
    *zygote = (struct zygote){.pid = pid, .fd = pair[0], .python = mem_text(settings->python)};
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
        char bytes[CMSG_SPACE(ORDER_N_FDS * sizeof(int))];
    } control = {0};
    struct iovec v = {(void *)(uintptr_t)order, sizeof *order};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
    if (fds) {
        m.msg_control = control.bytes;
        m.msg_controllen = sizeof control.bytes;
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(ORDER_N_FDS * sizeof(int));
        memcpy(CMSG_DATA(c), fds, ORDER_N_FDS * sizeof(int));
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
    for (int i = 0; order->has_fds && i < ORDER_N_FDS; i++)
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
    for (int i = 0; fds && i < ORDER_N_FDS; i++) {
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
        zygote->stands |= event->kind == ZYGOTE_STANDS;
        return 1;
    }
    return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

void zygote_explain_end(const struct zygote *zygote, struct err *err)
{
    if (zygote->stands)
        err_set(err, "the zygote, which holds Python and the workers, has died");
    else
        err_set(err,
                "Python (%s) ended before it could import xse.worker; is xse installed in that environment? See stderr "
                "for what Python says",
                zygote->python);
}

void zygote_fork_worker(struct zygote *zygote, const struct zygote_worker *worker, const struct zygote_fds *fds)
{
    const int all[ORDER_N_FDS] = {fds->socket, fds->page, fds->out, fds->err};
    zygote_send(zygote, &(struct order){.kind = ORDER_FORK, .worker = *worker}, all);
}

void zygote_kill(struct zygote *zygote, uint32_t worker)
{
    zygote_send(zygote, &(struct order){.kind = ORDER_KILL, .worker.worker = worker}, NULL);
}

void zygote_ping(struct zygote *zygote)
{
    zygote_send(zygote, &(struct order){.kind = ORDER_PING}, NULL);
}

void zygote_end(struct zygote *zygote, int grace_ms)
{
    struct zygote_event event;
    struct pollfd end = {.fd = zygote->fd, .events = POLLIN};
    int64_t until = order_now_ms() + grace_ms + END_TIMEOUT_MS;
    zygote_send(zygote, &(struct order){.kind = ORDER_END, .grace_ms = grace_ms}, NULL);
    for (int64_t left; (left = until - order_now_ms()) > 0;) {
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
    mem_free(zygote->python);
    mem_free(zygote);
}
