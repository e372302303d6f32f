/* leader: which worker gets which task, and what becomes of tasks when workers, or the leader, end. No process, no time:
 * the runner is a list of what was asked of it, and the clock a number. */
#include "leader/leader.h"

#include "check.h"
#include "messages.h"

#define N 3 /* workers */

struct fake { /* a runner whose workers do what the test says */
    struct runner runner;
    uint64_t given[N][128];
    int n_given[N], n_begun[N], n_answered[N]; /* of those in given */
    int n_started[N], n_killed[N], n_retired[N], n_freed;
    int64_t rest_us; /* as it was asked last */
};

struct world {
    struct fake fake;
    struct outbox out;
    struct leader *leader;
    int64_t now_us;
    int ended, failed, manager_gone;
};

static struct fake *self_of(struct runner *runner)
{
    return (struct fake *)runner;
}

static void prepare(struct runner *runner, const struct runner_start *start)
{
    (void)runner;
    (void)start;
}

static void start_worker(struct runner *runner, uint32_t worker)
{
    struct fake *f = self_of(runner);
    f->n_started[worker]++;
    f->n_given[worker] = f->n_begun[worker] = f->n_answered[worker] = 0;
}

static void give(struct runner *runner, uint32_t worker, const struct task *task)
{
    struct fake *f = self_of(runner);
    f->given[worker][f->n_given[worker]++] = task->id;
}

static uint32_t take_back(struct runner *runner, uint32_t worker)
{
    struct fake *f = self_of(runner);
    int n = f->n_given[worker] - f->n_begun[worker];
    f->n_given[worker] = f->n_begun[worker];
    return (uint32_t)n;
}

static void retire(struct runner *runner, uint32_t worker)
{
    self_of(runner)->n_retired[worker]++;
}

static void kill_worker(struct runner *runner, uint32_t worker)
{
    self_of(runner)->n_killed[worker]++;
}

static void flush(struct runner *runner)
{
    (void)runner;
}

static void free_runner(struct runner *runner)
{
    self_of(runner)->n_freed++;
}

static void rest(struct runner *runner, int64_t rest_us)
{
    self_of(runner)->rest_us = rest_us;
}

static const struct runner_ops ops = {prepare,     start_worker, give,        take_back, retire,
                                      kill_worker, flush,        free_runner, rest};

static void on_send(void *arg, struct msg *msg)
{
    outbox_add(&((struct world *)arg)->out, 0, msg);
}

static void on_end_runner(void *arg)
{
    struct world *w = arg;
    w->fake.runner.ops->free(&w->fake.runner);
}

static void on_ended(void *arg, bool failed)
{
    struct world *w = arg;
    w->ended++;
    w->failed = failed;
}

static void on_manager_gone(void *arg)
{
    ((struct world *)arg)->manager_gone++;
}

static void flush_world(struct world *w)
{
    leader_flush(w->leader, w->now_us);
}

static void say(struct world *w, struct msg *msg)
{
    leader_on_message(w->leader, msg, w->now_us);
    msg_unref(msg);
    flush_world(w);
}

static void begin_with(struct world *w, struct leader_settings settings)
{
    struct leader_host host = {on_send, on_end_runner, on_ended, on_manager_gone, w};
    memset(w, 0, sizeof *w);
    w->fake.runner.ops = &ops;
    w->leader = leader_new(&settings, &host, &w->fake.runner, 0);
    w->fake.runner.events = *leader_events(w->leader);
}

static void begin(struct world *w, int64_t most_prefetch)
{
    begin_with(w, (struct leader_settings){
                      .rank = 4, .n_workers = N, .n_in_node = N, .host = "here", .most_prefetch = most_prefetch});
}

static void stand(struct world *w)
{
    w->fake.runner.events.stands(w->fake.runner.events.arg, "3.11.7");
    say(w, make_start(30000, 120000));
    for (uint32_t i = 0; i < N; i++)
        w->fake.runner.events.worker_ready(w->fake.runner.events.arg, i);
    flush_world(w);
}

static void start(struct world *w, int64_t most_prefetch)
{
    begin(w, most_prefetch);
    stand(w);
}

static void end(struct world *w)
{
    leader_free(w->leader);
    outbox_clear(&w->out);
}

/* The worker begins its next task. */
static uint64_t begin_task(struct world *w, int worker)
{
    CHECK(w->fake.n_begun[worker] < w->fake.n_given[worker], "worker %d has nothing to begin", worker);
    return w->fake.given[worker][w->fake.n_begun[worker]++];
}

static void answer(struct world *w, int worker, uint32_t time_us)
{
    struct parts payload = {0};
    w->fake.n_answered[worker]++;
    struct runner_time time = {.start_us = w->now_us - time_us, .took_us = time_us};
    w->fake.runner.events.result(w->fake.runner.events.arg, (uint32_t)worker, WIRE_VALUE, &time, &payload);
}

