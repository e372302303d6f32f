/* prefetch.h: how much work lies ahead of a node's workers, from what tasks take: enough to hide the way there, and no
 * more, since what lies ahead of one may be what another waits for. Numbers in, numbers out. */
#ifndef XSE_PREFETCH_H
#define XSE_PREFETCH_H

#include <stdbool.h>
#include <stdint.h>

#define PREFETCH_MOST_DEPTH 63u

struct prefetch {
    double task_us; /* what tasks take; 0: not known */
    int64_t most; /* tasks for the node beyond one for each worker; -1: as many as measurement says */
    bool one_by_one; /* a worker gets its next task when it has answered the one before */
};

void prefetch_measure(struct prefetch *prefetch, uint32_t time_us); /* a task has taken so long */
/* How many tasks the node may have in all. */
uint32_t prefetch_capacity(const struct prefetch *prefetch, uint32_t n_workers);
/* How many of them a worker may have, at most PREFETCH_MOST_DEPTH. */
uint32_t prefetch_depth(const struct prefetch *prefetch);
/* After results were sent on: for how long results may gather before they are seen, in microseconds; 0: not at all.
 * least_given: tasks at the worker that has the fewest, the running one included. No worker runs dry in that time. */
int64_t prefetch_rest_us(const struct prefetch *prefetch, uint32_t n_workers, uint32_t least_given);

#endif
