/* prefetch: how much may lie ahead, by what tasks take. */
#include "leader/prefetch.h"

#include "check.h"

static struct prefetch of(double task_us)
{
    return (struct prefetch){.task_us = task_us, .most = -1};
}

static void nothing_lies_ahead_while_nobody_knows_what_tasks_take(void)
{
    struct prefetch p = of(0);
    CHECK_EQUAL(prefetch_capacity(&p, 4), 4);
    CHECK_EQUAL(prefetch_depth(&p), 1);
}

static void a_node_has_work_for_five_milliseconds_and_a_worker_for_half_a_one(void)
{
    struct prefetch p = of(100);
    CHECK_EQUAL(prefetch_capacity(&p, 4), 4 + 4 * 50);
    CHECK_EQUAL(prefetch_depth(&p), 2 + 5);
}

static void however_short_tasks_are_it_ends_somewhere(void)
{
    struct prefetch p = of(1);
    CHECK_EQUAL(prefetch_capacity(&p, 4), 4 + 4 * 256);
    CHECK_EQUAL(prefetch_depth(&p), PREFETCH_MOST_DEPTH);
}

static void of_longer_tasks_there_is_one_ahead_of_each_worker_and_of_long_ones_none(void)
{
    struct prefetch longer = of(99999), longest = of(100000);
    CHECK_EQUAL(prefetch_capacity(&longer, 4), 4 + 4);
    CHECK_EQUAL(prefetch_capacity(&longest, 4), 4);
    CHECK_EQUAL(prefetch_depth(&longest), 2);
}

static void the_user_may_want_less_and_gets_no_more_than_measured(void)
{
    struct prefetch p = of(100);
    p.most = 3;
    CHECK_EQUAL(prefetch_capacity(&p, 4), 4 + 3);
    p.most = 0;
    CHECK_EQUAL(prefetch_capacity(&p, 4), 4);
    p.most = 1000000;
    CHECK_EQUAL(prefetch_capacity(&p, 4), 4 + 4 * 50);
}

static void workers_that_are_replaced_get_tasks_one_by_one(void)
{
    struct prefetch p = of(1);
    p.one_by_one = true;
    CHECK_EQUAL(prefetch_depth(&p), 1);
}

static void the_first_task_is_believed_and_later_ones_count_little(void)
{
    struct prefetch p = of(0);
    prefetch_measure(&p, 1000);
    CHECK_EQUAL(p.task_us, 1000);
    prefetch_measure(&p, 1320);
    CHECK_EQUAL(p.task_us, 1010);
    for (int i = 0; i < 1000; i++)
        prefetch_measure(&p, 0);
    CHECK_EQUAL(p.task_us, 1); /* known, and never 0 */
}

static void results_gather_only_as_long_as_no_worker_can_run_dry(void)
{
    struct prefetch p = of(100);
    CHECK_EQUAL(prefetch_rest_us(&p, 4, 0), 0);
    CHECK_EQUAL(prefetch_rest_us(&p, 4, 1), 0); /* its last task runs */
    CHECK_EQUAL(prefetch_rest_us(&p, 4, 5), 300);
    CHECK_EQUAL(prefetch_rest_us(&p, 4, 64), 500); /* and never long */
    CHECK_EQUAL(prefetch_rest_us(&p, 1, 2), 0); /* fewer than two results would gather */
    p = of(100000);
    CHECK_EQUAL(prefetch_rest_us(&p, 4, 2), 0); /* it is quiet */
    p = of(0);
    CHECK_EQUAL(prefetch_rest_us(&p, 4, 5), 0); /* nobody knows what tasks take */
}

int main(void)
{
    results_gather_only_as_long_as_no_worker_can_run_dry();
    nothing_lies_ahead_while_nobody_knows_what_tasks_take();
    a_node_has_work_for_five_milliseconds_and_a_worker_for_half_a_one();
    however_short_tasks_are_it_ends_somewhere();
    of_longer_tasks_there_is_one_ahead_of_each_worker_and_of_long_ones_none();
    the_user_may_want_less_and_gets_no_more_than_measured();
    workers_that_are_replaced_get_tasks_one_by_one();
    the_first_task_is_believed_and_later_ones_count_little();
    return check_end("prefetch");
}
