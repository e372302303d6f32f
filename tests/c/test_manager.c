/* manager: how a block begins, which rank gets which task, what goes up, and how a block ends. Messages in, messages out,
 * and the clock is a number. */
#include "manager/clock.h"
#include "manager/manager.h"

#include "check.h"
#include "messages.h"

#define UP 1000000u /* "rank" of the interchange in the outbox */

struct world {
    struct outbox out;
    struct manager *manager;
    int64_t now_us;
    uint32_t n_ranks;
    int over, exit_code, orderly;
    bool busy; /* the interchange */
    bool deaf; /* the ranks: what they are sent is not kept */
    char reason[512];
};

static void on_to_rank(void *arg, uint32_t rank, struct msg *msg)
{
    struct world *w = arg;
    if (w->deaf)
        msg_unref(msg);
    else
        outbox_add(&w->out, rank, msg);
}

static void on_to_interchange(void *arg, struct msg *msg)
{
    outbox_add(&((struct world *)arg)->out, UP, msg);
}

static bool is_busy(void *arg)
{
    return ((struct world *)arg)->busy;
}

static void on_over(void *arg, int exit_code, bool orderly, const char *reason)
{
    struct world *w = arg;
    w->over++;
    w->exit_code = exit_code;
    w->orderly = orderly;
    snprintf(w->reason, sizeof w->reason, "%s", reason);
}

static void flush(struct world *w)
{
    manager_flush(w->manager, w->now_us);
}

static void say_to_manager(struct world *w, uint32_t rank, struct msg *msg)
{
    manager_on_rank(w->manager, rank, msg, w->now_us);
    msg_unref(msg);
}

static void from_rank(struct world *w, uint32_t rank, struct msg *msg)
{
    say_to_manager(w, rank, msg);
    flush(w);
}

static void from_interchange(struct world *w, struct msg *msg)
{
    manager_on_interchange(w->manager, msg, w->now_us);
    msg_unref(msg);
    flush(w);
}

static struct msg *make_node(uint32_t rank, uint32_t n_workers)
{
    struct wire_node node = {.rank = rank, .pid = 10 + rank, .n_workers = n_workers, .host = {"n", 1}};
    struct wire_message present = {.type = WIRE_NODE, .leader = {node, wire_text_of("3.11.7")}};
    return msg_make(present, NULL);
}

static struct msg *make_welcome(void)
{
    return msg_make((struct wire_message){.type = WIRE_WELCOME, .welcome = {30000, 120000, 0, 0}}, NULL);
}

static void begin_with(struct world *w, struct manager_settings settings)
{
    struct manager_host host = {on_to_rank, on_to_interchange, is_busy, on_over, w};
    settings.block_id = "7";
    settings.pool_id = "p";
    settings.xse_version = "1";
    settings.mpi = "MPI";
    settings.zmq = "4";
    settings.grace_ms = 1000;
    memset(w, 0, sizeof *w);
    w->n_ranks = settings.n_ranks;
    w->manager = manager_new(&settings, &host, 0);
}

static void begin(struct world *w, uint32_t n_ranks, int64_t drain_after_us)
{
    begin_with(w, (struct manager_settings){
                      .n_ranks = n_ranks, .start_timeout_us = 60000000, .drain_after_us = drain_after_us});
}

/* Running, each rank with so many workers and credit for twice as many. */
static void start(struct world *w, uint32_t n_ranks, uint32_t n_workers)
{
    begin(w, n_ranks, 0);
    for (uint32_t i = 0; i < n_ranks; i++)
        from_rank(w, i, make_node(i, n_workers));
    from_interchange(w, make_welcome());
    for (uint32_t i = 0; i < n_ranks; i++)
        from_rank(w, i, make_credit(2 * n_workers, n_workers, 50));
}

static void end(struct world *w)
{
    manager_free(w->manager);
    outbox_clear(&w->out);
}

static unsigned sent_to(const struct world *w, uint32_t to, enum wire_type type)
{
    unsigned n = 0;
    for (int i = 0; i < w->out.n; i++)
        if (w->out.to[i] == to && w->out.v[i]->wire.type == type)
            n += w->out.v[i]->wire.count ? w->out.v[i]->wire.count : 1;
    return n;
}

static void bye_from_all(struct world *w)
{
    for (uint32_t i = 0; i < w->n_ranks; i++)
        from_rank(w, i, msg_text(WIRE_BYE, WIRE_ASKED, ""));
}

/* ---- promises --------------------------------------------------------------------------------------------------- */

static void it_registers_when_every_rank_stands_and_starts_them_when_welcome(void)
{
    struct world w;
    begin(&w, 3, 0);
    from_rank(&w, 0, make_node(0, 2));
    from_rank(&w, 2, make_node(2, 4));
    CHECK_EQUAL(outbox_count(&w.out, WIRE_REGISTER), 0);
    from_rank(&w, 1, make_node(1, 3));
    struct msg *hello = outbox_last(&w.out, WIRE_REGISTER);
    CHECK(hello && hello->wire.count == 3, "no REGISTER with three nodes");
    from_interchange(&w, make_welcome());
    CHECK_EQUAL(outbox_count(&w.out, WIRE_START), 3);
    for (int i = 0; i < w.out.n; i++)
        CHECK(w.out.v[i]->wire.type != WIRE_START || w.out.v[i] == outbox_last(&w.out, WIRE_START),
              "START is made for each rank");
    end(&w);
}