static void run_one(struct world *w, int worker, uint32_t time_us)
{
    begin_task(w, worker);
    answer(w, worker, time_us);
    flush_world(w);
}

static void lose_for(struct world *w, int worker, int exit_code, int signal, const char *detail)
{
    struct wire_failure failure = {
        .pid = 77, .exit_code = exit_code, .signal = signal, .host = "", .block = "", .detail = detail};
    w->fake.runner.events.worker_gone(w->fake.runner.events.arg, (uint32_t)worker, &failure);
    flush_world(w);
}

static void lose(struct world *w, int worker)
{
    lose_for(w, worker, -1, 11, "dead");
}

static bool ends_with(const struct msg *bye, const char *text)
{
    size_t n = strlen(text);
    return bye->wire.ending.reason.n >= n &&
           memcmp(bye->wire.ending.reason.p + bye->wire.ending.reason.n - n, text, n) == 0;
}

static int in_hand(const struct world *w, int worker)
{
    return w->fake.n_given[worker] - w->fake.n_answered[worker];
}

/* ---- promises --------------------------------------------------------------------------------------------------- */

static void it_presents_its_node_and_then_its_credit(void)
{
    struct world w;
    start(&w, -1);
    struct msg *node = outbox_last(&w.out, WIRE_NODE), *credit = outbox_last(&w.out, WIRE_CREDIT);
    CHECK(node && node->wire.leader.node.rank == 4 && node->wire.leader.node.n_workers == N, "no NODE as it should be");
    CHECK(credit && credit->wire.count == N && credit->wire.credit.n_workers == N, "no CREDIT for each worker");
    end(&w);
}

static void tasks_go_to_free_workers_one_each_while_nothing_is_measured(void)
{
    struct world w;
    start(&w, -1);
    say(&w, make_tasks(1, 5, 'f', 0));
    for (int i = 0; i < N; i++)
        CHECK_EQUAL(in_hand(&w, i), 1);
    end(&w);
}

static void short_tasks_are_given_ahead_and_credit_grows(void)
{
    struct world w;
    start(&w, -1);
    say(&w, make_tasks(1, 200, 'f', 0));
    run_one(&w, 0, 10);
    CHECK(in_hand(&w, 0) > 10, "worker 0 has %d", in_hand(&w, 0));
    struct msg *credit = outbox_last(&w.out, WIRE_CREDIT);
    CHECK(credit->wire.count > 100, "capacity %u", credit->wire.count);
    CHECK_EQUAL(credit->wire.credit.task_us, 10);
    end(&w);
}

static void nothing_is_fetched_ahead_of_long_tasks(void)
{
    struct world w;
    start(&w, -1);
    say(&w, make_tasks(1, 3, 'f', 0));
    run_one(&w, 0, 1000000);
    CHECK_EQUAL(outbox_last(&w.out, WIRE_CREDIT)->wire.count, N);
    end(&w);
}

static void a_user_can_cap_what_is_fetched_ahead(void)
{
    struct world w;
    start(&w, 2);
    say(&w, make_tasks(1, 3, 'f', 0));
    run_one(&w, 0, 10);
    CHECK_EQUAL(outbox_last(&w.out, WIRE_CREDIT)->wire.count, N + 2);
    end(&w);
}

static void no_task_waits_behind_a_running_one_while_another_worker_is_free(void)
{
    struct world w;
    start(&w, -1);
    say(&w, make_tasks(1, 100, 'f', 0));
    for (int i = 0; i < N; i++)
        run_one(&w, i, 10); /* they have many each now */
    begin_task(&w, 0); /* and this one takes long */
    for (int round = 0; round < 200; round++)
        for (int i = 1; i < N; i++)
            if (w.fake.n_begun[i] < w.fake.n_given[i])
                run_one(&w, i, 10);
    CHECK_EQUAL(in_hand(&w, 0), 1);
    CHECK_EQUAL(outbox_items(&w.out, WIRE_RESULTS), 99);
    end(&w);
}

static void results_are_seen_at_once_while_a_worker_has_no_next_task(void)
{
    struct world w;
    start(&w, -1);
    say(&w, make_tasks(1, 1, 'f', 0));
    run_one(&w, 0, 100); /* a lone task */
    CHECK_EQUAL(w.fake.rest_us, 0);
    say(&w, make_tasks(2, N, 'f', 0));
    for (int i = 0; i < N; i++)
        run_one(&w, i, 100); /* the last of each worker */
    CHECK_EQUAL(w.fake.rest_us, 0);
    end(&w);
}

