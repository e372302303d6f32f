/* leader.h: the state machine of a rank: which worker of this node gets which task. No I/O, no MPI, no clock of its own.
 *
 * It hears from its manager (messages) and from its runner (events), and answers through `host` and the runner's table.
 * Tasks wait in one queue and go to whichever worker is free. Short ones are given to a worker ahead of time, to hide
 * the way; a worker that runs dry gets those that another has not begun, so none waits behind a running task while
 * another worker is idle. */
#ifndef XSE_LEADER_H
#define XSE_LEADER_H

#include "leader/runner.h"

struct leader;

struct leader_host {
    void (*send)(void *arg, struct msg *msg); /* to the manager; takes the reference */
    void (*end_runner)(void *arg); /* free it: no worker is left after. The leader does not touch it again */
    void (*ended)(void *arg, bool failed); /* BYE was sent: the rank now waits for the final STOP */
    void (*manager_gone)(void *arg); /* the manager is gone, so no STOP will come */
    void *arg;
};

struct leader_settings {
    uint32_t rank;
    uint32_t pid;
    uint32_t n_workers; /* of this leader, at least 1 */
    uint32_t first_in_node, n_in_node; /* workers of this node: of lower ranks, of all */
    uint32_t first_in_block; /* workers of lower ranks */
    uint32_t n_cores;
    bool cores_alone; /* no other rank may run on them */
    uint64_t memory; /* bytes */
    const char *host;
    uint64_t most_tasks; /* that a worker runs before it is replaced; 0: no limit */
    int64_t most_prefetch; /* tasks beyond one for each worker; -1: as many as measurement says */
};

struct leader *leader_new(const struct leader_settings *settings, const struct leader_host *host, struct runner *runner,
                          int64_t now_us); /* settings' texts are copied */
void leader_free(struct leader *leader); /* not the runner */
const struct runner_events *leader_events(struct leader *leader); /* for the runner to call */

void leader_on_message(struct leader *leader, const struct msg *msg, int64_t now_us);
/* held: too much data waits to be sent to the manager, so workers get no new tasks. */
void leader_hold(struct leader *leader, bool held);
void leader_on_heard(struct leader *leader, int64_t now_us); /* the manager lives: some of a message has come */
void leader_on_tick(struct leader *leader, int64_t now_us); /* at its deadline, or any time */
int64_t leader_deadline_us(const struct leader *leader);
void leader_flush(struct leader *leader, int64_t now_us); /* end of a turn: results leave, tasks leave */

/* What must always hold at the end of a turn. NULL, or what does not. */
const char *leader_check(const struct leader *leader);

#endif