/* Rank 1's clock is 500 s ahead of ours, rank 2's an hour behind; both heartbeats are under way for 200 us. */
static void starts_of_results_move_to_the_clock_of_the_manager(void)
{
    struct world w;
    start(&w, 3, 2);
    from_interchange(&w, make_tasks(1, 6, 'f', 0));
    w.now_us = 4000000000 + 200;
    from_rank(&w, 1, msg_heartbeat(4000000000 + 500000000 + 100, 4000000000));
    from_rank(&w, 2, msg_heartbeat(4000000000 - 3600000000 + 100, 4000000000));
    from_rank(&w, 1, make_result_begun(1, 4500000500, 7));
    CHECK_EQUAL(wire_start(&outbox_last(&w.out, WIRE_RESULTS)->wire, 0), 4000000500);
    CHECK_EQUAL(wire_worker(&outbox_last(&w.out, WIRE_RESULTS)->wire, 0), 7);
    from_rank(&w, 2, make_result_begun(2, 400000500, 9));
    CHECK_EQUAL(wire_start(&outbox_last(&w.out, WIRE_RESULTS)->wire, 0), 4000000500);
    from_rank(&w, 0, make_result_begun(3, 4000000500, 0));
    CHECK_EQUAL(wire_start(&outbox_last(&w.out, WIRE_RESULTS)->wire, 0), 4000000500);
    from_rank(&w, 2, make_result_begun(4, 0, 0)); /* it never began */
    CHECK_EQUAL(wire_start(&outbox_last(&w.out, WIRE_RESULTS)->wire, 0), 0);
    end(&w);
}

static void a_heartbeat_of_the_interchange_is_answered_with_its_own_clock(void)
{
    struct world w;
    start(&w, 1, 2);
    w.now_us = 77;
    from_interchange(&w, msg_heartbeat(123456789, 0));
    struct wire_heartbeat answer = outbox_last(&w.out, WIRE_HEARTBEAT)->wire.heartbeat;
    CHECK_EQUAL(sent_to(&w, UP, WIRE_HEARTBEAT), 1);
    CHECK_EQUAL(answer.echo_us, 123456789);
    CHECK_EQUAL(answer.clock_us, 77);
    end(&w);
}

static void the_quickest_answer_tells_a_clock_until_it_is_old(void)
{
    struct clock clock = {0};
    clock_learn(&clock, 1000, 51000, 1100);
    CHECK_EQUAL(clock.ahead_us, 49950);
    clock_learn(&clock, 2000, 59000, 9000); /* slow, so it knows little */
    CHECK_EQUAL(clock.ahead_us, 49950);
    clock_learn(&clock, 10000, 60040, 10020);
    CHECK_EQUAL(clock.ahead_us, 50030);
    clock_learn(&clock, 30000, 60040, 20000); /* from the future */
    CHECK_EQUAL(clock.ahead_us, 50030);
    for (int i = 0; i < 20; i++) /* now all are slow, and the clock has drifted */
        clock_learn(&clock, 50000, 101025, 50050);
    CHECK_EQUAL(clock.ahead_us, 51000);
}

static void its_credit_is_the_sum(void)
{
    struct world w;
    start(&w, 4, 3);
    struct msg *credit = outbox_last(&w.out, WIRE_CREDIT);
    CHECK_EQUAL(credit->wire.count, 24);
    CHECK_EQUAL(credit->wire.credit.n_workers, 12);
    CHECK_EQUAL(credit->wire.credit.task_us, 50);
    end(&w);
}

static void what_tasks_take_is_the_mean_over_workers_as_they_come_and_go(void)
{
    struct world w;
    start(&w, 3, 2);
    from_rank(&w, 0, make_credit(4, 4, 1000));
    CHECK_EQUAL(outbox_last(&w.out, WIRE_CREDIT)->wire.credit.task_us, (4 * 1000 + 2 * 50 + 2 * 50) / 8);
    from_rank(&w, 1, make_credit(0, 0, 50));
    CHECK_EQUAL(outbox_last(&w.out, WIRE_CREDIT)->wire.credit.task_us, (4 * 1000 + 2 * 50) / 6);
    from_rank(&w, 2, make_credit(1, 1, UINT32_MAX));
    CHECK_EQUAL(outbox_last(&w.out, WIRE_CREDIT)->wire.credit.task_us, (4 * 1000ull + UINT32_MAX) / 5);
    end(&w);
}