static void results_that_come_fast_may_gather_while_every_worker_has_its_next_task(void)
{
    struct world w;
    start(&w, -1);
    say(&w, make_tasks(1, 500, 'f', 0));
    for (int i = 0; i < N; i++)
        run_one(&w, i, 20); /* now each has many */
    int least = in_hand(&w, 0);
    for (int i = 1; i < N; i++)
        least = in_hand(&w, i) < least ? in_hand(&w, i) : least;
    CHECK(w.fake.rest_us > 0 && w.fake.rest_us < (least - 1) * 20, "%lld us, with %d tasks of 20 us at a worker",
          (long long)w.fake.rest_us, least);
    w.fake.rest_us = 0;
    say(&w, make_ids(WIRE_CANCEL, 0, 9999)); /* a turn without results */
    CHECK_EQUAL(w.fake.rest_us, 0);
    end(&w);
}

static void while_it_is_held_no_worker_gets_a_task_and_none_waits_at_one(void)
{
    struct world w;
    start(&w, -1);
    say(&w, make_tasks(1, 200, 'f', 0));
    run_one(&w, 0, 10); /* now it has many */
    for (int i = 1; i < N; i++)
        begin_task(&w, i);
    leader_hold(w.leader, true);
    for (int i = 0; i < N; i++)
        CHECK_EQUAL(in_hand(&w, i), i > 0); /* the one that runs */
    for (int i = 1; i < N; i++)
        answer(&w, i, 10);
    flush_world(&w);
    for (int i = 0; i < N; i++)
        CHECK_EQUAL(in_hand(&w, i), 0);
    leader_hold(w.leader, false);
    flush_world(&w);
    for (int i = 0; i < N; i++)
        CHECK(in_hand(&w, i) > 0, "worker %d has nothing", i);
    end(&w);
}

static void a_task_out_of_time_is_killed_and_answered_so(void)
{
    struct world w;
    start(&w, -1);
    say(&w, make_run(1, 1, 'f', (struct wire_run){.timeout_ms = 250}));
    begin_task(&w, 0);
    CHECK(leader_deadline_us(w.leader) == 250000, "deadline %lld", (long long)leader_deadline_us(w.leader));
    w.now_us = 249999;
    leader_on_tick(w.leader, w.now_us);
    CHECK_EQUAL(w.fake.n_killed[0], 0);
    w.now_us = 250000;
    leader_on_tick(w.leader, w.now_us);
    CHECK_EQUAL(w.fake.n_killed[0], 1);
    say(&w, make_tasks(2, 3, 'f', 0)); /* the dying worker gets none of them */
    CHECK_EQUAL(in_hand(&w, 0), 1);
    lose(&w, 0);
    struct msg *results = outbox_last(&w.out, WIRE_RESULTS);
    CHECK_EQUAL(wire_id(&results->wire, 0), 1);
    CHECK_EQUAL(wire_status(&results->wire, 0), WIRE_TIMEOUT);
    CHECK_EQUAL(w.fake.n_started[0], 2);
    end(&w);
}

static void the_first_to_be_out_of_time_is_the_next_to_be_looked_at(void)
{
    struct world w;
    start(&w, -1);
    for (uint32_t i = 0; i < N; i++) {
        say(&w, make_run(i + 1, 1, 'f', (struct wire_run){.timeout_ms = 900 - 300 * i}));
        begin_task(&w, (int)i);
    }
    CHECK_EQUAL(leader_deadline_us(w.leader), 300000);
    w.now_us = 200000;
    answer(&w, 2, 1000000); /* task 3, which had the least time */
    CHECK_EQUAL(leader_deadline_us(w.leader), 600000);
    say(&w, make_run(4, 1, 'f', (struct wire_run){.timeout_ms = 100}));
    begin_task(&w, 2);
    CHECK_EQUAL(leader_deadline_us(w.leader), 300000);
    w.now_us = 650000;
    leader_on_tick(w.leader, w.now_us);
    CHECK_EQUAL(w.fake.n_killed[0], 0);
    CHECK_EQUAL(w.fake.n_killed[1], 1);
    CHECK_EQUAL(w.fake.n_killed[2], 1);
    CHECK_EQUAL(leader_deadline_us(w.leader), 900000);
    end(&w);
}

static void a_task_whose_answer_is_on_its_way_is_not_killed_and_not_looked_at_again(void)
{
    struct world w;
    start(&w, -1);
    say(&w, make_tasks(1, 3, 'f', 0));
    run_one(&w, 0, 1000000); /* a worker has one more ahead then */
    begin_task(&w, 1);
    begin_task(&w, 2);
    say(&w, make_run(4, 4, 'f', (struct wire_run){.timeout_ms = 250}));
    CHECK_EQUAL(in_hand(&w, 0), 2);
    begin_task(&w, 0);
    begin_task(&w, 0); /* so it has answered the first */
    w.now_us = 300000;
    leader_on_tick(w.leader, w.now_us);
    CHECK_EQUAL(w.fake.n_killed[0], 0);
    CHECK(leader_deadline_us(w.leader) > w.now_us, "deadline %lld", (long long)leader_deadline_us(w.leader));
    answer(&w, 0, 1000000);
    CHECK_EQUAL(leader_deadline_us(w.leader), 550000);
    w.now_us = 550000;
    leader_on_tick(w.leader, w.now_us);
    CHECK_EQUAL(w.fake.n_killed[0], 1);
    end(&w);
}

