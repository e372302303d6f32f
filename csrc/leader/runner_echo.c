#include "leader/runner_echo.h"

#include "base/mem.h"

struct runner_echo {
    struct runner runner;
    struct loop *loop;
    struct loop_source source;
    bool announced;
    char *python_version;
    struct parts *answers; /* given, not answered yet */
    uint32_t *workers; /* whose */
    size_t n, capacity;
    bool *ready; /* by worker: started, not reported yet */
    uint32_t n_workers;
};

static struct runner_echo *echo_of(struct runner *runner)
{
    return (struct runner_echo *)runner; /* its first member */
}

static bool echo_turn(void *arg)
{
    struct runner_echo *self = arg;
    const struct runner_events *e = &self->runner.events;
    bool any = !self->announced;
    if (!self->announced) {
        self->announced = true;
        e->stands(e->arg, self->python_version);
    }
    for (uint32_t i = 0; i < self->n_workers; i++)
        if (self->ready[i]) {
            self->ready[i] = false;
            e->worker_ready(e->arg, i);
            any = true;
        }
    size_t n = self->n; /* what is given meanwhile has its turn next */
    for (size_t i = 0; i < n; i++) {
        struct runner_time time = {loop_now_us(self->loop), 1};
        e->result(e->arg, self->workers[i], WIRE_VALUE, &time, &self->answers[i]);
        parts_clear(&self->answers[i]);
        any = true;
    }
    for (size_t i = n; i < self->n; i++) {
        self->answers[i - n] = self->answers[i];
        self->workers[i - n] = self->workers[i];
    }
    self->n -= n;
    return any;
}

static bool echo_doze(void *arg)
{
    return ((struct runner_echo *)arg)->n > 0;
}

static void echo_prepare(struct runner *runner, const struct runner_start *start)
{
    (void)runner;
    (void)start;
}

static void echo_start_worker(struct runner *runner, uint32_t worker)
{
    echo_of(runner)->ready[worker] = true;
}

static void echo_give(struct runner *runner, uint32_t worker, const struct task *task)
{
    struct runner_echo *self = echo_of(runner);
    if (self->n == self->capacity) {
        self->capacity = self->capacity ? 2 * self->capacity : 64;
        self->answers = mem_grow(self->answers, self->capacity, sizeof *self->answers);
        self->workers = mem_grow(self->workers, self->capacity, sizeof *self->workers);
    }
    self->answers[self->n] = (struct parts){0};
    parts_add_range(&self->answers[self->n], &task->arguments, (struct place){0, 0}, task->length);
    self->workers[self->n++] = worker;
}

static uint32_t echo_take_back(struct runner *runner, uint32_t worker)
{
    (void)runner;
    (void)worker;
    return 0; /* an echo has begun as soon as it is asked for */
}

static void echo_retire(struct runner *runner, uint32_t worker)
{
    (void)runner;
    (void)worker; /* there is no process to replace */
}

static void echo_kill_worker(struct runner *runner, uint32_t worker)
{
    (void)runner;
    (void)worker; /* its answer comes anyway */
}

static void echo_flush(struct runner *runner)
{
    (void)runner;
}

static void echo_free(struct runner *runner)
{
    struct runner_echo *self = echo_of(runner);
    loop_remove_source(self->loop, &self->source);
    for (size_t i = 0; i < self->n; i++)
        parts_clear(&self->answers[i]);
    mem_free(self->answers);
    mem_free(self->workers);
    mem_free(self->ready);
    mem_free(self->python_version);
    mem_free(self);
}

static const struct runner_ops ops = {echo_prepare,   echo_start_worker, echo_give,
                                      echo_take_back, echo_retire,       echo_kill_worker,
                                      echo_flush,     echo_free,         NULL};

struct runner *runner_echo_new(struct loop *loop, uint32_t n_workers, const char *python_version)
{
    struct runner_echo *self = mem_new(sizeof *self);
    self->runner.ops = &ops;
    self->loop = loop;
    self->n_workers = n_workers;
    self->ready = mem_array(n_workers, sizeof *self->ready);
    self->python_version = mem_text(python_version);
    self->source = (struct loop_source){.turn = echo_turn, .doze = echo_doze, .arg = self};
    loop_add_source(loop, &self->source);
    return &self->runner;
}