static void tasks_are_shared_out_evenly_waiting_workers_first(void)
{
    struct world w;
    start(&w, 4, 3);
    from_interchange(&w, make_tasks(1, 8, 'f', 0));
    for (uint32_t i = 0; i < 4; i++)
        CHECK_EQUAL(sent_to(&w, i, WIRE_TASKS), 2);
    from_interchange(&w, make_tasks(9, 4, 'f', 0));
    for (uint32_t i = 0; i < 4; i++)
        CHECK_EQUAL(sent_to(&w, i, WIRE_TASKS), 3); /* every worker has one before any has two */
    from_interchange(&w, make_tasks(13, 40, 'f', 0));
    for (uint32_t i = 0; i < 4; i++)
        CHECK_EQUAL(sent_to(&w, i, WIRE_TASKS), 6); /* and no more than the credit */
    end(&w);
}

static void a_result_is_a_new_credit(void)
{
    struct world w;
    start(&w, 1, 2);
    from_interchange(&w, make_tasks(1, 10, 'f', 0));
    CHECK_EQUAL(sent_to(&w, 0, WIRE_TASKS), 4);
    from_rank(&w, 0, make_results(1, 2));
    CHECK_EQUAL(sent_to(&w, 0, WIRE_TASKS), 6);
    CHECK_EQUAL(outbox_items(&w.out, WIRE_RESULTS), 2);
    end(&w);
}

static void while_it_is_held_no_rank_gets_a_task(void)
{
    struct world w;
    start(&w, 2, 2);
    manager_hold(w.manager, true);
    from_interchange(&w, make_tasks(1, 10, 'f', 0));
    CHECK_EQUAL(outbox_items(&w.out, WIRE_TASKS), 0);
    manager_hold(w.manager, false);
    flush(&w);
    CHECK_EQUAL(outbox_items(&w.out, WIRE_TASKS), 8);
    end(&w);
}

static void results_of_one_turn_go_up_in_one_message(void)
{
    struct world w;
    start(&w, 3, 2);
    from_interchange(&w, make_tasks(1, 6, 'f', 0));
    for (uint32_t i = 0; i < 3; i++) {
        struct msg *results = make_results(1 + 2 * i, 2);
        manager_on_rank(w.manager, i, results, w.now_us);
        msg_unref(results);
    }
    flush(&w);
    CHECK_EQUAL(outbox_count(&w.out, WIRE_RESULTS), 1);
    CHECK_EQUAL(outbox_items(&w.out, WIRE_RESULTS), 6);
    end(&w);
}

static void results_gather_while_the_interchange_is_busy(void)
{
    struct world w;
    start(&w, 1, 4);
    from_interchange(&w, make_tasks(1, 8, 'f', 0));
    w.busy = true;
    for (uint64_t id = 1; id <= 3; id++)
        from_rank(&w, 0, make_results(id, 1));
    CHECK_EQUAL(sent_to(&w, UP, WIRE_RESULTS), 0);
    w.busy = false;
    flush(&w);
    CHECK_EQUAL(sent_to(&w, UP, WIRE_RESULTS), 3);
    CHECK_EQUAL(outbox_last(&w.out, WIRE_RESULTS)->wire.count, 3); /* in one message */
    w.busy = true;
    from_rank(&w, 0, make_result_of(4, 100u << 10)); /* which waits for nobody */
    CHECK_EQUAL(sent_to(&w, UP, WIRE_RESULTS), 4);
    end(&w);
}

static void results_that_gathered_are_sent_before_the_end(void)
{
    struct world w;
    start(&w, 1, 4);
    from_interchange(&w, make_tasks(1, 2, 'f', 0));
    w.busy = true;
    from_rank(&w, 0, make_results(1, 2));
    from_interchange(&w, msg_bare(WIRE_STOP, WIRE_NOW, 0));
    bye_from_all(&w);
    CHECK_EQUAL(w.over, 1);
    CHECK_EQUAL(sent_to(&w, UP, WIRE_RESULTS), 2);
    CHECK(w.out.v[w.out.n - 1]->wire.type == WIRE_BYE, "BYE is not the last");
    end(&w);
}

static void results_that_were_not_asked_for_go_nowhere(void)
{
    struct world w;
    quiet();
    start(&w, 1, 2);
    from_rank(&w, 0, make_results(1, 2));
    CHECK_EQUAL(outbox_items(&w.out, WIRE_RESULTS), 0);
    end(&w);
}

static void tasks_that_wait_at_one_rank_move_when_another_is_idle(void)
{
    struct world w;
    start(&w, 2, 1);
    from_interchange(&w, make_tasks(1, 4, 'f', 0));
    from_rank(&w, 0, make_results(1, 1));
    from_rank(&w, 0, make_results(3, 1)); /* whichever it had: it has none now */
    CHECK_EQUAL(sent_to(&w, 1, WIRE_RECALL), 0); /* those tasks are short: they may be done already */
    w.now_us = 10000;
    manager_on_tick(w.manager, w.now_us);
    flush(&w);
    CHECK_EQUAL(sent_to(&w, 1, WIRE_RECALL), 1);
    outbox_clear(&w.out);
    from_rank(&w, 1, make_tasks(4, 1, 'f', 0)); /* it gives one back */
    CHECK_EQUAL(sent_to(&w, 0, WIRE_TASKS), 1);
    end(&w);
}