static void a_timed_task_that_has_not_begun_is_not_killed(void)
{
    struct world w;
    start(&w, -1);
    say(&w, make_run(1, 1, 'f', (struct wire_run){.timeout_ms = 250}));
    w.now_us = 300000; /* its worker was held up */
    leader_on_tick(w.leader, w.now_us);
    flush_world(&w);
    CHECK_EQUAL(w.fake.n_killed[0], 0);
    CHECK(leader_deadline_us(w.leader) == 550000, "deadline %lld", (long long)leader_deadline_us(w.leader));
    end(&w);
}

static void an_answer_that_overtakes_the_kill_counts_and_costs_nobody(void)
{
    struct world w;
    start(&w, -1);
    say(&w, make_run(1, 1, 'f', (struct wire_run){.timeout_ms = 250}));
    begin_task(&w, 0);
    w.now_us = 250000;
    leader_on_tick(w.leader, w.now_us);
    answer(&w, 0, 250000);
    flush_world(&w);
    struct msg *results = outbox_last(&w.out, WIRE_RESULTS);
    CHECK_EQUAL(wire_status(&results->wire, 0), WIRE_VALUE);
    say(&w, make_tasks(2, 3, 'f', 0));
    CHECK_EQUAL(in_hand(&w, 0), 0);
    lose(&w, 0);
    CHECK_EQUAL(outbox_items(&w.out, WIRE_RESULTS), 1);
    end(&w);
}

static void a_worker_is_replaced_after_as_many_tasks_as_it_may_run(void)
{
    struct world w;
    begin_with(&w, (struct leader_settings){
                       .n_workers = N, .n_in_node = N, .host = "here", .most_prefetch = -1, .most_tasks = 2});
    stand(&w);
    say(&w, make_tasks(1, 20, 'f', 0));
    run_one(&w, 0, 10);
    CHECK_EQUAL(w.fake.n_retired[0], 0);
    CHECK_EQUAL(in_hand(&w, 0), 1);
    run_one(&w, 0, 10);
    CHECK_EQUAL(w.fake.n_retired[0], 1);
    CHECK_EQUAL(in_hand(&w, 0), 0);
    lose(&w, 0);
    CHECK_EQUAL(w.fake.n_started[0], 2);
    w.fake.runner.events.worker_ready(w.fake.runner.events.arg, 0);
    flush_world(&w);
    CHECK_EQUAL(in_hand(&w, 0), 1);
    CHECK_EQUAL(outbox_items(&w.out, WIRE_RESULTS), 2);
    end(&w);
}

static void a_worker_that_is_to_be_replaced_and_does_not_leave_is_killed(void)
{
    struct world w;
    begin_with(&w, (struct leader_settings){
                       .n_workers = N, .n_in_node = N, .host = "here", .most_prefetch = -1, .most_tasks = 1});
    stand(&w);
    w.now_us = 1000000;
    say(&w, make_tasks(1, 1, 'f', 0));
    run_one(&w, 0, 10);
    CHECK_EQUAL(w.fake.n_retired[0], 1);
    CHECK_EQUAL(leader_deadline_us(w.leader), 6000000);
    w.now_us = 6000000;
    leader_on_tick(w.leader, w.now_us);
    CHECK_EQUAL(w.fake.n_killed[0], 1);
    CHECK(leader_deadline_us(w.leader) > w.now_us, "deadline %lld", (long long)leader_deadline_us(w.leader));
    lose(&w, 0);
    CHECK_EQUAL(w.fake.n_started[0], 2);
    end(&w);
}

static void a_lost_worker_costs_the_task_it_ran_and_no_other(void)
{
    struct world w;
    start(&w, -1);
    say(&w, make_tasks(1, 60, 'f', 0));
    run_one(&w, 0, 10);
    uint64_t running = begin_task(&w, 0);
    int before = in_hand(&w, 0);
    CHECK(before > 1, "only %d", before);
    lose(&w, 0);
    struct msg *results = outbox_last(&w.out, WIRE_RESULTS);
    CHECK_EQUAL(results->wire.count, 1);
    CHECK_EQUAL(wire_id(&results->wire, 0), running);
    CHECK_EQUAL(wire_status(&results->wire, 0), WIRE_WORKER_LOST);
    CHECK_EQUAL(w.fake.n_started[0], 2); /* replaced */
    CHECK_EQUAL(outbox_last(&w.out, WIRE_CREDIT)->wire.credit.n_workers, N - 1);
    for (int round = 0; round < 100; round++)
        for (int i = 1; i < N; i++)
            if (w.fake.n_begun[i] < w.fake.n_given[i])
                run_one(&w, i, 10);
    CHECK_EQUAL(outbox_items(&w.out, WIRE_RESULTS), 60);
    end(&w);
}

