#include "worker/worker.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "wire/wire.h"
#include "worker/pipe.h"

#define READ_AHEAD 65536u /* many small tasks in one read */

struct worker {
    int socket;
    struct worker_page *page;
    uint8_t *buffer; /* READ_AHEAD bytes, of which [at, end) are not used yet */
    size_t at, end;
    uint8_t *large; /* for what does not fit the buffer */
    size_t large_capacity;
    uint32_t pid;
};

static int64_t worker_now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* n bytes, all of them. False: the leader has closed. */
static bool worker_read_all(int fd, uint8_t *to, size_t n)
{
    while (n) {
        ssize_t got = recv(fd, to, n, 0);
        if (got <= 0) {
            if (got < 0 && errno == EINTR)
                continue;
            return false;
        }
        to += got;
        n -= (size_t)got;
    }
    return true;
}

/* At least n bytes in the buffer from `at` on; n <= READ_AHEAD. */
static bool worker_fill(struct worker *worker, size_t n)
{
    if (worker->end - worker->at >= n)
        return true;
    memmove(worker->buffer, worker->buffer + worker->at, worker->end - worker->at);
    worker->end -= worker->at;
    worker->at = 0;
    while (worker->end < n) {
        ssize_t got = recv(worker->socket, worker->buffer + worker->end, READ_AHEAD - worker->end, 0);
        if (got <= 0) {
            if (got < 0 && errno == EINTR)
                continue;
            return false;
        }
        worker->end += (size_t)got;
    }
    return true;
}

/* The next n bytes, valid until the next call. NULL: the leader has closed. */
static const uint8_t *worker_take(struct worker *worker, size_t n)
{
    if (n <= READ_AHEAD) {
        if (!worker_fill(worker, n))
            return NULL;
        worker->at += n;
        return worker->buffer + worker->at - n;
    }
    if (n > worker->large_capacity) {
        free(worker->large); /* not grown: its content is of no use */
        worker->large = mem_grow(NULL, n, 1);
        worker->large_capacity = n;
    }
    size_t here = worker->end - worker->at;
    memcpy(worker->large, worker->buffer + worker->at, here);
    worker->at = worker->end = 0;
    return worker_read_all(worker->socket, worker->large + here, n - here) ? worker->large : NULL;
}

static void worker_let_large_go(struct worker *worker)
{
    free(worker->large);
    worker->large = NULL;
    worker->large_capacity = 0;
}

static bool worker_send_up(struct worker *worker, const struct up *up, const void *a, size_t n_a, const void *b,
                           size_t n_b)
{
    struct iovec v[3] = {{(void *)(uintptr_t)up, sizeof *up}, {(void *)(uintptr_t)a, n_a}, {(void *)(uintptr_t)b, n_b}};
    struct msghdr m = {.msg_iov = v, .msg_iovlen = 3};
    for (;;) {
        ssize_t sent = sendmsg(worker->socket, &m, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return false;
        while (m.msg_iovlen && (size_t)sent >= m.msg_iov->iov_len) {
            sent -= (ssize_t)m.msg_iov->iov_len;
            m.msg_iov++;
            m.msg_iovlen--;
        }
        if (!m.msg_iovlen)
            return true;
        m.msg_iov->iov_base = (uint8_t *)m.msg_iov->iov_base + sent;
        m.msg_iov->iov_len -= (size_t)sent;
    }
}

static bool worker_send_too_large(struct worker *worker, struct up *up, size_t size)
{
    struct buf record = {0};
    struct wire_failure failure = {.pid = worker->pid,
                                   .exit_code = -1,
                                   .size = size,
                                   .limit = WIRE_MAX_ITEM,
                                   .host = "",
                                   .block = "",
                                   .detail = "the result is larger than one message may carry"};
    wire_put_failure(&record, &failure);
    up->status = WIRE_TOO_LARGE;
    up->length = record.n;
    bool sent = worker_send_up(worker, up, record.p, record.n, NULL, 0);
    buf_free(&record);
    return sent;
}

static bool worker_set_up(struct worker *worker, const struct down *down, const uint8_t *bytes)
{
    struct xse_answer answer = {0};
    struct up up = {.kind = UP_READY};
    if (down->length && !xse_setup(down->codec, bytes, down->length, &answer))
        _exit(1);
    if (answer.status == WIRE_VALUE)
        return worker_send_up(worker, &up, NULL, 0, NULL, 0);
    up.kind = UP_SETUP_RAISED;
    up.status = (uint32_t)answer.n_reason;
    up.length = answer.n_reason + answer.n;
    return worker_send_up(worker, &up, answer.reason, answer.n_reason, answer.data, answer.n);
}

static bool worker_run(struct worker *worker, const struct down *down, const uint8_t *bytes)
{
    struct xse_answer answer;
    uint64_t number = down->number;
    if (!atomic_compare_exchange_strong(&worker->page->next, &number, number + 1))
        return true; /* the leader has taken it back */
    int64_t start = worker_now_us();
    if (!xse_run(down->slot, bytes, down->length, &answer))
        _exit(1);
    if ((uint32_t)getpid() != worker->pid) /* a child that the task has forked: its parent gives the answer */
        _exit(1);
    int64_t took = worker_now_us() - start;
    struct up up = {.kind = UP_RESULT,
                    .status = answer.status,
                    .time_us = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took,
                    .start_us = start,
                    .length = answer.n};
    if (answer.n > WIRE_MAX_ITEM)
        return worker_send_too_large(worker, &up, answer.n);
    return worker_send_up(worker, &up, answer.data, answer.n, NULL, 0);
}

int worker_main(int socket, int page_fd, const struct xse_place *place)
{
    struct worker worker = {.socket = socket, .buffer = mem_new(READ_AHEAD), .pid = (uint32_t)getpid()};
    worker.page = mmap(NULL, sizeof *worker.page, PROT_READ | PROT_WRITE, MAP_SHARED, page_fd, 0);
    close(page_fd);
    if (worker.page == MAP_FAILED || !xse_begin(place))
        return 1;
    bool open = true;
    while (open) {
        struct down down;
        const uint8_t *p = worker_take(&worker, sizeof down);
        if (!p)
            break;
        memcpy(&down, p, sizeof down);
        if (!(p = worker_take(&worker, down.length)))
            break;
        if (down.kind == DOWN_SETUP)
            open = worker_set_up(&worker, &down, p);
        else if (down.kind == DOWN_FUNCTION)
            open = xse_define(down.slot, down.codec, p, down.length);
        else
            open = worker_run(&worker, &down, p);
        worker_let_large_go(&worker);
    }
    xse_end();
    return 0;
}