static void a_worker_that_waits_is_not_brought_a_task_from_each_rank(void)
{
    struct world w;
    unsigned asked = 0;
    start(&w, 50, 1);
    for (uint32_t i = 0; i < 50; i++)
        from_rank(&w, i, make_credit(2, 1, 1000000));
    from_interchange(&w, make_tasks(1, 100, 'f', 0));
    from_rank(&w, 0, make_results(1, 2));
    flush(&w); /* what was asked for is under way */
    for (uint32_t i = 1; i < 50; i++)
        asked += sent_to(&w, i, WIRE_RECALL);
    CHECK_EQUAL(asked, 1);
    end(&w);
}

static void what_the_interchange_recalls_goes_up(void)
{
    struct world w;
    start(&w, 1, 1);
    from_interchange(&w, make_tasks(1, 2, 'f', 0));
    from_interchange(&w, msg_bare(WIRE_RECALL, 0, 5));
    CHECK_EQUAL(sent_to(&w, 0, WIRE_RECALL), 1);
    from_rank(&w, 0, make_tasks(2, 1, 'f', 0));
    CHECK_EQUAL(sent_to(&w, UP, WIRE_TASKS), 1);
    CHECK_EQUAL(sent_to(&w, 0, WIRE_TASKS), 2); /* not sent down again */
    end(&w);
}

/* Rank 2's worker waits, so that one of the two others was asked for a task for it. The other is asked for the interchange:
 * returns which. */
static uint32_t ask_for_both(struct world *w)
{
    start(w, 3, 1);
    from_rank(w, 2, make_credit(0, 0, 0));
    from_interchange(w, make_tasks(1, 4, 'f', 0)); /* two for each of ranks 0 and 1 */
    w->now_us += 20000;
    from_rank(w, 2, make_credit(1, 1, 50));
    uint32_t for_balance = sent_to(w, 0, WIRE_RECALL) ? 0 : 1;
    from_interchange(w, msg_bare(WIRE_RECALL, 0, 1));
    for (uint32_t i = 0; i < 2; i++)
        CHECK_EQUAL(sent_to(w, i, WIRE_RECALL), 1);
    return 1 - for_balance;
}

static void a_rank_without_tasks_does_not_answer_for_the_one_that_was_asked_for_the_interchange(void)
{
    struct world w;
    uint32_t asked = ask_for_both(&w);
    from_rank(&w, 1 - asked, make_credit(2, 1, 50)); /* it has none to give */
    from_rank(&w, asked, make_tasks(asked ? 4 : 3, 1, 'f', 0));
    CHECK_EQUAL(sent_to(&w, UP, WIRE_TASKS), 1);
    CHECK_EQUAL(sent_to(&w, 2, WIRE_TASKS), 0);
    end(&w);
}

static void what_a_rank_gives_for_the_balance_stays_while_the_interchange_waits(void)
{
    struct world w;
    uint32_t asked = ask_for_both(&w);
    from_rank(&w, 1 - asked, make_tasks(asked ? 3 : 4, 1, 'f', 0));
    CHECK_EQUAL(sent_to(&w, UP, WIRE_TASKS), 0);
    CHECK_EQUAL(sent_to(&w, 2, WIRE_TASKS), 1);
    int before = outbox_count(&w.out, WIRE_CREDIT);
    from_rank(&w, asked, make_credit(2, 1, 50)); /* none after all: the interchange is told so */
    CHECK_EQUAL(outbox_count(&w.out, WIRE_CREDIT), before + 1);
    end(&w);
}

static void a_recall_of_nothing_is_answered_by_credit(void)
{
    struct world w;
    start(&w, 1, 1);
    outbox_clear(&w.out);
    from_interchange(&w, msg_bare(WIRE_RECALL, 0, 5));
    CHECK_EQUAL(sent_to(&w, UP, WIRE_CREDIT), 2); /* one message; sent_to counts its capacity */
    end(&w);
}

static void cancel_drops_what_waits_here_and_asks_ranks_for_the_rest(void)
{
    struct world w;
    start(&w, 2, 1);
    from_interchange(&w, make_tasks(1, 20, 'f', 0));
    from_interchange(&w, make_ids(WIRE_CANCEL, 0, 20));
    CHECK_EQUAL(outbox_items(&w.out, WIRE_RESULTS), 1);
    CHECK_EQUAL(outbox_count(&w.out, WIRE_CANCEL), 0);
    from_interchange(&w, make_ids(WIRE_CANCEL, 0, 1));
    CHECK_EQUAL(outbox_count(&w.out, WIRE_CANCEL), 2);
    end(&w);
}

static void more_cancelled_tasks_than_fit_a_message_are_answered_in_two(void)
{
    static uint64_t ids[WIRE_MAX_ITEMS];
    struct world w;
    start(&w, 1, 1);
    for (uint64_t first = 1; first < 120001; first += 40000)
        from_interchange(&w, make_tasks(first, 40000, 'f', 0)); /* of which the rank gets two */
    for (uint64_t first = 3; first < 120001; first += 40000) {
        struct buf head = {0};
        for (uint32_t i = 0; i < 40000; i++)
            ids[i] = first + i;
        wire_put_ids(&head, WIRE_CANCEL, 0, ids, 40000);
        struct msg *cancel = msg_new(&head, NULL);
        manager_on_interchange(w.manager, cancel, w.now_us); /* all in one turn */
        msg_unref(cancel);
    }
    flush(&w);
    CHECK_EQUAL(outbox_items(&w.out, WIRE_RESULTS), 119998);
    CHECK_EQUAL(outbox_count(&w.out, WIRE_RESULTS), 2);
    end(&w);
}