static void a_worker_that_died_idle_costs_nothing(void)
{
    struct world w;
    start(&w, -1);
    lose(&w, 1);
    CHECK_EQUAL(outbox_count(&w.out, WIRE_RESULTS), 0);
    CHECK_EQUAL(w.fake.n_started[1], 2);
    end(&w);
}

static void a_task_that_ends_every_worker_before_it_begins_is_lost_in_the_end(void)
{
    struct world w;
    start(&w, -1);
    say(&w, make_tasks(1, 4, 'f', 0)); /* task 1 is worker 0's, and task 4 waits */
    begin_task(&w, 1);
    begin_task(&w, 2);
    for (int i = 0; i < 3; i++) {
        CHECK_EQUAL(outbox_items(&w.out, WIRE_RESULTS), 0);
        CHECK_EQUAL(w.fake.given[0][0], 1);
        lose(&w, 0);
        w.fake.runner.events.worker_ready(w.fake.runner.events.arg, 0);
        flush_world(&w);
    }
    struct msg *results = outbox_last(&w.out, WIRE_RESULTS);
    CHECK(results && results->wire.count == 1 && wire_id(&results->wire, 0) == 1, "task 1 has no answer");
    CHECK_EQUAL(w.fake.given[0][0], 4);
    CHECK_EQUAL(begin_task(&w, 0), 4);
    answer(&w, 0, 10);
    flush_world(&w);
    CHECK_EQUAL(outbox_items(&w.out, WIRE_RESULTS), 2);
    end(&w);
}

static void workers_that_never_start_end_the_rank_with_the_reason(void)
{
    struct world w;
    begin(&w, -1);
    say(&w, make_start(30000, 120000));
    for (int i = 0; i < 3; i++)
        lose(&w, 0);
    struct msg *bye = outbox_last(&w.out, WIRE_BYE);
    CHECK(bye && bye->wire.count == WIRE_FAILED, "no BYE");
    CHECK(bye && ends_with(bye, "no worker can be started (signal 11): dead"), "the reason is not in it");
    CHECK_EQUAL(w.ended, 1);
    CHECK_EQUAL(w.failed, 1);
    CHECK_EQUAL(w.fake.n_freed, 1);
    end(&w);
}

static void of_workers_that_said_nothing_it_says_so(void)
{
    struct world w;
    begin(&w, -1);
    say(&w, make_start(30000, 120000));
    for (int i = 0; i < 3; i++)
        lose_for(&w, 0, 5, 0, "");
    struct msg *bye = outbox_last(&w.out, WIRE_BYE);
    CHECK(bye && ends_with(bye, "no worker can be started (exit code 5): it wrote nothing to stderr"),
          "the reason is missing");
    end(&w);
}

static void a_setup_that_raises_ends_the_block_with_the_exception(void)
{
    struct world w;
    struct parts exception = {0};
    struct bytes *bytes = bytes_new(4);
    memcpy(bytes_data(bytes), "boom", 4);
    parts_add(&exception, bytes, bytes_data(bytes), 4);
    bytes_unref(bytes);
    begin(&w, -1);
    say(&w, make_start(30000, 120000));
    w.fake.runner.events.setup_raised(w.fake.runner.events.arg, 0, "it raised", &exception);
    flush_world(&w);
    struct msg *bye = outbox_last(&w.out, WIRE_BYE);
    CHECK(bye && bye->wire.count == WIRE_SETUP_RAISED && bye->payload.length == 4, "no BYE with the exception");
    parts_clear(&exception);
    end(&w);
}

static void cancel_drops_what_has_not_begun_and_tells_what_has(void)
{
    struct world w;
    start(&w, -1);
    say(&w, make_tasks(1, 5, 'f', 0));
    uint64_t running = begin_task(&w, 0);
    say(&w, make_ids(WIRE_CANCEL, 0, running));
    CHECK_EQUAL(wire_id(&outbox_last(&w.out, WIRE_STARTED)->wire, 0), running);
    say(&w, make_ids(WIRE_CANCEL, 0, w.fake.given[1][0])); /* given, not begun */
    struct msg *results = outbox_last(&w.out, WIRE_RESULTS);
    CHECK_EQUAL(wire_status(&results->wire, 0), WIRE_CANCELLED);
    say(&w, make_ids(WIRE_CANCEL, 0, 5)); /* in the queue */
    results = outbox_last(&w.out, WIRE_RESULTS);
    CHECK_EQUAL(wire_id(&results->wire, 0), 5);
    CHECK_EQUAL(wire_status(&results->wire, 0), WIRE_CANCELLED);
    int n = w.out.n;
    say(&w, make_ids(WIRE_CANCEL, 0, 999)); /* not known */
    CHECK_EQUAL(w.out.n, n);
    end(&w);
}

