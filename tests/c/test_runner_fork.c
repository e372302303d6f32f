/* runner_fork: what workers say is reported to the leader; what they cannot have to say, for a task may write where its worker
 * writes, costs the worker, and nothing else. The processes are the test's. */
#include "leader/runner_fork.h"

#include <sys/socket.h>

#include "check.h"
#include "fake_zygote.h"
#include "messages.h"

#define N 2u /* workers */

struct world {
    struct loop *loop;
    struct zygote zygote;
    struct runner *runner;
    struct task_table *table;
    struct task_queue given; /* all to worker 0 */
    int n_ready, n_setup_raised, n_results, n_gone, n_failed;
    int n_results_at_failure;
    uint64_t last_length;
    void (*const *steps)(struct world *w);
    int n_quiet;
};

static void on_ready(void *arg, uint32_t worker)
{
    ((struct world *)arg)->n_ready++;
    (void)worker;
}

static void on_setup_raised(void *arg, uint32_t worker, const char *reason, const struct parts *exception)
{
    ((struct world *)arg)->n_setup_raised++;
    (void)worker, (void)reason, (void)exception;
}

static void on_result(void *arg, uint32_t worker, enum wire_status status, const struct runner_time *time,
                      const struct parts *payload)
{
    struct world *w = arg;
    w->n_results++;
    w->last_length = payload->length;
    (void)worker, (void)status, (void)time;
}

static void on_gone(void *arg, uint32_t worker, const struct wire_failure *failure)
{
    ((struct world *)arg)->n_gone++;
    (void)worker, (void)failure;
}

static void on_failed(void *arg, const char *reason)
{
    struct world *w = arg;
    w->n_failed++;
    w->n_results_at_failure = w->n_results;
    (void)reason;
}

/* A step a turn, whose sockets are read in the same turn; what follows from the last has some turns more. */
static bool turn(void *arg)
{
    struct world *w = arg;
    if (*w->steps)
        (*w->steps++)(w);
    else if (++w->n_quiet == 4)
        loop_end(w->loop);
    return true;
}

static void end_turn(void *arg)
{
    struct world *w = arg;
    w->runner->ops->flush(w->runner);
}

/* Two workers are started, and then the steps taken: a list that ends with NULL. */
static void run(struct world *w, void (*const *steps)(struct world *w))
{
    struct err err;
    struct parts setup = {0};
    struct runner_start start = {.n_workers = N, .n_in_node = N, .block_id = "b", .pool_id = "p", .setup = &setup};
    memset(w, 0, sizeof *w);
    w->steps = steps;
    fake_zygote_begin(&w->zygote);
    w->loop = loop_new(&err);
    w->table = task_table_new(0);
    w->runner = runner_fork_new(w->loop, &w->zygote, N);
    w->runner->events = (struct runner_events){.worker_ready = on_ready,
                                               .setup_raised = on_setup_raised,
                                               .result = on_result,
                                               .worker_gone = on_gone,
                                               .failed = on_failed,
                                               .arg = w};
    struct loop_source source = {.turn = turn, .flush = end_turn, .arg = w};
    loop_add_source(w->loop, &source);
    w->runner->ops->prepare(w->runner, &start);
    for (uint32_t i = 0; i < N; i++)
        w->runner->ops->start_worker(w->runner, i);
    loop_run(w->loop);
    w->runner->ops->free(w->runner);
    task_queue_clear(&w->given);
    task_table_free(w->table);
    loop_free(w->loop);
}

/* ---- steps ------------------------------------------------------------------------------------------------------ */

static void write_up(struct world *w, const struct up *up, size_t n_bytes)
{
    static const uint8_t bytes[200000];
    struct process *p = &w->zygote.processes[0];
    CHECK_EQUAL(send(p->socket, up, sizeof *up, MSG_DONTWAIT | MSG_NOSIGNAL), sizeof *up);
    CHECK_EQUAL(send(p->socket, bytes, n_bytes, MSG_DONTWAIT | MSG_NOSIGNAL), n_bytes);
}

static void says_ready(struct world *w)
{
    write_up(w, &(struct up){.kind = UP_READY}, 0);
}

static void says_setup_raised(struct world *w)
{
    write_up(w, &(struct up){.kind = UP_SETUP_RAISED, .status = 3, .length = 10}, 10);
}

static void is_given_a_task(struct world *w)
{
    struct msg *msg = make_tasks(1 + w->given.n, 1, 'f', 0);
    tasks_read(w->table, msg, &w->given);
    msg_unref(msg);
    w->runner->ops->give(w->runner, 0, w->given.last);
}

static void begins(struct world *w)
{
    atomic_fetch_add(&w->zygote.processes[0].page->next, 1);
}

static void answers(struct world *w)
{
    write_up(w, &(struct up){.kind = UP_RESULT, .length = 200000}, 200000);
}

static void answers_half(struct world *w)
{
    write_up(w, &(struct up){.kind = UP_RESULT, .length = 200000}, 100000);
}

static void answers_the_other_half(struct world *w)
{
    static const uint8_t bytes[100000];
    CHECK_EQUAL(send(w->zygote.processes[0].socket, bytes, sizeof bytes, MSG_DONTWAIT | MSG_NOSIGNAL), sizeof bytes);
}

static void says_it_has_not_begun(struct world *w)
{
    atomic_store(&w->zygote.processes[0].page->next, 0);
}

static void its_tasks_are_taken_back(struct world *w)
{
    CHECK_EQUAL(w->runner->ops->take_back(w->runner, 0), 1);
}