static void a_cancelled_task_that_comes_back_is_not_sent_again(void)
{
    struct world w;
    start(&w, 1, 1);
    from_interchange(&w, make_tasks(1, 2, 'f', 0));
    from_interchange(&w, make_ids(WIRE_CANCEL, 0, 2));
    outbox_clear(&w.out);
    from_rank(&w, 0, make_tasks(2, 1, 'f', 0)); /* it left the rank before the CANCEL came there */
    CHECK_EQUAL(sent_to(&w, 0, WIRE_TASKS), 0);
    struct msg *results = outbox_last(&w.out, WIRE_RESULTS);
    CHECK(results && wire_status(&results->wire, 0) == WIRE_CANCELLED, "not answered");
    end(&w);
}

static void asked_to_stop_it_stops_all_ranks_and_says_bye_last(void)
{
    struct world w;
    start(&w, 3, 2);
    from_interchange(&w, make_tasks(1, 30, 'f', 0));
    outbox_clear(&w.out);
    from_interchange(&w, msg_bare(WIRE_STOP, WIRE_NOW, 0));
    CHECK_EQUAL(outbox_count(&w.out, WIRE_STOP), 3);
    CHECK_EQUAL(sent_to(&w, UP, WIRE_TASKS), 18); /* those beyond the credit */
    CHECK_EQUAL(w.over, 0);
    bye_from_all(&w);
    CHECK_EQUAL(w.over, 1);
    CHECK_EQUAL(w.exit_code, 0);
    CHECK_EQUAL(w.orderly, 1);
    CHECK_EQUAL(outbox_last(&w.out, WIRE_STOP)->wire.count, 0);
    CHECK_EQUAL(w.out.v[w.out.n - 1]->wire.type, WIRE_BYE);
    end(&w);
}

static struct msg *make_failure(const char *reason)
{
    return msg_text(WIRE_BYE, WIRE_FAILED, reason);
}

static void a_rank_that_fails_costs_itself(void)
{
    struct world w;
    start(&w, 3, 2);
    from_rank(&w, 1, make_failure("rank 1 on n: no more paper"));
    CHECK_EQUAL(outbox_count(&w.out, WIRE_STOP), 0);
    struct msg *lost = outbox_last(&w.out, WIRE_RANK_LOST);
    CHECK(lost && lost->wire.count == 1, "the interchange is not told");
    CHECK_EQUAL(outbox_last(&w.out, WIRE_CREDIT)->wire.credit.n_workers, 4);
    from_interchange(&w, make_tasks(1, 8, 'f', 0));
    CHECK_EQUAL(sent_to(&w, 1, WIRE_TASKS), 0);
    CHECK_EQUAL(sent_to(&w, 0, WIRE_TASKS) + sent_to(&w, 2, WIRE_TASKS), 8);
    from_interchange(&w, msg_bare(WIRE_STOP, WIRE_NOW, 0));
    CHECK_EQUAL(sent_to(&w, 1, WIRE_STOP), 0); /* it has ended; the last STOP is for all */
    from_rank(&w, 0, msg_text(WIRE_BYE, WIRE_ASKED, ""));
    from_rank(&w, 2, msg_text(WIRE_BYE, WIRE_ASKED, ""));
    CHECK_EQUAL(sent_to(&w, 1, WIRE_STOP), 1);
    CHECK_EQUAL(w.exit_code, 0);
    CHECK_EQUAL(w.orderly, 1);
    end(&w);
}

static void tasks_that_a_failed_rank_gives_back_go_to_others(void)
{
    struct world w;
    start(&w, 2, 1);
    from_interchange(&w, make_tasks(1, 2, 'f', 0));
    unsigned before = sent_to(&w, 0, WIRE_TASKS);
    from_rank(&w, 1, make_failure("full"));
    from_rank(&w, 1, make_tasks(2, 1, 'f', 0)); /* was under way to it */
    CHECK_EQUAL(sent_to(&w, 0, WIRE_TASKS), before + 1);
    CHECK_EQUAL(sent_to(&w, UP, WIRE_TASKS), 0);
    end(&w);
}

static void a_rank_that_fails_while_it_is_asked_for_tasks_has_none(void)
{
    struct world w;
    start(&w, 2, 1);
    from_interchange(&w, make_tasks(1, 4, 'f', 0));
    from_interchange(&w, msg_bare(WIRE_RECALL, 0, 2));
    int before = outbox_count(&w.out, WIRE_CREDIT);
    from_rank(&w, 0, make_failure("gone"));
    from_rank(&w, 1, make_credit(2, 1, 50));
    CHECK(outbox_count(&w.out, WIRE_CREDIT) > before, "the interchange waits for an answer");
    end(&w);
}

