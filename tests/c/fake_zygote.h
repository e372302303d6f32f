/* fake_zygote.h: in the place of csrc/worker/zygote.c, for tests of runner_fork: it forks nothing. A process that was asked for
 * is the test's end of its socket and its page, and dies when it is killed or when the test says so. */
#ifndef XSE_TEST_FAKE_ZYGOTE_H
#define XSE_TEST_FAKE_ZYGOTE_H

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "worker/pipe.h"
#include "worker/zygote.h"

#define FAKE_WORKERS 4u
#define FAKE_EVENTS (8 * FAKE_WORKERS)
#define FAKE_PID 1000

struct zygote {
    int fd;
    struct zygote_event events[FAKE_EVENTS];
    int n_events;
    bool dead; /* after the events that there are */
    uint32_t n_refused; /* so many workers are not forked */
    struct process {
        int socket; /* -1: there is no process */
        struct worker_page *page;
    } processes[FAKE_WORKERS];
};

static inline void fake_zygote_begin(struct zygote *z)
{
    z->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    z->n_events = 0;
    z->dead = false;
    assert(z->fd >= 0);
    for (uint32_t i = 0; i < FAKE_WORKERS; i++)
        z->processes[i] = (struct process){.socket = -1};
}

static inline void fake_zygote_tell(struct zygote *z, enum zygote_event_kind kind, uint32_t worker, int status)
{
    assert(z->n_events < (int)FAKE_EVENTS);
    struct zygote_event *event = &z->events[z->n_events++];
    event->kind = kind;
    event->worker = worker;
    event->pid = FAKE_PID;
    event->status = status;
    event->text[0] = 0;
    eventfd_write(z->fd, 1);
}

static inline void fake_zygote_bury(struct process *p)
{
    if (p->socket < 0)
        return;
    close(p->socket);
    munmap(p->page, sizeof *p->page);
    *p = (struct process){.socket = -1};
}

/* The process ends, as waitpid would tell it. */
static inline void fake_zygote_die(struct zygote *z, uint32_t worker, int status)
{
    if (z->processes[worker].socket < 0)
        return;
    fake_zygote_bury(&z->processes[worker]);
    fake_zygote_tell(z, ZYGOTE_GONE, worker, status);
}

/* ---- what runner_fork calls ------------------------------------------------------------------------------------- */

int zygote_fd(const struct zygote *z)
{
    return z->fd;
}

void zygote_explain_end(const struct zygote *z, struct err *err)
{
    (void)z;
    err_set(err, "the zygote has died");
}

int zygote_next(struct zygote *z, struct zygote_event *event)
{
    eventfd_t n;
    if (!z->n_events) {
        if (eventfd_read(z->fd, &n))
            assert(errno == EAGAIN);
        return z->dead ? -1 : 0;
    }
    *event = z->events[0];
    z->n_events--;
    for (int i = 0; i < z->n_events; i++)
        z->events[i] = z->events[i + 1];
    return 1;
}

bool zygote_is_writing(const struct zygote *z)
{
    (void)z;
    return false;
}

void zygote_fork_worker(struct zygote *z, const struct zygote_worker *worker, const struct zygote_fds *fds)
{
    struct process *p = &z->processes[worker->worker];
    assert(worker->worker < FAKE_WORKERS && p->socket < 0);
    if (z->n_refused) {
        z->n_refused--;
        fake_zygote_tell(z, ZYGOTE_NOT_FORKED, worker->worker, 0);
        return;
    }
    p->socket = fcntl(fds->socket, F_DUPFD_CLOEXEC, 0);
    p->page = mmap(NULL, sizeof *p->page, PROT_READ | PROT_WRITE, MAP_SHARED, fds->page, 0);
    assert(p->socket >= 0 && p->page != MAP_FAILED);
    fake_zygote_tell(z, ZYGOTE_FORKED, worker->worker, 0);
}

void zygote_kill(struct zygote *z, uint32_t worker)
{
    fake_zygote_die(z, worker, 9);
}

void zygote_ping(struct zygote *z)
{
    fake_zygote_tell(z, ZYGOTE_PONG, 0, 0);
}

void zygote_end(struct zygote *z, int grace_ms)
{
    (void)grace_ms;
    for (uint32_t i = 0; i < FAKE_WORKERS; i++)
        fake_zygote_bury(&z->processes[i]);
    close(z->fd);
}

#endif
