/* process: a rank's cores on a large node, its descriptors, and the signals that end it. */
#include "rank/process.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static size_t kernel_bytes; /* of its mask, as if it were so; 0: ask the real one */

int __real_sched_getaffinity(pid_t pid, size_t n, cpu_set_t *mask);

int __wrap_sched_getaffinity(pid_t pid, size_t n, cpu_set_t *mask)
{
    if (!kernel_bytes)
        return __real_sched_getaffinity(pid, n, mask);
    if (n < kernel_bytes) {
        errno = EINVAL;
        return -1;
    }
    memset(mask, 0, n);
    memset(mask, 0xff, kernel_bytes);
    return 0;
}

static void all_cores_of_a_large_node_are_seen(void)
{
    for (kernel_bytes = 128; kernel_bytes <= 1024; kernel_bytes *= 2) {
        struct process_cores cores = process_cores_read();
        CHECK_EQUAL(cores.n, 8 * kernel_bytes);
        process_cores_free(&cores);
    }
    kernel_bytes = 0;
}

static void here_are_as_many_cores_as_the_kernel_says(void)
{
    cpu_set_t mask;
    CPU_ZERO(&mask);
    struct process_cores cores = process_cores_read();
    if (sched_getaffinity(0, sizeof mask, &mask) == 0)
        CHECK_EQUAL(cores.n, CPU_COUNT(&mask));
    CHECK(cores.n > 0, "no core");
    process_cores_free(&cores);
}

static void descriptors_are_raised_as_far_as_they_may(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    rlim_t hard = limit.rlim_max < 4096 ? limit.rlim_max : 4096;
    limit = (struct rlimit){hard / 2, hard};
    CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &limit), 0);
    process_raise_descriptors();
    getrlimit(RLIMIT_NOFILE, &limit);
    CHECK_EQUAL(limit.rlim_cur, hard);
    CHECK_EQUAL(limit.rlim_max, hard);
}

/* The exit code of a child that sends itself the signal while MPI starts, or after. -1: it was not ended. */
static int end_of_a_child(int which, bool started)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        struct err err;
        struct pollfd ending = {.events = POLLIN};
        if (!freopen("/dev/null", "w", stderr))
            _exit(2);
        process_catch_signals();
        if (started)
            ending.fd = process_ending_fd(&err);
        raise(which);
        _exit(started && poll(&ending, 1, 0) == 1 ? 77 : 1);
    }
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void a_signal_ends_a_process_whose_mpi_hangs_and_is_readable_after(void)
{
    const int both[] = {SIGTERM, SIGINT};
    for (int i = 0; i < 2; i++) {
        CHECK_EQUAL(end_of_a_child(both[i], false), 128 + both[i]);
        CHECK_EQUAL(end_of_a_child(both[i], true), 77);
    }
}

int main(void)
{
    all_cores_of_a_large_node_are_seen();
    here_are_as_many_cores_as_the_kernel_says();
    a_signal_ends_a_process_whose_mpi_hangs_and_is_readable_after();
    descriptors_are_raised_as_far_as_they_may();
    return check_end("process");
}