static void with_fewer_than_half_of_its_ranks_the_block_ends_with_the_last_reason(void)
{
    struct world w;
    start(&w, 3, 2);
    from_rank(&w, 1, make_failure("the first"));
    CHECK_EQUAL(w.over, 0);
    from_rank(&w, 0, make_failure("no more paper"));
    CHECK_EQUAL(sent_to(&w, 2, WIRE_STOP), 1);
    bye_from_all(&w);
    struct msg *bye = outbox_last(&w.out, WIRE_BYE);
    CHECK(bye && bye->wire.count == WIRE_FAILED, "no BYE");
    CHECK(strstr(w.reason, "2 of 3 ranks are lost, and the block needs 2 (min_ranks)"), "%s", w.reason);
    CHECK(strstr(w.reason, "no more paper"), "%s", w.reason);
    CHECK_EQUAL(w.exit_code, 1);
    end(&w);
}

static void the_only_rank_ends_the_block_with_its_reason(void)
{
    struct world w;
    start(&w, 1, 2);
    from_rank(&w, 0, make_failure("no more paper"));
    CHECK_TEXT(w.reason, "no more paper");
    CHECK_EQUAL(outbox_count(&w.out, WIRE_RANK_LOST), 0);
    end(&w);
}

static void how_many_ranks_a_block_needs_can_be_said(void)
{
    struct world w;
    begin_with(&w, (struct manager_settings){.n_ranks = 4, .min_ranks = 1, .start_timeout_us = 60000000});
    for (uint32_t i = 0; i < 3; i++)
        from_rank(&w, i, make_failure("no Python"));
    CHECK_EQUAL(w.over, 0);
    from_rank(&w, 3, make_node(3, 1));
    CHECK_EQUAL(outbox_last(&w.out, WIRE_REGISTER)->wire.count, 1);
    CHECK_EQUAL(outbox_count(&w.out, WIRE_RANK_LOST), 3);
    end(&w);
    begin_with(&w, (struct manager_settings){.n_ranks = 4, .min_ranks = 9, .start_timeout_us = 60000000});
    from_rank(&w, 0, make_failure("no Python"));
    CHECK_EQUAL(outbox_count(&w.out, WIRE_STOP), 3);
    end(&w);
}

static void a_rank_that_fails_before_registration_is_left_out_of_it(void)
{
    struct world w;
    begin(&w, 3, 0);
    from_rank(&w, 0, make_node(0, 1));
    from_rank(&w, 1, make_failure("no Python"));
    CHECK_EQUAL(outbox_count(&w.out, WIRE_REGISTER), 0);
    from_rank(&w, 2, make_node(2, 1));
    CHECK_EQUAL(outbox_last(&w.out, WIRE_REGISTER)->wire.count, 2);
    CHECK_EQUAL(outbox_last(&w.out, WIRE_RANK_LOST)->wire.count, 1);
    from_interchange(&w, make_welcome());
    CHECK_EQUAL(outbox_count(&w.out, WIRE_START), 3); /* so that it knows the heartbeats of its manager */
    end(&w);
}

static void a_block_that_ends_before_registration_registers_all_the_same(void)
{
    struct world w;
    begin(&w, 2, 0);
    from_rank(&w, 0, make_failure("no Python"));
    from_rank(&w, 1, make_failure("no Python"));
    CHECK_EQUAL(outbox_count(&w.out, WIRE_REGISTER), 1); /* so that the interchange knows whose BYE it is */
    CHECK(outbox_last(&w.out, WIRE_BYE), "no BYE");
    end(&w);
}

static void a_rank_that_is_late_is_left_out(void)
{
    struct world w;
    begin(&w, 3, 0);
    from_rank(&w, 0, make_node(0, 1));
    from_rank(&w, 2, make_node(2, 1));
    w.now_us = manager_deadline_us(w.manager);
    CHECK_EQUAL(w.now_us, 45000000); /* three quarters */
    manager_on_tick(w.manager, w.now_us);
    CHECK_EQUAL(sent_to(&w, 1, WIRE_STOP), 1);
    CHECK_EQUAL(outbox_last(&w.out, WIRE_REGISTER)->wire.count, 2);
    from_rank(&w, 1, make_node(1, 1)); /* too late */
    from_interchange(&w, make_welcome());
    from_rank(&w, 1, msg_text(WIRE_BYE, WIRE_ASKED, ""));
    CHECK_EQUAL(outbox_count(&w.out, WIRE_RANK_LOST), 1);
    CHECK_EQUAL(w.over, 0);
    end(&w);
}

