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

static struct runner_sim *sim_of(struct runner *runner)
{
    return (struct runner_sim *)runner; /* its first member */
}

/* ---- what will happen ---------------------------------------------------------------------------------------------- */

static void sim_arm(struct runner_sim *self)
{
    int64_t when = self->stands ? deadlines_next_us(self->deadlines) : loop_now_us(self->loop);
    if (when == INT64_MAX)
        loop_forget(self->loop, &self->timer);
    else if (!self->timer.set || self->timer.when_us != when)
        loop_at(self->loop, &self->timer, when);
}

/* What happens to a worker next, and when; in place of what would have. */
static void sim_schedule(struct runner_sim *self, uint32_t index, enum event event, int64_t due_us)
{
    struct worker *worker = &self->workers[index];
    worker->event = event;
    worker->due_us = due_us;
    deadlines_set(self->deadlines, index, due_us);
    sim_arm(self);
}

/* ---- what is due ------------------------------------------------------------------------------------------------ */

static void sim_drop(struct given *task)
{
    parts_clear(&task->arguments);
    mem_free(task);
}

static void sim_answer(struct runner_sim *self, uint32_t index)
{
    struct worker *worker = &self->workers[index];
    const struct runner_events *e = &self->runner.events;
    struct given *task = worker->first;
    int64_t due_us = worker->due_us;
    worker->first = task->next;
    worker->n_given--;
    if (worker->first)
        sim_schedule(self, index, ANSWERED, worker->due_us + worker->first->takes_us);
    else
        deadlines_set(self->deadlines, index, INT64_MAX);
    struct runner_time time = {.start_us = due_us - task->takes_us,
                               .took_us = task->takes_us < UINT32_MAX ? (uint32_t)task->takes_us : UINT32_MAX};
    e->result(e->arg, index, WIRE_VALUE, &time, &task->arguments);
    sim_drop(task);
}

static void sim_happen(struct runner_sim *self, uint32_t index)
{
    struct worker *worker = &self->workers[index];
    const struct runner_events *e = &self->runner.events;
    struct wire_failure failure = {
        .signal = worker->event == KILLED ? SIGKILL : 0, .host = "", .block = "", .detail = ""};
    if (worker->event == ANSWERED) {
        sim_answer(self, index);
        return;
    }
    deadlines_set(self->deadlines, index, INT64_MAX);
    if (worker->event == STARTED)
        e->worker_ready(e->arg, index);
    else
        e->worker_gone(e->arg, index, &failure);
}

static void sim_on_due(void *arg)
{
    struct runner_sim *self = arg;
    const struct runner_events *e = &self->runner.events;
    if (!self->stands) {
        self->stands = true;
        e->stands(e->arg, self->python_version);
    }
    while (deadlines_next_us(self->deadlines) <= loop_now_us(self->loop))
        sim_happen(self, deadlines_first(self->deadlines));
    sim_arm(self);
}

/* ---- the table -------------------------------------------------------------------------------------------------- */

static void sim_prepare(struct runner *runner, const struct runner_start *start)
{
    (void)runner;
    (void)start;
}

static void sim_clear(struct worker *worker)
{
    while (worker->first) {
        struct given *task = worker->first;
        worker->first = task->next;
        sim_drop(task);
    }
    worker->n_given = 0;
}

static void sim_start_worker(struct runner *runner, uint32_t index)
{
    struct runner_sim *self = sim_of(runner);
    sim_clear(&self->workers[index]);
    sim_schedule(self, index, STARTED, loop_now_us(self->loop));
}

static int64_t sim_time_in(const struct task *task)
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

static void sim_give(struct runner *runner, uint32_t index, const struct task *task)
{
    struct runner_sim *self = sim_of(runner);
    struct worker *worker = &self->workers[index];
    struct given *given = mem_new(sizeof *given);
    given->takes_us = sim_time_in(task);
    parts_add_range(&given->arguments, &task->arguments, (struct place){0, 0}, task->length);
    *(worker->first ? &worker->last->next : &worker->first) = given;
    worker->last = given;
    if (++worker->n_given == 1)
        sim_schedule(self, index, ANSWERED, loop_now_us(self->loop) + given->takes_us);
}

/* The first has begun as soon as it is the first. */
static uint32_t sim_take_back(struct runner *runner, uint32_t index)
{
    struct worker *worker = &sim_of(runner)->workers[index];
    uint32_t n = 0;
    while (worker->n_given > 1) {
        struct given *second = worker->first->next;
        worker->first->next = second->next;
        sim_drop(second);
        worker->n_given--;
        n++;
    }
    worker->last = worker->first;
    return n;
}

static void sim_retire(struct runner *runner, uint32_t index)
{
    struct runner_sim *self = sim_of(runner);
    sim_schedule(self, index, RETIRED, loop_now_us(self->loop));
}

static void sim_kill_worker(struct runner *runner, uint32_t index)
{
    struct runner_sim *self = sim_of(runner);
    sim_schedule(self, index, KILLED, loop_now_us(self->loop));
}

static void sim_flush(struct runner *runner)
{
    (void)runner;
}

static void sim_free(struct runner *runner)
{
    struct runner_sim *self = sim_of(runner);
    loop_forget(self->loop, &self->timer);
    for (uint32_t i = 0; i < self->n_workers; i++)
        sim_clear(&self->workers[i]);
    mem_free(self->workers);
    deadlines_free(self->deadlines);
    mem_free(self->python_version);
    mem_free(self);
}

static const struct runner_ops ops = {sim_prepare,     sim_start_worker, sim_give, sim_take_back, sim_retire,
                                      sim_kill_worker, sim_flush,        sim_free, NULL};

struct runner *runner_sim_new(struct loop *loop, uint32_t n_workers, const char *python_version)
{
    struct runner_sim *self = mem_new(sizeof *self);
    self->runner.ops = &ops;
    self->loop = loop;
    self->timer = (struct loop_timer){.due = sim_on_due, .arg = self};
    self->python_version = mem_text(python_version);
    self->n_workers = n_workers;
    self->workers = mem_array(n_workers, sizeof *self->workers);
    self->deadlines = deadlines_new(n_workers);
    sim_arm(self);
    return &self->runner;
}
