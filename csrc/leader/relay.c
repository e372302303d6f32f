#include "leader/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/mem.h"

#define CHUNK 4096 /* PIPE_BUF: a pipe that polls writable takes so much without blocking */
#define RETRY_US 20000

struct relay {
    struct loop *loop;
    int from, to;
    bool watched, deaf; /* deaf: `to` is closed for good; what comes is dropped */
    struct loop_timer retry;
    char tail[2 * RELAY_TAIL + 1];
    size_t n_tail;
};

static void remember(struct relay *r, const char *p, size_t n)
{
    if (n > RELAY_TAIL) {
        p += n - RELAY_TAIL;
        n = RELAY_TAIL;
    }
    if (r->n_tail + n > 2 * RELAY_TAIL) {
        memmove(r->tail, r->tail + r->n_tail - RELAY_TAIL, RELAY_TAIL);
        r->n_tail = RELAY_TAIL;
    }
    memcpy(r->tail + r->n_tail, p, n);
    r->n_tail += n;
}

static bool takes(const struct relay *r)
{
    struct pollfd out = {.fd = r->to, .events = POLLOUT};
    return r->deaf || poll(&out, 1, 0) > 0;
}

static void write_on(struct relay *r, const char *p, size_t n)
{
    while (n && !r->deaf) {
        ssize_t written = write(r->to, p, n);
        if (written < 0 && errno != EINTR && errno != EAGAIN)
            r->deaf = true;
        if (written > 0) {
            p += written;
            n -= (size_t)written;
        }
    }
}

/* False: the pipe is empty, for now or for good. */
static bool pass_some(struct relay *r)
{
    char chunk[CHUNK];
    ssize_t n = read(r->from, chunk, sizeof chunk);
    if (n < 0 && errno == EINTR)
        return true;
    if (n > 0) {
        remember(r, chunk, (size_t)n);
        write_on(r, chunk, (size_t)n);
        return true;
    }
    if (n == 0 && r->watched) { /* every writer has closed */
        loop_unwatch(r->loop, r->from);
        r->watched = false;
    }
    return false;
}

static void on_output(void *arg, uint32_t events);

static void on_retry(void *arg)
{
    struct relay *r = arg;
    if (!r->watched) {
        r->watched = true;
        loop_watch(r->loop, r->from, EPOLLIN, on_output, r);
    }
}

static void on_output(void *arg, uint32_t events)
{
    struct relay *r = arg;
    (void)events;
    if (takes(r)) {
        pass_some(r);
        return;
    }
    loop_unwatch(r->loop, r->from);
    r->watched = false;
    loop_at(r->loop, &r->retry, loop_now_us(r->loop) + RETRY_US);
}

struct relay *relay_new(struct loop *loop, int from, int to)
{
    struct relay *r = mem_new(sizeof *r);
    r->loop = loop;
    r->from = from;
    r->to = to;
    r->watched = true;
    r->retry = (struct loop_timer){.due = on_retry, .arg = r};
    fcntl(from, F_SETFL, fcntl(from, F_GETFL) | O_NONBLOCK);
    loop_watch(loop, from, EPOLLIN, on_output, r);
    return r;
}

void relay_pump(struct relay *r)
{
    while (takes(r) && pass_some(r))
        ;
}

const char *relay_tail(struct relay *r)
{
    size_t from = r->n_tail > RELAY_TAIL ? r->n_tail - RELAY_TAIL : 0;
    r->tail[r->n_tail] = 0;
    for (size_t i = from; i < r->n_tail; i++)
        if (!r->tail[i])
            r->tail[i] = '?';
    return r->tail + from;
}

void relay_free(struct relay *r)
{
    if (!r)
        return;
    relay_pump(r);
    if (r->watched)
        loop_unwatch(r->loop, r->from);
    loop_forget(r->loop, &r->retry);
    close(r->from);
    mem_free(r);
}