static void answers_little(struct world *w)
{
    write_up(w, &(struct up){.kind = UP_RESULT, .length = 10}, 10);
}

static void rests_long(struct world *w)
{
    w->runner->ops->rest(w->runner, 3600000000);
}

static void rests_no_time(struct world *w)
{
    w->runner->ops->rest(w->runner, 0);
}

/* It takes all workers with it. */
static void the_zygote_dies(struct world *w)
{
    w->zygote.dead = true;
    eventfd_write(w->zygote.fd, 1);
}

static void the_zygote_can_fork_no_more(struct world *w)
{
    w->zygote.n_refused = 1;
    fake_zygote_die(&w->zygote, 0, 9);
}

static void is_started(struct world *w)
{
    w->runner->ops->start_worker(w->runner, 0);
}

/* ---- tests ------------------------------------------------------------------------------------------------------ */

static void a_worker_answers_what_it_was_given(void)
{
    struct world w;
    run(&w, (void (*const[])(struct world *)){says_ready, is_given_a_task, begins, answers, NULL});
    CHECK_EQUAL(w.n_ready, 1);
    CHECK_EQUAL(w.n_results, 1);
    CHECK_EQUAL(w.last_length, 200000);
    CHECK_EQUAL(w.n_gone, 0);
}

static void an_answer_in_two_halves_is_one(void)
{
    struct world w;
    run(&w, (void (*const[])(struct world *)){says_ready, is_given_a_task, begins, answers_half, answers_the_other_half,
                                              NULL});
    CHECK_EQUAL(w.n_results, 1);
    CHECK_EQUAL(w.last_length, 200000);
}

static void a_worker_that_is_ready_twice_is_ended(void)
{
    struct world w;
    run(&w, (void (*const[])(struct world *)){says_ready, says_ready, NULL});
    CHECK_EQUAL(w.n_ready, 1);
    CHECK_EQUAL(w.n_gone, 1);
}

static void a_setup_can_raise_only_before_the_worker_is_ready(void)
{
    struct world w;
    run(&w, (void (*const[])(struct world *)){says_setup_raised, NULL});
    CHECK_EQUAL(w.n_setup_raised, 1);
    CHECK_EQUAL(w.n_gone, 0);
    run(&w, (void (*const[])(struct world *)){says_ready, is_given_a_task, begins, says_setup_raised, NULL});
    CHECK_EQUAL(w.n_setup_raised, 0);
    CHECK_EQUAL(w.n_gone, 1);
}

static void an_answer_to_nothing_ends_its_worker(void)
{
    struct world w;
    run(&w, (void (*const[])(struct world *)){says_ready, answers, NULL});
    CHECK_EQUAL(w.n_results, 0);
    CHECK_EQUAL(w.n_gone, 1);
}

static void half_an_answer_to_a_task_that_is_taken_back_then_ends_its_worker(void)
{
    struct world w;
    run(&w, (void (*const[])(struct world *)){says_ready, is_given_a_task, begins, answers_half, says_it_has_not_begun,
                                              its_tasks_are_taken_back, answers_the_other_half, NULL});
    CHECK_EQUAL(w.n_results, 0);
    CHECK_EQUAL(w.n_gone, 1);
}

static void results_gather_unseen_until_a_rest_is_over(void)
{
    struct world w;
    run(&w, (void (*const[])(struct world *)){says_ready, is_given_a_task, begins, rests_long, answers_little, NULL});
    CHECK_EQUAL(w.n_results, 0);
    run(&w, (void (*const[])(struct world *)){says_ready, is_given_a_task, begins, rests_long, answers_little,
                                              rests_no_time, NULL});
    CHECK_EQUAL(w.n_results, 1);
}

static void nobody_rests_while_large_results_come(void)
{
    struct world w;
    run(&w, (void (*const[])(struct world *)){says_ready, is_given_a_task, begins, answers, rests_long, is_given_a_task,
                                              begins, answers_little, NULL});
    CHECK_EQUAL(w.n_results, 2);
}

static void what_workers_answered_before_their_zygote_died_is_read(void)
{
    struct world w;
    run(&w, (void (*const[])(struct world *)){says_ready, is_given_a_task, begins, rests_long, answers_little,
                                              the_zygote_dies, NULL});
    CHECK_EQUAL(w.n_failed, 1);
    CHECK_EQUAL(w.n_results_at_failure, 1);
}

static void a_worker_that_cannot_be_forked_is_gone_and_can_be_started_again(void)
{
    struct world w;
    run(&w, (void (*const[])(struct world *)){says_ready, the_zygote_can_fork_no_more, is_started, is_started,
                                              says_ready, NULL});
    CHECK_EQUAL(w.n_gone, 2);
    CHECK_EQUAL(w.n_ready, 2);
    CHECK_EQUAL(w.n_failed, 0);
}

int main(void)
{
    quiet();
    what_workers_answered_before_their_zygote_died_is_read();
    a_worker_that_cannot_be_forked_is_gone_and_can_be_started_again();
    results_gather_unseen_until_a_rest_is_over();
    nobody_rests_while_large_results_come();
    a_worker_answers_what_it_was_given();
    an_answer_in_two_halves_is_one();
    a_worker_that_is_ready_twice_is_ended();
    a_setup_can_raise_only_before_the_worker_is_ready();
    an_answer_to_nothing_ends_its_worker();
    half_an_answer_to_a_task_that_is_taken_back_then_ends_its_worker();
    return check_end("runner_fork");
}
