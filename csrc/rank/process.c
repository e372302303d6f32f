#include "rank/process.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/mem.h"

#define MOST_CPUS (1 << 20)
#define MOST_DESCRIPTORS (1u << 20) /* some libraries look at each that there might be */

struct process_cores process_cores_read(void)
{
    struct process_cores cores = {0};
    for (int n_cpus = CPU_SETSIZE; n_cpus <= MOST_CPUS; n_cpus *= 2) {
        cores.n_bytes = CPU_ALLOC_SIZE(n_cpus);
        cores.mask = mem_new(cores.n_bytes);
        if (sched_getaffinity(0, cores.n_bytes, cores.mask) == 0) {
            cores.n = (uint32_t)CPU_COUNT_S(cores.n_bytes, (cpu_set_t *)cores.mask);
            return cores;
        }
        int error = errno;
        mem_free(cores.mask);
        if (error != EINVAL) /* the kernel's mask is longer than ours */
            break;
    }
    cores.n_bytes = CPU_ALLOC_SIZE(CPU_SETSIZE);
    cores.mask = mem_new(cores.n_bytes);
    CPU_SET_S(0, cores.n_bytes, (cpu_set_t *)cores.mask);
    cores.n = 1;
    return cores;
}

void process_cores_free(struct process_cores *cores)
{
    mem_free(cores->mask);
    *cores = (struct process_cores){0};
}

void process_raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return;
    rlim_t most = limit.rlim_max < MOST_DESCRIPTORS ? limit.rlim_max : MOST_DESCRIPTORS;
    if (limit.rlim_cur >= most)
        return;
    limit.rlim_cur = most;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* ---- signals ---------------------------------------------------------------------------------------------------- */

static atomic_int process_eventfd = -1;

static void process_on_signal(int signal)
{
    static const char text[] = "xse-pool: it was told to end by a signal while MPI was starting\n";
    const uint64_t one = 1;
    int error = errno, fd = atomic_load(&process_eventfd);
    if (fd < 0) {
        if (write(STDERR_FILENO, text, sizeof text - 1) < 0)
            _exit(128 + signal);
        _exit(128 + signal);
    }
    if (write(fd, &one, sizeof one) < 0) /* full: it is readable anyhow */
        errno = error;
    errno = error;
}

void process_catch_signals(void)
{
    struct sigaction action = {.sa_handler = process_on_signal, .sa_flags = SA_RESTART};
    sigset_t both;
    signal(SIGPIPE, SIG_IGN);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigemptyset(&both);
    sigaddset(&both, SIGTERM);
    sigaddset(&both, SIGINT);
    sigprocmask(SIG_UNBLOCK, &both, NULL);
}

int process_ending_fd(struct err *err)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return err_set_errno(err, "cannot make a descriptor for signals");
    atomic_store(&process_eventfd, fd);
    process_catch_signals(); /* again: an MPI may have handlers of its own */
    return fd;
}