static void of_many_that_are_cancelled_at_once_each_has_its_answer(void)
{
    struct world w;
    start(&w, -1);
    say(&w, make_tasks(1, 200, 'f', 0));
    run_one(&w, 0, 10); /* task 1; they are given many ahead */
    uint64_t ids[200], first = begin_task(&w, 0), second = begin_task(&w, 1), third = begin_task(&w, 2);
    for (uint32_t i = 0; i < 200; i++)
        ids[i] = 200 - i;
    outbox_clear(&w.out);
    say(&w, make_some_ids(WIRE_CANCEL, 0, ids, 200));
    struct msg *started = outbox_last(&w.out, WIRE_STARTED);
    CHECK_EQUAL(outbox_count(&w.out, WIRE_STARTED), 1);
    CHECK_EQUAL(started->wire.count, 3);
    for (uint32_t i = 0; i < 3; i++) {
        uint64_t id = wire_id(&started->wire, i);
        CHECK(id == first || id == second || id == third, "%llu has started", (unsigned long long)id);
    }
    CHECK_EQUAL(outbox_items(&w.out, WIRE_RESULTS), 196);
    for (int i = 0; i < N; i++)
        CHECK_EQUAL(in_hand(&w, i), 1);
    end(&w);
}

static void cancel_with_kill_ends_the_worker_and_answers_cancelled(void)
{
    struct world w;
    start(&w, -1);
    say(&w, make_tasks(1, 1, 'f', 0));
    int worker = in_hand(&w, 0) ? 0 : in_hand(&w, 1) ? 1 : 2;
    uint64_t running = begin_task(&w, worker);
    say(&w, make_ids(WIRE_CANCEL, WIRE_KILL, running));
    CHECK_EQUAL(w.fake.n_killed[worker], 1);
    lose(&w, worker);
    struct msg *results = outbox_last(&w.out, WIRE_RESULTS);
    CHECK_EQUAL(wire_id(&results->wire, 0), running);
    CHECK_EQUAL(wire_status(&results->wire, 0), WIRE_CANCELLED);
    end(&w);
}

static void cancel_with_kill_finds_a_task_that_others_wait_behind(void)
{
    struct world w;
    start(&w, -1);
    say(&w, make_tasks(1, 200, 'f', 0));
    run_one(&w, 0, 10); /* short ones: it is given many */
    uint64_t running = begin_task(&w, 0);
    CHECK(in_hand(&w, 0) > 1, "nothing waits behind it");
    say(&w, make_ids(WIRE_CANCEL, WIRE_KILL, running));
    CHECK_EQUAL(w.fake.n_killed[0], 1);
    end(&w);
}

static void recall_gives_back_what_has_not_begun(void)
{
    struct world w;
    start(&w, -1);
    say(&w, make_tasks(1, 100, 'f', 0));
    run_one(&w, 0, 10);
    begin_task(&w, 0);
    outbox_clear(&w.out);
    say(&w, msg_bare(WIRE_RECALL, 0, 50));
    CHECK_EQUAL(outbox_items(&w.out, WIRE_TASKS), 50);
    outbox_clear(&w.out);
    say(&w, msg_bare(WIRE_RECALL, 0, 10000));
    CHECK(outbox_items(&w.out, WIRE_TASKS) >= 45, "%u", outbox_items(&w.out, WIRE_TASKS));
    outbox_clear(&w.out);
    for (int i = 0; i < N; i++)
        while (w.fake.n_begun[i] < w.fake.n_given[i])
            begin_task(&w, i);
    say(&w, msg_bare(WIRE_RECALL, 0, 1));
    CHECK_EQUAL(outbox_items(&w.out, WIRE_TASKS), 0);
    CHECK_EQUAL(outbox_count(&w.out, WIRE_CREDIT), 1); /* so that it is over all the same */
    end(&w);
}

