/* zygote: orders and events pass without either side waiting for the other, and what cannot be forked is told. There is no
 * Python here: this program takes its place, and a worker waits to be killed. */
#include "worker/zygote.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "check.h"
#include "worker/embed/embedded.h"
#include "worker/interpreter.h"
#include "worker/worker.h"

#define N 600u

static atomic_uint *n_closed; /* in this process and in its children, until they become Python */
static bool without_close_range; /* as on a kernel before 5.9 */

int __real_close(int fd);
long __real_syscall(long number, ...);

int __wrap_close(int fd)
{
    if (n_closed)
        atomic_fetch_add(n_closed, 1);
    return __real_close(fd);
}

long __wrap_syscall(long number, unsigned a, unsigned b, unsigned c)
{
    if (without_close_range && number == SYS_close_range) {
        errno = ENOSYS;
        return -1;
    }
    return __real_syscall(number, a, b, c);
}

void interpreter_before_fork(void)
{
}

void interpreter_after_fork_in_parent(void)
{
}

void interpreter_after_fork_in_child(void)
{
}

int worker_main(int socket, int page, const struct xse_place *place)
{
    (void)socket;
    (void)page;
    (void)place;
    for (;;)
        pause();
}

/* ---- one zygote ------------------------------------------------------------------------------------------------- */

static unsigned n_of[ZYGOTE_PONG + 1];
static char text[sizeof((struct zygote_event *)NULL)->text];

static struct zygote *start(void)
{
    struct err err;
    struct zygote_settings settings = {.python = "/proc/self/exe",
                                       .python_flags = "",
                                       .preload = "",
                                       .path = "",
                                       .working_dir = "",
                                       .affinity = "",
                                       .accelerators = "",
                                       .environment = "",
                                       .launcher_variables = ""};
    memset(n_of, 0, sizeof n_of);
    return zygote_start(&settings, &err);
}

/* Events until there are so many of this kind. */
static void hear(struct zygote *zygote, enum zygote_event_kind kind, unsigned n)
{
    static struct zygote_event event;
    int got = 0;
    while (n_of[kind] < n && got >= 0) {
        struct pollfd fd = {.fd = zygote_fd(zygote), .events = POLLIN | (zygote_is_writing(zygote) ? POLLOUT : 0)};
        poll(&fd, 1, -1);
        while ((got = zygote_next(zygote, &event)) > 0) {
            n_of[event.kind]++;
            snprintf(text, sizeof text, "%s", event.text);
        }
    }
}

static void fork_worker(struct zygote *zygote, uint32_t i)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    zygote_fork_worker(zygote, &(struct zygote_worker){.worker = i}, &(struct zygote_fds){fd, fd, 1, 2});
    close(fd);
}

/* ---- promises --------------------------------------------------------------------------------------------------- */

/* Nobody reads until all is said: more than the sockets hold, both ways. */
static void all_that_is_said_at_once_arrives(void)
{
    struct zygote *zygote = start();
    for (uint32_t i = 0; i < N; i++)
        fork_worker(zygote, i);
    hear(zygote, ZYGOTE_FORKED, N);
    for (uint32_t i = 0; i < N; i++) {
        zygote_ping(zygote);
        zygote_kill(zygote, i);
    }
    hear(zygote, ZYGOTE_GONE, N);
    hear(zygote, ZYGOTE_PONG, N);
    CHECK_EQUAL(n_of[ZYGOTE_FORKED], N);
    CHECK_EQUAL(n_of[ZYGOTE_NOT_FORKED], 0);
    zygote_end(zygote, 0);
}

static void a_worker_whose_descriptors_do_not_arrive_is_told(void)
{
    struct rlimit limit, few;
    getrlimit(RLIMIT_NOFILE, &limit);
    few = (struct rlimit){8, limit.rlim_max};
    setrlimit(RLIMIT_NOFILE, &few);
    struct zygote *zygote = start();
    setrlimit(RLIMIT_NOFILE, &limit);
    for (uint32_t i = 0; i < 3; i++) /* stdin to stderr, the socket, the signals: three are left of eight */
        fork_worker(zygote, i);
    hear(zygote, ZYGOTE_NOT_FORKED, 3);
    CHECK(strstr(text, "limit is 8"), "%s", text);
    zygote_ping(zygote); /* and it goes on */
    hear(zygote, ZYGOTE_PONG, 1);
    zygote_end(zygote, 0);
}

static void a_zygote_closes_only_descriptors_that_are_open(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max; /* a thousand million, in many a container */
    setrlimit(RLIMIT_NOFILE, &limit);
    without_close_range = true;
    atomic_store(n_closed, 0);
    struct zygote *zygote = start();
    hear(zygote, ZYGOTE_STANDS, 1);
    CHECK(atomic_load(n_closed) < 100, "%u calls of close", atomic_load(n_closed));
    zygote_end(zygote, 0);
    without_close_range = false;
}

int main(int argc, char **argv)
{
    if (argc > 5 && strcmp(argv[1], "-c") == 0) /* python -c CODE MODULE RANK LIMIT */
        return xse_zygote(atoi(argv[4]), atoi(argv[5]), "3.11.7", "");
    n_closed = mmap(NULL, sizeof *n_closed, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    all_that_is_said_at_once_arrives();
    a_worker_whose_descriptors_do_not_arrive_is_told();
    a_zygote_closes_only_descriptors_that_are_open();
    return check_end("zygote");
}
