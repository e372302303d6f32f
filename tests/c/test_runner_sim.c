/* runner_sim: simulated workers take the time that is written in their tasks, one after the other, beside each other. */
#include "leader/runner_sim.h"

#include "check.h"
#include "messages.h"

#define MOST 4096

enum kind { STANDS, READY, RESULT, GONE };

struct world {
    struct loop *loop;
    struct runner *runner;
    struct task_table *table;
    uint64_t last_id;
    int64_t began_us;
    struct {
        enum kind kind;
        uint32_t worker, time_us;
        uint64_t text; /* of a result: what stood behind the time */
        int64_t at_us;
        int signal;
    } reported[MOST];
    int n_reported, wanted; /* the loop ends when so much was reported */
    bool start_again; /* a worker that is gone, and then give it a task that takes 2 ms, with text 3 */
};

static void tell(struct world *w, enum kind kind, uint32_t worker)
{
    w->reported[w->n_reported].kind = kind;
    w->reported[w->n_reported].worker = worker;
    w->reported[w->n_reported].at_us = loop_now_us(w->loop);
    if (++w->n_reported == w->wanted)
        loop_end(w->loop);
}

static void on_stands(void *arg, const char *python_version)
{
    CHECK_TEXT(python_version, "3.11.7");
    tell(arg, STANDS, 0);
}

static void on_failed(void *arg, const char *reason)
{
    (void)arg;
    CHECK(false, "%s", reason);
}

static void give(struct world *w, uint32_t worker, uint64_t takes_us, uint64_t text);

static void on_ready(void *arg, uint32_t worker)
{
    struct world *w = arg;
    tell(w, READY, worker);
    if (w->start_again)
        give(w, worker, 2000, 3);
}

static void on_setup_raised(void *arg, uint32_t worker, const char *reason, const struct parts *exception)
{
    (void)arg;
    (void)exception;
    CHECK(false, "worker %u: %s", worker, reason);
}

static void on_result(void *arg, uint32_t worker, enum wire_status status, const struct runner_time *time,
                      const struct parts *payload)
{
    struct world *w = arg;
    uint64_t both[2] = {0};
    CHECK_EQUAL(status, WIRE_VALUE);
    if (payload->length == sizeof both)
        parts_copy(payload, (struct place){0, 0}, sizeof both, (uint8_t *)both);
    w->reported[w->n_reported].time_us = time->took_us;
    w->reported[w->n_reported].text = both[1];
    tell(w, RESULT, worker);
}

static void on_gone(void *arg, uint32_t worker, const struct wire_failure *failure)
{
    struct world *w = arg;
    w->reported[w->n_reported].signal = failure->signal;
    tell(w, GONE, worker);
    if (w->start_again)
        w->runner->ops->start_worker(w->runner, worker);
}

static void run_until(struct world *w, int n_reported)
{
    w->wanted = n_reported;
    if (w->n_reported < n_reported)
        loop_run(w->loop);
    CHECK_EQUAL(w->n_reported, n_reported);
}

/* Its workers take tasks whether they were started or not: that is the leader's to know. */
static void begin(struct world *w, uint32_t n_workers)
{
    struct err err;
    memset(w, 0, sizeof *w);
    w->loop = loop_new(&err);
    w->table = task_table_new(0);
    w->runner = runner_sim_new(w->loop, n_workers, "3.11.7");
    w->runner->events = (struct runner_events){on_stands, on_failed, on_ready, on_setup_raised, on_result, on_gone, w};
}

static void end(struct world *w)
{
    w->runner->ops->free(w->runner);
    task_table_free(w->table);
    loop_free(w->loop);
}

static void give_bytes(struct world *w, uint32_t worker, const void *arguments, uint32_t n)
{
    struct wire_tasks tasks = {0};
    struct buf head = {0}, bytes = {0};
    struct parts payload = {0};
    struct task_queue queue = {0};
    uint8_t digest[WIRE_DIGEST] = {0};
    wire_tasks_function(&tasks, digest, 0);
    wire_tasks_add(&tasks, ++w->last_id, n, &(struct wire_run){0});
    buf_put(&bytes, arguments, n);
    wire_tasks_finish(&tasks, &head);
    wire_tasks_free(&tasks);
    struct bytes *all = buf_take(&bytes);
    parts_add(&payload, all, bytes_data(all), bytes_length(all));
    bytes_unref(all);
    struct msg *msg = msg_new(&head, &payload);
    tasks_read(w->table, msg, &queue);
    msg_unref(msg);
    w->runner->ops->give(w->runner, worker, queue.first);
    task_queue_clear(&queue); /* what the runner needs of it, it has taken */
}

static void give(struct world *w, uint32_t worker, uint64_t takes_us, uint64_t text)
{
    uint64_t both[2] = {takes_us, text};
    give_bytes(w, worker, both, sizeof both);
}

