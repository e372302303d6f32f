/* runner.h: what a leader hands tasks to: workers of some kind, behind one table of functions.
 *
 * A runner has n workers, numbered from 0. A worker takes the tasks given to it one by one, in the order they were
 * given, and answers each once. The task stays the leader's; a runner that needs its bytes later takes references.
 * A runner tells its leader what happened through runner_events, from the loop and never from within one of its own
 * functions; so a leader may call the runner from within an event. */
#ifndef XSE_RUNNER_H
#define XSE_RUNNER_H

#include "wire/tasks.h"

#define RUNNER_LENT 4096u

struct runner;

struct runner_time { /* when a task ran */
    int64_t start_us; /* of this host's monotonic clock */
    uint32_t took_us;
};

struct runner_events {
    /* The runner can start workers. */
    void (*stands)(void *arg, const char *python_version);
    /* It cannot, or cannot any more: the block must end. */
    void (*failed)(void *arg, const char *reason);
    void (*worker_ready)(void *arg, uint32_t worker);
    /* The setup raised; exception: in the setup's codec, its owners may be kept. The worker is of no use. */
    void (*setup_raised)(void *arg, uint32_t worker, const char *reason, const struct parts *exception);
    /* The answer to the first of the worker's tasks that is not answered. A payload below RUNNER_LENT bytes is lent for
     * the call; of a larger one the slices' owners may be kept. */
    void (*result)(void *arg, uint32_t worker, enum wire_status status, const struct runner_time *time,
                   const struct parts *payload);
    /* The worker is dead; all its results have been reported. detail: the last lines of its stderr. It can be started. */
    void (*worker_gone)(void *arg, uint32_t worker, const struct wire_failure *failure);
    void *arg;
};

struct runner_start { /* what a worker learns about its place */
    uint32_t rank; /* of the leader */
    uint32_t first_in_node, n_in_node; /* the node may have several leaders */
    uint32_t n_workers; /* of this leader */
    bool cores_alone; /* no other rank may run on this one's cores */
    uint32_t setup_codec;
    const char *block_id, *pool_id;
    const struct parts *setup; /* lent for the call */
};

struct runner_ops {
    /* Once, before any worker is started. */
    void (*prepare)(struct runner *runner, const struct runner_start *start);
    /* Start worker i, for the first time or after it was gone. */
    void (*start_worker)(struct runner *runner, uint32_t worker);
    void (*give)(struct runner *runner, uint32_t worker, const struct task *task);
    /* Of the tasks that the worker has not answered, how many, the last ones, has it not started? It will not. */
    uint32_t (*take_back)(struct runner *runner, uint32_t worker);
    /* The worker, which has answered all it was given, gets no more and ends by itself; worker_gone will follow. */
    void (*retire)(struct runner *runner, uint32_t worker);
    /* End the worker whatever it does; worker_gone will follow. */
    void (*kill)(struct runner *runner, uint32_t worker);
    /* What was given leaves for the workers: the end of a turn of the loop. */
    void (*flush)(struct runner *runner);
    /* End all workers, wait for none to be left, and free. No event comes any more. May block for a second. */
    void (*free)(struct runner *runner);
    /* Nobody needs to see a result for rest_us: small ones may gather until then. NULL: each is seen at once. */
    void (*rest)(struct runner *runner, int64_t rest_us);
};

struct runner {
    const struct runner_ops *ops;
    struct runner_events events;
};

#endif