static void stop_gives_back_waits_for_what_runs_and_says_bye(void)
{
    struct world w;
    start(&w, -1);
    say(&w, make_tasks(1, 10, 'f', 0));
    begin_task(&w, 0);
    say(&w, msg_bare(WIRE_STOP, 0, 5000));
    CHECK_EQUAL(outbox_items(&w.out, WIRE_TASKS), 9);
    CHECK_EQUAL(w.ended, 0);
    answer(&w, 0, 10);
    flush_world(&w);
    CHECK_EQUAL(w.ended, 1);
    CHECK_EQUAL(outbox_items(&w.out, WIRE_RESULTS), 1);
    CHECK_EQUAL(outbox_last(&w.out, WIRE_BYE)->wire.count, WIRE_ASKED);
    CHECK_EQUAL(w.fake.n_freed, 1);
    end(&w);
}

static void the_grace_of_a_stop_runs_out(void)
{
    struct world w;
    start(&w, -1);
    say(&w, make_tasks(1, 1, 'f', 0));
    begin_task(&w, in_hand(&w, 0) ? 0 : in_hand(&w, 1) ? 1 : 2);
    say(&w, msg_bare(WIRE_STOP, 0, 5000));
    CHECK_EQUAL(leader_deadline_us(w.leader), 5000000);
    w.now_us = 5000000;
    leader_on_tick(w.leader, w.now_us);
    flush_world(&w);
    CHECK_EQUAL(w.ended, 1);
    end(&w);
}

static void stop_now_does_not_wait(void)
{
    struct world w;
    start(&w, -1);
    say(&w, make_tasks(1, 10, 'f', 0));
    begin_task(&w, 0);
    say(&w, msg_bare(WIRE_STOP, WIRE_NOW, 0));
    CHECK_EQUAL(w.ended, 1);
    CHECK_EQUAL(outbox_items(&w.out, WIRE_TASKS), 9);
    say(&w, make_tasks(50, 3, 'f', 0)); /* too late: given back */
    CHECK_EQUAL(outbox_items(&w.out, WIRE_TASKS), 12);
    end(&w);
}

static void a_silent_manager_is_given_up_and_a_quiet_leader_is_not(void)
{
    struct world w;
    start(&w, -1);
    outbox_clear(&w.out);
    w.now_us = 30000000;
    leader_on_tick(w.leader, w.now_us);
    CHECK_EQUAL(outbox_count(&w.out, WIRE_HEARTBEAT), 1);
    say(&w, msg_heartbeat(5, 0));
    CHECK_EQUAL(outbox_last(&w.out, WIRE_HEARTBEAT)->wire.heartbeat.clock_us, 30000000);
    CHECK_EQUAL(outbox_last(&w.out, WIRE_HEARTBEAT)->wire.heartbeat.echo_us, 5);
    w.now_us = 149000000;
    leader_on_tick(w.leader, w.now_us);
    CHECK_EQUAL(w.ended, 0);
    w.now_us = 150000002;
    leader_on_tick(w.leader, w.now_us);
    flush_world(&w);
    CHECK_EQUAL(w.ended, 1);
    CHECK_EQUAL(w.failed, 1);
    end(&w);
}

static void tick_at(struct world *w, int64_t now_us)
{
    w->now_us = now_us;
    leader_on_tick(w->leader, now_us);
    flush_world(w);
}

static void a_leader_that_has_drained_waits_for_the_last_stop_while_its_manager_lives(void)
{
    struct world w;
    start(&w, -1);
    say(&w, msg_bare(WIRE_STOP, 0, UINT32_MAX));
    CHECK_EQUAL(w.ended, 1);
    tick_at(&w, 100000000);
    say(&w, msg_heartbeat(1, 0));
    CHECK_EQUAL(leader_deadline_us(w.leader), 220000001);
    tick_at(&w, 220000000);
    CHECK_EQUAL(w.manager_gone, 0);
    tick_at(&w, 220000001);
    CHECK_EQUAL(w.manager_gone, 1);
    CHECK_EQUAL(leader_deadline_us(w.leader), INT64_MAX);
    tick_at(&w, 900000000);
    CHECK_EQUAL(w.manager_gone, 1);
    end(&w);
}

static void fail(struct world *w, const char *reason)
{
    w->fake.runner.events.failed(w->fake.runner.events.arg, reason);
    flush_world(w);
}

static void what_a_failed_rank_ran_is_lost_with_its_reason_and_the_rest_comes_back(void)
{
    struct world w;
    start(&w, N); /* prefetch */
    for (int i = 0; i < 40; i++) { /* until tasks are known to be short */
        say(&w, make_tasks(100 + (uint64_t)i, 1, 'f', 0));
        for (int j = 0; j < N; j++)
            if (w.fake.n_given[j] > w.fake.n_begun[j])
                run_one(&w, j, 10);
    }
    say(&w, make_tasks(1, N + 2, 'f', 0));
    for (int i = 0; i < N; i++)
        begin_task(&w, i);
    int before = outbox_count(&w.out, WIRE_RESULTS);
    fail(&w, "the zygote has died");
    struct msg *results = outbox_last(&w.out, WIRE_RESULTS), *back = outbox_last(&w.out, WIRE_TASKS);
    CHECK_EQUAL(outbox_count(&w.out, WIRE_RESULTS), before + 1);
    CHECK_EQUAL(results->wire.count, N);
    for (uint32_t i = 0; i < results->wire.count; i++)
        CHECK_EQUAL(wire_status(&results->wire, i), WIRE_WORKER_LOST);
    CHECK(back && back->wire.count == 2, "what had not begun did not come back");
    CHECK_EQUAL(w.out.v[w.out.n - 1]->wire.type, WIRE_BYE);
    end(&w);
}