static void a_block_of_more_ranks_than_register_holds_says_so(void)
{
    struct world w;
    char host[256] = {0};
    memset(host, 'n', 200);
    begin_with(&w, (struct manager_settings){.n_ranks = 20000, .start_timeout_us = 60000000});
    w.deaf = true; /* ranks: so many messages are not looked at */
    for (uint32_t i = 0; i < 20000; i++) {
        struct wire_node node = {.rank = i, .n_workers = 1, .host = wire_text_of(host)};
        struct wire_message present = {.type = WIRE_NODE, .leader = {node, wire_text_of("3.11.7")}};
        say_to_manager(&w, i, msg_make(present, NULL));
    }
    for (uint32_t i = 0; i < 20000; i++)
        say_to_manager(&w, i, msg_text(WIRE_BYE, WIRE_ASKED, ""));
    flush(&w);
    CHECK(strstr(w.reason, "20000 ranks are too many for one block"), "%s", w.reason);
    CHECK(outbox_last(&w.out, WIRE_REGISTER) && outbox_last(&w.out, WIRE_BYE), "the interchange is not told");
    end(&w);
}

static void a_rank_that_never_starts_is_named(void)
{
    struct world w;
    begin(&w, 3, 0);
    from_rank(&w, 0, make_node(0, 1));
    w.now_us = 60000000;
    manager_on_tick(w.manager, w.now_us);
    w.now_us = manager_deadline_us(w.manager);
    manager_on_tick(w.manager, w.now_us);
    CHECK_EQUAL(w.over, 1);
    CHECK_EQUAL(w.orderly, 0);
    CHECK(strstr(w.reason, "rank 1"), "%s", w.reason);
    end(&w);
}

/* Its heartbeats wait behind a large message, of which pieces come. */
static void a_rank_of_which_something_comes_is_not_silent(void)
{
    struct world w;
    start(&w, 2, 1);
    for (w.now_us = 15000000; w.now_us < 300000000 && !w.over; w.now_us += 15000000) {
        struct msg *beat = msg_heartbeat(1, 0);
        manager_on_rank(w.manager, 0, beat, w.now_us);
        manager_on_interchange(w.manager, beat, w.now_us);
        msg_unref(beat);
        manager_on_heard(w.manager, 1, w.now_us);
        manager_on_tick(w.manager, w.now_us);
    }
    CHECK_EQUAL(outbox_count(&w.out, WIRE_STOP), 0);
    end(&w);
}

static void a_silent_rank_ends_the_block(void)
{
    struct world w;
    start(&w, 2, 1);
    for (w.now_us = 15000000; w.now_us < 150000000 && !w.over; w.now_us += 15000000) {
        struct msg *beat = msg_heartbeat(1, 0);
        manager_on_rank(w.manager, 0, beat, w.now_us);
        manager_on_interchange(w.manager, beat, w.now_us);
        msg_unref(beat);
        manager_on_tick(w.manager, w.now_us);
    }
    CHECK_EQUAL(outbox_count(&w.out, WIRE_STOP), 2);
    from_rank(&w, 0, msg_text(WIRE_BYE, WIRE_ASKED, ""));
    w.now_us += 2000000;
    manager_on_tick(w.manager, w.now_us);
    CHECK_EQUAL(w.over, 1);
    CHECK_EQUAL(w.orderly, 0);
    CHECK(strstr(w.reason, "rank 1 on n has been silent"), "%s", w.reason);
    end(&w);
}

static void a_rank_that_has_said_bye_hears_that_its_manager_lives_and_need_not_answer(void)
{
    struct world w;
    begin(&w, 2, 90000000);
    from_rank(&w, 0, make_node(0, 1));
    from_rank(&w, 1, make_node(1, 1));
    from_interchange(&w, make_welcome());
    w.now_us = 90000000;
    manager_on_tick(w.manager, w.now_us);
    from_rank(&w, 1, msg_text(WIRE_BYE, WIRE_ASKED, ""));
    outbox_clear(&w.out);
    for (int i = 0; i < 20; i++) { /* rank 0 works on */
        struct msg *beat = msg_heartbeat(1, 0);
        w.now_us += 15000000;
        manager_on_rank(w.manager, 0, beat, w.now_us);
        manager_on_interchange(w.manager, beat, w.now_us);
        msg_unref(beat);
        manager_on_tick(w.manager, w.now_us);
    }
    CHECK_EQUAL(sent_to(&w, 1, WIRE_HEARTBEAT), 20);
    CHECK_EQUAL(sent_to(&w, 1, WIRE_STOP), 0);
    CHECK_EQUAL(w.over, 0);
    end(&w);
}

static void without_the_interchange_the_block_ends(void)
{
    struct world w;
    start(&w, 2, 1);
    outbox_clear(&w.out);
    manager_on_interchange_lost(w.manager, "gone", w.now_us);
    CHECK_EQUAL(outbox_count(&w.out, WIRE_STOP), 2);
    bye_from_all(&w);
    CHECK_EQUAL(w.over, 1);
    CHECK_EQUAL(w.exit_code, 1);
    CHECK_EQUAL(outbox_last(&w.out, WIRE_STOP)->wire.count, 1); /* the ranks learn that it failed */
    CHECK_EQUAL(sent_to(&w, UP, WIRE_BYE), 0);
    end(&w);
}

