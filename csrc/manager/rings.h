/* rings.h: the ranks of a block as its manager sees them: which can take tasks, in rings, and sums over all of them, so
 * that no message costs a look at every rank. No I/O, no clock. The ranks are the manager's. */
#ifndef XSE_RINGS_H
#define XSE_RINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "manager/clock.h"
#include "wire/wire.h"

/* IDLE: has workers that wait. CREDIT: has credit worth a message. AHEAD: has neither, and more tasks than workers. */
enum ring { NOWHERE, IDLE, CREDIT, AHEAD, FULL };

enum recall_for { RECALL_NOBODY, RECALL_BALANCE, RECALL_INTERCHANGE };

struct rank {
    uint32_t index;
    bool stands, bye;
    bool failed, left; /* it said so in its BYE; nothing more comes of it */
    bool lost; /* it has failed, and the block goes on without it */
    char *lost_because;
    uint32_t n_workers, capacity, in_flight, task_us;
    enum recall_for recalled_for; /* see recall.h */
    uint32_t n_recalled; /* tasks that it was asked for and has not answered about */
    uint32_t idle, ahead, workers_ahead; /* what of it is in the sums */
    int64_t last_heard_us, last_answer_us;
    struct clock clock;
    struct wire_node node;
    enum ring ring;
    struct rank *next, *prev;
};

struct ring_list {
    struct rank *first, *last;
    uint32_t n;
};

struct rings { /* zeroed: empty */
    struct ring_list of[FULL + 1];
    uint64_t idle, ahead, workers_ahead; /* workers that wait; tasks beyond workers, and workers there */
};

void rings_place(struct rings *rings, struct rank *rank); /* after every change of its numbers */
void rings_place_last(struct rings *rings, struct rank *rank); /* as well, and behind the others of its ring */

/* What must always hold, between two calls. NULL, or what does not. */
const char *rings_check(const struct rings *rings, const struct rank *ranks, uint32_t n_ranks);

#endif
