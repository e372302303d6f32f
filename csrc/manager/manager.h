/* manager.h: the state machine of rank 0: which rank of the block gets which task. No ZeroMQ, no MPI, no clock of its own.
 *
 * A rank that fails (its zygote dies, no worker can be started) is lost with what it ran, and the block goes on with the
 * others while there are enough. A rank whose process dies is not seen here: MPI ends the job.
 *
 * Its life: it gathers a NODE from every rank, registers the block with the interchange, starts the ranks, and then
 * passes tasks down by credit and results up, until the block ends: asked to, by a signal, drained, or failed. */
#ifndef XSE_MANAGER_H
#define XSE_MANAGER_H

#include "wire/tasks.h"

struct manager;

struct manager_host {
    void (*to_rank)(void *arg, uint32_t rank, struct msg *msg); /* takes the reference */
    void (*to_interchange)(void *arg, struct msg *msg); /* takes the reference */
    /* The interchange has not come to what it was sent before, and there will be a flush when it has: small results may
     * gather until then, for each message costs it as much as many results. NULL: never so. */
    bool (*interchange_is_busy)(void *arg);
    /* The block is over. exit_code: of the process. orderly: every rank has said BYE. */
    void (*over)(void *arg, int exit_code, bool orderly, const char *reason);
    void *arg;
};

struct manager_settings {
    uint32_t n_ranks, first_rank; /* of this manager; the first one's number in the whole block */
    const char *block_id, *pool_id, *xse_version, *mpi, *zmq; /* copied */
    uint32_t min_ranks; /* with fewer the block ends; 0: half of them */
    int64_t start_timeout_us; /* until every rank stands and the interchange has answered */
    int64_t drain_after_us; /* from the start, take no more tasks; 0: never */
    uint32_t grace_ms; /* what runs may take to end after a signal */
};

struct manager *manager_new(const struct manager_settings *settings, const struct manager_host *host, int64_t now_us);
void manager_free(struct manager *manager);

void manager_on_rank(struct manager *manager, uint32_t rank, struct msg *msg, int64_t now_us);
void manager_on_interchange(struct manager *manager, struct msg *msg, int64_t now_us);
void manager_on_interchange_lost(struct manager *manager, const char *reason, int64_t now_us);
/* SIGTERM or SIGINT: somebody wants the block to end. */
void manager_on_signal(struct manager *manager, int64_t now_us);
/* held: what was sent to the interchange has not left, and there is so much of it that ranks get no more tasks. */
void manager_hold(struct manager *manager, bool held);
/* The rank lives: some of a message of its has come. */
void manager_on_heard(struct manager *manager, uint32_t rank, int64_t now_us);
void manager_on_tick(struct manager *manager, int64_t now_us);
int64_t manager_deadline_us(const struct manager *manager);
void manager_flush(struct manager *manager, int64_t now_us); /* end of a turn */

/* What must always hold at the end of a turn. NULL, or what does not. */
const char *manager_check(const struct manager *manager);

#endif