static void a_signal_gives_what_runs_its_grace(void)
{
    struct world w;
    start(&w, 1, 1);
    manager_on_signal(w.manager, w.now_us);
    struct msg *stop = outbox_last(&w.out, WIRE_STOP);
    CHECK(stop && stop->wire.count == 1000 && !stop->wire.flags, "no STOP with the grace");
    manager_on_signal(w.manager, w.now_us); /* the second, as mpiexec sends it, changes nothing */
    CHECK_EQUAL(outbox_count(&w.out, WIRE_STOP), 1);
    bye_from_all(&w);
    CHECK_EQUAL(w.exit_code, 1);
    CHECK_EQUAL(outbox_last(&w.out, WIRE_BYE)->wire.count, WIRE_SIGNAL);
    end(&w);
}

/* One rank with one worker, when drain_period is over. */
static void start_to_drain(struct world *w)
{
    begin(w, 1, 90000000);
    from_rank(w, 0, make_node(0, 1));
    from_interchange(w, make_welcome());
    from_rank(w, 0, make_credit(1, 1, 0));
    w->now_us = 90000000;
    manager_on_tick(w->manager, w->now_us);
}

static void a_drain_takes_no_more_and_waits_for_what_runs(void)
{
    struct world w;
    start_to_drain(&w);
    struct msg *credit = outbox_last(&w.out, WIRE_CREDIT);
    CHECK(credit->wire.flags & WIRE_DRAINING, "not draining");
    CHECK_EQUAL(credit->wire.count, 0);
    from_interchange(&w, make_tasks(1, 1, 'f', 0)); /* was under way: given back */
    CHECK_EQUAL(sent_to(&w, UP, WIRE_TASKS), 1);
    CHECK_EQUAL(w.over, 0);
    bye_from_all(&w);
    CHECK_EQUAL(w.over, 0); /* tasks may still be under way, sent before the interchange had heard */
    from_interchange(&w, make_tasks(2, 1, 'f', 0));
    CHECK_EQUAL(sent_to(&w, UP, WIRE_TASKS), 2);
    from_interchange(&w, msg_bare(WIRE_STOP, 0, UINT32_MAX));
    CHECK_EQUAL(w.exit_code, 0);
    CHECK_EQUAL(outbox_last(&w.out, WIRE_BYE)->wire.count, WIRE_DRAINED);
    end(&w);
}

static void a_drain_that_the_interchange_does_not_answer_ends_all_the_same(void)
{
    struct world w;
    start_to_drain(&w);
    bye_from_all(&w);
    CHECK_EQUAL(w.over, 0);
    manager_on_interchange_lost(w.manager, "gone", w.now_us);
    CHECK_EQUAL(w.over, 1);
    end(&w);
}

int main(void)
{
    quiet();
    it_registers_when_every_rank_stands_and_starts_them_when_welcome();
    starts_of_results_move_to_the_clock_of_the_manager();
    a_heartbeat_of_the_interchange_is_answered_with_its_own_clock();
    the_quickest_answer_tells_a_clock_until_it_is_old();
    its_credit_is_the_sum();
    what_tasks_take_is_the_mean_over_workers_as_they_come_and_go();
    tasks_are_shared_out_evenly_waiting_workers_first();
    a_result_is_a_new_credit();
    while_it_is_held_no_rank_gets_a_task();
    results_of_one_turn_go_up_in_one_message();
    results_gather_while_the_interchange_is_busy();
    results_that_gathered_are_sent_before_the_end();
    results_that_were_not_asked_for_go_nowhere();
    tasks_that_wait_at_one_rank_move_when_another_is_idle();
    a_worker_that_waits_is_not_brought_a_task_from_each_rank();
    what_the_interchange_recalls_goes_up();
    a_rank_without_tasks_does_not_answer_for_the_one_that_was_asked_for_the_interchange();
    what_a_rank_gives_for_the_balance_stays_while_the_interchange_waits();
    a_recall_of_nothing_is_answered_by_credit();
    cancel_drops_what_waits_here_and_asks_ranks_for_the_rest();
    more_cancelled_tasks_than_fit_a_message_are_answered_in_two();
    a_cancelled_task_that_comes_back_is_not_sent_again();
    asked_to_stop_it_stops_all_ranks_and_says_bye_last();
    a_rank_that_fails_costs_itself();
    tasks_that_a_failed_rank_gives_back_go_to_others();
    a_rank_that_fails_while_it_is_asked_for_tasks_has_none();
    with_fewer_than_half_of_its_ranks_the_block_ends_with_the_last_reason();
    the_only_rank_ends_the_block_with_its_reason();
    how_many_ranks_a_block_needs_can_be_said();
    a_rank_that_fails_before_registration_is_left_out_of_it();
    a_block_that_ends_before_registration_registers_all_the_same();
    a_rank_that_is_late_is_left_out();
    a_block_of_more_ranks_than_register_holds_says_so();
    a_rank_that_never_starts_is_named();
    a_rank_of_which_something_comes_is_not_silent();
    a_silent_rank_ends_the_block();
    a_rank_that_has_said_bye_hears_that_its_manager_lives_and_need_not_answer();
    without_the_interchange_the_block_ends();
    a_signal_gives_what_runs_its_grace();
    a_drain_takes_no_more_and_waits_for_what_runs();
    a_drain_that_the_interchange_does_not_answer_ends_all_the_same();
    return check_end("manager");
}
