#include "leader/runner_echo.h"

#include "base/mem.h"

struct runner_echo {
    struct runner runner;
    struct loop *loop;
    struct loop_source source;
    bool told;
    char *python_version;
    struct parts *answers; /* given, not answered yet */
    uint32_t *workers; /* whose */
    size_t n, capacity;
    bool *ready; /* by worker: started, not told yet */
    uint32_t n_workers;
};

static struct runner_echo *self_of(struct runner *runner)
{
    return (struct runner_echo *)runner; /* its first member */
}

static bool turn(void *arg)
{
    struct runner_echo *r = arg;
    const struct runner_events *e = &r->runner.events;
    bool any = !r->told;
    if (!r->told) {
        r->told = true;
        e->stands(e->arg, r->python_version);
    }
    for (uint32_t i = 0; i < r->n_workers; i++)
        if (r->ready[i]) {
            r->ready[i] = false;
            e->worker_ready(e->arg, i);
            any = true;
        }
    size_t n = r->n; /* what is given meanwhile has its turn next */
    for (size_t i = 0; i < n; i++) {
        e->result(e->arg, r->workers[i], WIRE_VALUE, 1, &r->answers[i]);
        parts_clear(&r->answers[i]);
        any = true;
    }
    for (size_t i = n; i < r->n; i++) {
        r->answers[i - n] = r->answers[i];
        r->workers[i - n] = r->workers[i];
    }
    r->n -= n;
    return any;
}

static bool doze(void *arg)
{
    return ((struct runner_echo *)arg)->n > 0;
}

static void prepare(struct runner *runner, const struct runner_start *start)
{
    (void)runner;
    (void)start;
}

static void start_worker(struct runner *runner, uint32_t worker)
{
    self_of(runner)->ready[worker] = true;
}

static void give(struct runner *runner, uint32_t worker, const struct task *task)
{
    struct runner_echo *r = self_of(runner);
    if (r->n == r->capacity) {
        r->capacity = r->capacity ? 2 * r->capacity : 64;
        r->answers = mem_grow(r->answers, r->capacity, sizeof *r->answers);
        r->workers = mem_grow(r->workers, r->capacity, sizeof *r->workers);
    }
    r->answers[r->n] = (struct parts){0};
    parts_add_range(&r->answers[r->n], &task->arguments, (struct place){0, 0}, task->length);
    r->workers[r->n++] = worker;
}

static uint32_t take_back(struct runner *runner, uint32_t worker)
{
    (void)runner;
    (void)worker;
    return 0; /* an echo has begun as soon as it is asked for */
}

static void retire(struct runner *runner, uint32_t worker)
{
    (void)runner;
    (void)worker; /* there is no process to replace */
}

static void kill_worker(struct runner *runner, uint32_t worker)
{
    (void)runner;
    (void)worker; /* its answer comes anyway */
}

static void flush(struct runner *runner)
{
    (void)runner;
}

static void free_runner(struct runner *runner)
{
    struct runner_echo *r = self_of(runner);
    loop_remove_source(r->loop, &r->source);
    for (size_t i = 0; i < r->n; i++)
        parts_clear(&r->answers[i]);
    mem_free(r->answers);
    mem_free(r->workers);
    mem_free(r->ready);
    mem_free(r->python_version);
    mem_free(r);
}

static const struct runner_ops ops = {prepare, start_worker, give, take_back, retire, kill_worker, flush, free_runner};

struct runner *runner_echo_new(struct loop *loop, uint32_t n_workers, const char *python_version)
{
    struct runner_echo *r = mem_new(sizeof *r);
    r->runner.ops = &ops;
    r->loop = loop;
    r->n_workers = n_workers;
    r->ready = mem_array(n_workers, sizeof *r->ready);
    r->python_version = mem_text(python_version);
    r->source = (struct loop_source){.turn = turn, .doze = doze, .arg = r};
    loop_add_source(loop, &r->source);
    return &r->runner;
}