static void it_stands_before_a_worker_is_ready(void)
{
    struct world w;
    begin(&w, 2);
    w.runner->ops->start_worker(w.runner, 0);
    w.runner->ops->start_worker(w.runner, 1);
    run_until(&w, 3);
    CHECK_EQUAL(w.reported[0].kind, STANDS);
    CHECK_EQUAL(w.reported[1].kind, READY);
    CHECK_EQUAL(w.reported[2].kind, READY);
    CHECK_EQUAL(w.reported[1].worker + w.reported[2].worker, 1);
    end(&w);
}

static void a_task_comes_back_as_it_was_when_its_time_is_over(void)
{
    struct world w;
    begin(&w, 1);
    give(&w, 0, 20000, 77);
    int64_t before = loop_now_us(w.loop);
    run_until(&w, 2);
    CHECK_EQUAL(w.reported[1].kind, RESULT);
    CHECK_EQUAL(w.reported[1].text, 77);
    CHECK_EQUAL(w.reported[1].time_us, 20000);
    CHECK(w.reported[1].at_us - before >= 20000, "after %lld us", (long long)(w.reported[1].at_us - before));
    end(&w);
}

static void tasks_of_one_worker_follow_each_other_and_those_of_two_do_not(void)
{
    struct world w;
    begin(&w, 2);
    give(&w, 0, 5000, 1);
    give(&w, 0, 5000, 2);
    give(&w, 1, 7000, 3);
    give(&w, 1, 9000, 4); /* by their clocks: 5, 7, 10 and 16 ms, however late this process is */
    run_until(&w, 5);
    CHECK_EQUAL(w.reported[1].text, 1);
    CHECK_EQUAL(w.reported[2].text, 3);
    CHECK_EQUAL(w.reported[3].text, 2);
    CHECK_EQUAL(w.reported[4].text, 4);
    end(&w);
}

static void thousands_answer_in_the_order_of_their_clocks(void)
{
    static struct world w;
    const uint32_t n = MOST - 1;
    uint32_t state = 1, wrong = 0;
    begin(&w, n);
    for (uint32_t i = 0; i < n; i++) {
        state = state * 1664525 + 1013904223; /* Knuth 3.3.4: quick and good enough to shuffle */
        give(&w, i, state >> 16, i);
    }
    run_until(&w, (int)n + 1);
    for (uint32_t i = 2; i <= n; i++)
        wrong += w.reported[i].time_us < w.reported[i - 1].time_us;
    CHECK_EQUAL(wrong, 0);
    end(&w);
}

static void what_has_not_begun_is_taken_back(void)
{
    struct world w;
    begin(&w, 1);
    for (uint64_t i = 0; i < 4; i++)
        give(&w, 0, 1000, i);
    CHECK_EQUAL(w.runner->ops->take_back(w.runner, 0), 3);
    CHECK_EQUAL(w.runner->ops->take_back(w.runner, 0), 0);
    give(&w, 0, 0, 9);
    run_until(&w, 3);
    CHECK_EQUAL(w.reported[1].text, 0);
    CHECK_EQUAL(w.reported[2].text, 9);
    end(&w);
}

static void a_killed_worker_is_gone_at_once_and_can_be_started_again(void)
{
    struct world w;
    begin(&w, 1);
    give(&w, 0, UINT64_MAX, 1); /* as long as there is */
    w.runner->ops->kill(w.runner, 0);
    w.start_again = true;
    run_until(&w, 4);
    CHECK_EQUAL(w.reported[1].kind, GONE);
    CHECK(w.reported[1].signal != 0, "no signal");
    CHECK_EQUAL(w.reported[2].kind, READY);
    CHECK_EQUAL(w.reported[3].text, 3); /* and not 1, which went with the worker */
    end(&w);
}

static void a_retired_worker_goes_by_itself(void)
{
    struct world w;
    begin(&w, 1);
    w.runner->ops->retire(w.runner, 0);
    run_until(&w, 2);
    CHECK_EQUAL(w.reported[1].kind, GONE);
    CHECK_EQUAL(w.reported[1].signal, 0);
    end(&w);
}

static void a_task_in_which_no_time_is_written_takes_none(void)
{
    struct world w;
    begin(&w, 1);
    give_bytes(&w, 0, "", 0);
    give_bytes(&w, 0, "short", 5);
    run_until(&w, 3);
    CHECK_EQUAL(w.reported[1].time_us, 0);
    CHECK_EQUAL(w.reported[2].time_us, 0);
    end(&w);
}

int main(void)
{
    it_stands_before_a_worker_is_ready();
    a_task_comes_back_as_it_was_when_its_time_is_over();
    tasks_of_one_worker_follow_each_other_and_those_of_two_do_not();
    thousands_answer_in_the_order_of_their_clocks();
    what_has_not_begun_is_taken_back();
    a_killed_worker_is_gone_at_once_and_can_be_started_again();
    a_retired_worker_goes_by_itself();
    a_task_in_which_no_time_is_written_takes_none();
    return check_end("runner_sim");
}
