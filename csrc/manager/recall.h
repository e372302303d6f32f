/* recall.h: which ranks were asked to give tasks back, how many, and for whom. No I/O, no clock. The ranks are the manager's.
 *
 * A rank is asked for the balance (a worker of another rank waits) or for the interchange (it has recalled tasks). What a
 * rank gives goes to whoever it was asked for. A rank has one request at most, which TASKS, CREDIT or BYE answers. */
#ifndef XSE_RECALL_H
#define XSE_RECALL_H

#include "manager/rings.h"

struct recall {
    uint64_t for_balance; /* tasks that ranks were asked for, and have not answered about */
    uint32_t n_for_interchange; /* ranks that were asked for it, and have not answered */
    bool interchange_waits; /* its RECALL is not answered */
    int64_t looked_at_us; /* when all ranks were last looked at in vain */
    int64_t look_at_us; /* when recall_balance is to be called again; INT64_MAX: when something has changed */
};

struct recall_host {
    void (*ask)(void *arg, struct rank *rank, uint32_t n); /* send RECALL */
    void *arg;
};

void recall_init(struct recall *recall, int64_t now_us);

/* Workers wait and no task does: ask ranks that have more tasks than workers for a fair share of them. */
void recall_balance(struct recall *recall, const struct rings *rings, int64_t now_us, const struct recall_host *host);
/* The interchange wants tasks back: ask as few ranks as have them. False: none has any that is not asked for yet. */
bool recall_for_interchange(struct recall *recall, const struct rings *rings, uint64_t wanted,
                            const struct recall_host *host);
/* The rank has answered, with tasks or without: for whom it was asked. */
enum recall_for recall_answered(struct recall *recall, struct rank *rank);
/* The interchange has got tasks. */
void recall_gave_interchange(struct recall *recall);
/* All that were asked for the interchange have answered, and none had any: the interchange is to be told, once. */
bool recall_was_in_vain(struct recall *recall);

/* What must always hold, between two calls. NULL, or what does not. */
const char *recall_check(const struct recall *recall, const struct rank *ranks, uint32_t n_ranks);

#endif
