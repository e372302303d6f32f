#include "leader/prefetch.h"

/* How much work lies ready at the node, to hide the way from the interchange (a round trip is 0.3 to 2 ms), and at a
 * worker, to hide the way from the leader (some 50 us). Both are given up again when a task turns out long: what has
 * not begun can be taken back, from a worker at once and from a node by RECALL. */
#define NODE_AHEAD_US 5000.0
#define WORKER_AHEAD_US 500.0
#define NODE_AHEAD_MOST 256.0 /* tasks for each worker */
#define LONG_TASK_US 100000.0 /* a round trip is nothing beside it: nothing is fetched ahead */

/* Each result that is seen alone wakes every process on its way to the script (docs/decisions/0016). */
#define REST_MOST_US 500.0
#define REST_LEAST_RESULTS 2.0 /* a rest that gathers fewer saves no wake-up */

static double prefetch_at_least(double a, double b)
{
    return a > b ? a : b;
}

static double prefetch_at_most(double a, double b)
{
    return a < b ? a : b;
}

void prefetch_measure(struct prefetch *p, uint32_t time_us)
{
    double t = prefetch_at_least(1, time_us);
    p->task_us += (t - p->task_us) * (p->task_us > 0 ? 1.0 / 32 : 1);
}

uint32_t prefetch_capacity(const struct prefetch *p, uint32_t n_workers)
{
    double ahead = 0;
    if (p->task_us > 0 && p->task_us < LONG_TASK_US)
        ahead = n_workers * prefetch_at_least(1, prefetch_at_most(NODE_AHEAD_MOST, NODE_AHEAD_US / p->task_us));
    if (p->most >= 0)
        ahead = prefetch_at_most(ahead, (double)p->most);
    return n_workers + (uint32_t)ahead;
}

uint32_t prefetch_depth(const struct prefetch *p)
{
    if (p->task_us <= 0 || p->one_by_one)
        return 1;
    return 2 + (uint32_t)prefetch_at_most(PREFETCH_MOST_DEPTH - 2, WORKER_AHEAD_US / p->task_us);
}

int64_t prefetch_rest_us(const struct prefetch *p, uint32_t n_workers, uint32_t least_given)
{
    if (least_given < 2 || p->task_us <= 0)
        return 0;
    /* Less than the mean allows: tasks that are shorter than most must not find their worker without the next. */
    double rest = prefetch_at_most(REST_MOST_US, (least_given - 1) * p->task_us * 3 / 4);
    return rest * n_workers < REST_LEAST_RESULTS * p->task_us ? 0 : (int64_t)rest;
}