static void a_leader_that_has_failed_waits_for_the_last_stop_while_its_manager_lives(void)
{
    struct world w;
    start(&w, -1);
    w.now_us = 100000000;
    fail(&w, "the zygote has died");
    CHECK_EQUAL(w.failed, 1);
    say(&w, msg_heartbeat(1, 0));
    CHECK_EQUAL(leader_deadline_us(w.leader), 220000001); /* the threshold later */
    tick_at(&w, 220000000);
    CHECK_EQUAL(w.manager_gone, 0);
    tick_at(&w, 220000001);
    CHECK_EQUAL(w.manager_gone, 1);
    end(&w);
}

static void a_leader_whose_manager_is_silent_fails_and_waits_some_seconds_more(void)
{
    struct world w;
    start(&w, -1);
    w.now_us = 120000001;
    tick_at(&w, w.now_us);
    flush_world(&w);
    CHECK_EQUAL(w.failed, 1);
    CHECK_EQUAL(leader_deadline_us(w.leader), 123000001);
    end(&w);
}

static void a_leader_that_fails_before_its_block_is_welcome_waits(void)
{
    struct world w;
    begin(&w, -1);
    fail(&w, "Python does not start");
    CHECK_EQUAL(w.failed, 1);
    CHECK_EQUAL(leader_deadline_us(w.leader), INT64_MAX); /* its manager may try for --probe-timeout to be heard */
    say(&w, make_start(30000, 120000)); /* the block goes on without this rank */
    CHECK_EQUAL(leader_deadline_us(w.leader), 120000001);
    end(&w);
}

int main(void)
{
    quiet();
    it_presents_its_node_and_then_its_credit();
    tasks_go_to_free_workers_one_each_while_nothing_is_measured();
    short_tasks_are_given_ahead_and_credit_grows();
    nothing_is_fetched_ahead_of_long_tasks();
    a_user_can_cap_what_is_fetched_ahead();
    no_task_waits_behind_a_running_one_while_another_worker_is_free();
    results_are_seen_at_once_while_a_worker_has_no_next_task();
    results_that_come_fast_may_gather_while_every_worker_has_its_next_task();
    while_it_is_held_no_worker_gets_a_task_and_none_waits_at_one();
    a_task_out_of_time_is_killed_and_answered_so();
    the_first_to_be_out_of_time_is_the_next_to_be_looked_at();
    a_task_whose_answer_is_on_its_way_is_not_killed_and_not_looked_at_again();
    a_timed_task_that_has_not_begun_is_not_killed();
    an_answer_that_overtakes_the_kill_counts_and_costs_nobody();
    a_worker_is_replaced_after_as_many_tasks_as_it_may_run();
    a_worker_that_is_to_be_replaced_and_does_not_leave_is_killed();
    a_lost_worker_costs_the_task_it_ran_and_no_other();
    a_worker_that_died_idle_costs_nothing();
    a_task_that_ends_every_worker_before_it_begins_is_lost_in_the_end();
    workers_that_never_start_end_the_rank_with_the_reason();
    of_workers_that_said_nothing_it_says_so();
    a_setup_that_raises_ends_the_block_with_the_exception();
    cancel_drops_what_has_not_begun_and_tells_what_has();
    of_many_that_are_cancelled_at_once_each_has_its_answer();
    cancel_with_kill_ends_the_worker_and_answers_cancelled();
    cancel_with_kill_finds_a_task_that_others_wait_behind();
    recall_gives_back_what_has_not_begun();
    stop_gives_back_waits_for_what_runs_and_says_bye();
    the_grace_of_a_stop_runs_out();
    stop_now_does_not_wait();
    a_silent_manager_is_given_up_and_a_quiet_leader_is_not();
    a_leader_that_has_drained_waits_for_the_last_stop_while_its_manager_lives();
    what_a_failed_rank_ran_is_lost_with_its_reason_and_the_rest_comes_back();
    a_leader_that_has_failed_waits_for_the_last_stop_while_its_manager_lives();
    a_leader_whose_manager_is_silent_fails_and_waits_some_seconds_more();
    a_leader_that_fails_before_its_block_is_welcome_waits();
    return check_end("leader");
}
