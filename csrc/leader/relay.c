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

static void relay_remember(struct relay *relay, const char *p, size_t n)
{
    if (n > RELAY_TAIL) {
        p += n - RELAY_TAIL;
        n = RELAY_TAIL;
    }
    if (relay->n_tail + n > 2 * RELAY_TAIL) {
        memmove(relay->tail, relay->tail + relay->n_tail - RELAY_TAIL, RELAY_TAIL);
        relay->n_tail = RELAY_TAIL;
    }
    memcpy(relay->tail + relay->n_tail, p, n);
    relay->n_tail += n;
}

static bool relay_takes(const struct relay *relay)
{
    struct pollfd out = {.fd = relay->to, .events = POLLOUT};
    return relay->deaf || poll(&out, 1, 0) > 0;
}

static void relay_write_on(struct relay *relay, const char *p, size_t n)
{
    while (n && !relay->deaf) {
        ssize_t written = write(relay->to, p, n);
        if (written < 0 && errno != EINTR && errno != EAGAIN)
            relay->deaf = true;
        if (written > 0) {
            p += written;
            n -= (size_t)written;
        }
    }
}

/* False: the pipe is empty, for now or for good. */
static bool relay_pass_some(struct relay *relay)
{
    char chunk[CHUNK];
    ssize_t n = read(relay->from, chunk, sizeof chunk);
    if (n < 0 && errno == EINTR)
        return true;
    if (n > 0) {
        relay_remember(relay, chunk, (size_t)n);
        relay_write_on(relay, chunk, (size_t)n);
        return true;
    }
    if (n == 0 && relay->watched) { /* every writer has closed */
        loop_unwatch(relay->loop, relay->from);
        relay->watched = false;
    }
    return false;
}

static void relay_on_output(void *arg, uint32_t events);

static void relay_on_retry(void *arg)
{
    struct relay *relay = arg;
    if (!relay->watched) {
        relay->watched = true;
        loop_watch(relay->loop, relay->from, EPOLLIN, relay_on_output, relay);
    }
}

static void relay_on_output(void *arg, uint32_t events)
{
    struct relay *relay = arg;
    (void)events;
    if (relay_takes(relay)) {
        relay_pass_some(relay);
        return;
    }
    loop_unwatch(relay->loop, relay->from);
    relay->watched = false;
    loop_at(relay->loop, &relay->retry, loop_now_us(relay->loop) + RETRY_US);
}

struct relay *relay_new(struct loop *loop, int from, int to)
{
    struct relay *relay = mem_new(sizeof *relay);
    relay->loop = loop;
    relay->from = from;
    relay->to = to;
    relay->watched = true;
    relay->retry = (struct loop_timer){.due = relay_on_retry, .arg = relay};
    fcntl(from, F_SETFL, fcntl(from, F_GETFL) | O_NONBLOCK);
    loop_watch(loop, from, EPOLLIN, relay_on_output, relay);
    return relay;
}

void relay_pump(struct relay *relay)
{
    while (relay_takes(relay) && relay_pass_some(relay))
        ;
}

const char *relay_tail(struct relay *relay)
{
    size_t from = relay->n_tail > RELAY_TAIL ? relay->n_tail - RELAY_TAIL : 0;
    relay->tail[relay->n_tail] = 0;
    for (size_t i = from; i < relay->n_tail; i++)
        if (!relay->tail[i])
            relay->tail[i] = '?';
    return relay->tail + from;
}

void relay_free(struct relay *relay)
{
    if (!relay)
        return;
    relay_pump(relay);
    if (relay->watched)
        loop_unwatch(relay->loop, relay->from);
    loop_forget(relay->loop, &relay->retry);
    close(relay->from);
    mem_free(relay);
}
