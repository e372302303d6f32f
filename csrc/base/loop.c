#include "base/loop.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

#define MOST_SOURCES 8
#define MOST_EVENTS 64

struct watch {
    void (*ready)(void *arg, uint32_t events);
    void *arg;
    uint32_t number; /* tells this watch from an earlier one of the same descriptor */
};

struct loop {
    int epoll;
    bool ended;
    int64_t now_us;
    struct watch *watches; /* by descriptor */
    int n_watches;
    uint32_t last_number;
    struct loop_timer *timers; /* soonest first */
    const struct loop_source *sources[MOST_SOURCES];
    int n_sources;
};

static int64_t loop_monotonic_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

struct loop *loop_new(struct err *err)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0) {
        err_set_errno(err, "cannot make an epoll descriptor");
        return NULL;
    }
    struct loop *loop = mem_new(sizeof *loop);
    loop->epoll = epoll;
    loop->now_us = loop_monotonic_us();
    return loop;
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    close(loop->epoll);
    mem_free(loop->watches);
    mem_free(loop);
}

void loop_end(struct loop *loop)
{
    loop->ended = true;
}

int64_t loop_now_us(const struct loop *loop)
{
    return loop->now_us;
}

void loop_watch(struct loop *loop, int fd, uint32_t events, void (*ready)(void *arg, uint32_t events), void *arg)
{
    assert(fd >= 0);
    if (fd >= loop->n_watches) {
        int n = fd + 64;
        loop->watches = mem_grow(loop->watches, (size_t)n, sizeof *loop->watches);
        for (int i = loop->n_watches; i < n; i++)
            loop->watches[i] = (struct watch){0};
        loop->n_watches = n;
    }
    struct watch *watch = &loop->watches[fd];
    int how = watch->ready ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (!watch->ready)
        watch->number = ++loop->last_number;
    watch->ready = ready;
    watch->arg = arg;
    struct epoll_event event = {.events = events, .data.u64 = (uint64_t)watch->number << 32 | (uint32_t)fd};
    int refused = epoll_ctl(loop->epoll, how, fd, &event);
    assert(!refused); /* fails only for a descriptor that is not open or cannot be polled: our mistake */
    (void)refused;
}

void loop_unwatch(struct loop *loop, int fd)
{
    if (fd < 0 || fd >= loop->n_watches || !loop->watches[fd].ready)
        return;
    epoll_ctl(loop->epoll, EPOLL_CTL_DEL, fd, NULL);
    loop->watches[fd] = (struct watch){0};
}

void loop_forget(struct loop *loop, struct loop_timer *timer)
{
    if (!timer->set)
        return;
    struct loop_timer **at = &loop->timers;
    while (*at != timer)
        at = &(*at)->next;
    *at = timer->next;
    timer->set = false;
}

void loop_at(struct loop *loop, struct loop_timer *timer, int64_t when_us)
{
    loop_forget(loop, timer);
    struct loop_timer **at = &loop->timers;
    while (*at && (*at)->when_us <= when_us)
        at = &(*at)->next;
    timer->when_us = when_us;
    timer->next = *at;
    timer->set = true;
    *at = timer;
}

void loop_add_source(struct loop *loop, const struct loop_source *source)
{
    assert(loop->n_sources < MOST_SOURCES);
    loop->sources[loop->n_sources++] = source;
}

static bool loop_do_nothing(void *arg)
{
    (void)arg;
    return false;
}

/* Its place stays: the loop may be walking the list. */
void loop_remove_source(struct loop *loop, const struct loop_source *source)
{
    static const struct loop_source nothing = {.turn = loop_do_nothing};
    for (int i = 0; i < loop->n_sources; i++)
        if (loop->sources[i] == source)
            loop->sources[i] = &nothing;
}

static bool loop_serve_descriptors(struct loop *loop)
{
    struct epoll_event events[MOST_EVENTS];
    int n = epoll_wait(loop->epoll, events, MOST_EVENTS, 0);
    for (int i = 0; i < n; i++) {
        int fd = (int)(uint32_t)events[i].data.u64;
        struct watch watch = loop->watches[fd];
        if (watch.ready && watch.number == events[i].data.u64 >> 32) /* not unwatched by one served before it */
            watch.ready(watch.arg, events[i].events);
    }
    return n > 0;
}

/* Those that are due now; one that is set again by what it leads to has its turn in the next. */
static bool loop_fire_timers(struct loop *loop)
{
    int n_due = 0, fired = 0;
    for (struct loop_timer *t = loop->timers; t && t->when_us <= loop->now_us; t = t->next)
        n_due++;
    while (fired < n_due && loop->timers && loop->timers->when_us <= loop->now_us) {
        struct loop_timer *timer = loop->timers;
        loop_forget(loop, timer);
        timer->due(timer->arg);
        fired++;
    }
    return n_due > 0;
}

static int64_t loop_longest_sleep_us(const struct loop *loop)
{
    int64_t most = loop->timers ? loop->timers->when_us - loop->now_us : INT64_MAX;
    for (int i = 0; i < loop->n_sources; i++) {
        const struct loop_source *s = loop->sources[i];
        int64_t patience = s->patience_us ? s->patience_us(s->arg) : INT64_MAX;
        if (patience < most)
            most = patience;
    }
    return most;
}

static void loop_sleep_until_something(struct loop *loop)
{
    int dozing = 0;
    bool come = false;
    while (dozing < loop->n_sources && !come) {
        const struct loop_source *s = loop->sources[dozing++];
        come = s->doze && s->doze(s->arg);
    }
    int64_t most = loop_longest_sleep_us(loop);
    if (!come && most > 0) {
        struct pollfd any = {.fd = loop->epoll, .events = POLLIN};
        struct timespec t = {most / 1000000, most % 1000000 * 1000};
        /* EINTR: a signal without a descriptor of ours; the next turn looks */
        if (ppoll(&any, 1, most == INT64_MAX ? NULL : &t, NULL) < 0)
            assert(errno == EINTR);
    }
    while (dozing--) {
        const struct loop_source *s = loop->sources[dozing];
        if (s->wake)
            s->wake(s->arg);
    }
}

void loop_run(struct loop *loop)
{
    while (!loop->ended) {
        bool busy = false;
        loop->now_us = loop_monotonic_us();
        for (int i = 0; i < loop->n_sources; i++)
            busy |= loop->sources[i]->turn(loop->sources[i]->arg);
        busy |= loop_serve_descriptors(loop);
        busy |= loop_fire_timers(loop);
        for (int i = 0; i < loop->n_sources; i++)
            if (loop->sources[i]->flush)
                loop->sources[i]->flush(loop->sources[i]->arg);
        if (!busy && !loop->ended)
            loop_sleep_until_something(loop);
    }
}
