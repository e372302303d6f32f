#include "leader/runner_sim.h"

#include <signal.h>

#include "base/deadlines.h"
#include "base/mem.h"

#define LONGEST_US (INT64_C(1) << 50) /* some 35 years: sums of a few stay far from overflow */

struct given { /* a task that a worker has */
    struct given *next;
    struct parts arguments;
    int64_t takes_us;
};

enum event { STARTED, ANSWERED, KILLED, RETIRED };

struct worker {
    struct given *first, *last; /* the first runs */
    uint32_t n_given;
    enum event event; /* the next of this worker */
    int64_t due_us; /* when that happens */
};

struct runner_sim {
    struct runner runner;
    struct loop *loop;
    struct loop_timer timer; /* of the first deadline */
    char *python_version;
    bool stands;
    struct worker *workers;
    uint32_t n_workers;
    struct deadlines *deadlines; /* of workers to whom something will happen */
};

static struct runner_sim *self_of(struct runner *runner)
{
    return (struct runner_sim *)runner; /* its first member */
}

/* ---- what will happen ---------------------------------------------------------------------------------------------- */

static void arm(struct runner_sim *r)
{
    int64_t when = r->stands ? deadlines_next_us(r->deadlines) : loop_now_us(r->loop);
    if (when == INT64_MAX)
        loop_forget(r->loop, &r->timer);
    else if (!r->timer.set || r->timer.when_us != when)
        loop_at(r->loop, &r->timer, when);
}

/* What happens to a worker next, and when; in place of what would have. */
static void schedule(struct runner_sim *r, uint32_t worker, enum event event, int64_t due_us)
{
    struct worker *w = &r->workers[worker];
    w->event = event;
    w->due_us = due_us;
    deadlines_set(r->deadlines, worker, due_us);
    arm(r);
}

/* ---- what is due ------------------------------------------------------------------------------------------------ */

static void drop(struct given *task)
{
    parts_clear(&task->arguments);
    mem_free(task);
}

static void answer(struct runner_sim *r, uint32_t worker)
{
    struct worker *w = &r->workers[worker];
    const struct runner_events *e = &r->runner.events;
    struct given *task = w->first;
    w->first = task->next;
    w->n_given--;
    if (w->first)
        schedule(r, worker, ANSWERED, w->due_us + w->first->takes_us);
    else
        deadlines_set(r->deadlines, worker, INT64_MAX);
    e->result(e->arg, worker, WIRE_VALUE, task->takes_us < UINT32_MAX ? (uint32_t)task->takes_us : UINT32_MAX,
              &task->arguments);
    drop(task);
}

static void happen(struct runner_sim *r, uint32_t worker)
{
    struct worker *w = &r->workers[worker];
    const struct runner_events *e = &r->runner.events;
    struct wire_failure failure = {.signal = w->event == KILLED ? SIGKILL : 0, .host = "", .block = "", .detail = ""};
    if (w->event == ANSWERED) {
        answer(r, worker);
        return;
    }
    deadlines_set(r->deadlines, worker, INT64_MAX);
    if (w->event == STARTED)
        e->worker_ready(e->arg, worker);
    else
        e->worker_gone(e->arg, worker, &failure);
}

static void on_due(void *arg)
{
    struct runner_sim *r = arg;
    const struct runner_events *e = &r->runner.events;
    if (!r->stands) {
        r->stands = true;
        e->stands(e->arg, r->python_version);
    }
    while (deadlines_next_us(r->deadlines) <= loop_now_us(r->loop))
        happen(r, deadlines_first(r->deadlines));
    arm(r);
}

/* ---- the table -------------------------------------------------------------------------------------------------- */

static void prepare(struct runner *runner, const struct runner_start *start)
{
    (void)runner;
    (void)start;
}

static void clear(struct worker *w)
{
    while (w->first) {
        struct given *task = w->first;
        w->first = task->next;
        drop(task);
    }
    w->n_given = 0;
}

static void start_worker(struct runner *runner, uint32_t worker)
{
    struct runner_sim *r = self_of(runner);
    clear(&r->workers[worker]);
    schedule(r, worker, STARTED, loop_now_us(r->loop));
}

static int64_t time_in(const struct task *task)
{
    uint8_t bytes[8];
    uint64_t us = 0;
    if (task->length < sizeof bytes)
        return 0;
    parts_copy(&task->arguments, (struct place){0, 0}, sizeof bytes, bytes);
    for (int i = 7; i >= 0; i--)
        us = us << 8 | bytes[i];
    return us < LONGEST_US ? (int64_t)us : LONGEST_US;
}

static void give(struct runner *runner, uint32_t worker, const struct task *task)
{
    struct runner_sim *r = self_of(runner);
    struct worker *w = &r->workers[worker];
    struct given *given = mem_new(sizeof *given);
    given->takes_us = time_in(task);
    parts_add_range(&given->arguments, &task->arguments, (struct place){0, 0}, task->length);
    *(w->first ? &w->last->next : &w->first) = given;
    w->last = given;
    if (++w->n_given == 1)
        schedule(r, worker, ANSWERED, loop_now_us(r->loop) + given->takes_us);
}

/* The first has begun as soon as it is the first. */
static uint32_t take_back(struct runner *runner, uint32_t worker)
{
    struct worker *w = &self_of(runner)->workers[worker];
    uint32_t n = 0;
    while (w->n_given > 1) {
        struct given *second = w->first->next;
        w->first->next = second->next;
        drop(second);
        w->n_given--;
        n++;
    }
    w->last = w->first;
    return n;
}

static void retire(struct runner *runner, uint32_t worker)
{
    struct runner_sim *r = self_of(runner);
    schedule(r, worker, RETIRED, loop_now_us(r->loop));
}

static void kill_worker(struct runner *runner, uint32_t worker)
{
    struct runner_sim *r = self_of(runner);
    schedule(r, worker, KILLED, loop_now_us(r->loop));
}

static void flush(struct runner *runner)
{
    (void)runner;
}

static void free_runner(struct runner *runner)
{
    struct runner_sim *r = self_of(runner);
    loop_forget(r->loop, &r->timer);
    for (uint32_t i = 0; i < r->n_workers; i++)
        clear(&r->workers[i]);
    mem_free(r->workers);
    deadlines_free(r->deadlines);
    mem_free(r->python_version);
    mem_free(r);
}

static const struct runner_ops ops = {prepare, start_worker, give, take_back, retire, kill_worker, flush, free_runner};

struct runner *runner_sim_new(struct loop *loop, uint32_t n_workers, const char *python_version)
{
    struct runner_sim *r = mem_new(sizeof *r);
    r->runner.ops = &ops;
    r->loop = loop;
    r->timer = (struct loop_timer){.due = on_due, .arg = r};
    r->python_version = mem_text(python_version);
    r->n_workers = n_workers;
    r->workers = mem_array(n_workers, sizeof *r->workers);
    r->deadlines = deadlines_new(n_workers);
    arm(r);
    return &r->runner;
}
