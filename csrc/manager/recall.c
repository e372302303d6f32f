#include "manager/recall.h"

/* A rank with more tasks than workers is asked for some when another's worker waits: at once if by its own account they
 * last longer than this, and in any case when it has answered nothing for LATE_US. Below, the way there is the loss. */
#define WORTH_US 5000.0
#define LATE_US 10000
#define LOOK_AGAIN_US 2000 /* after all ranks were looked at in vain */

void recall_init(struct recall *recall, int64_t now_us)
{
    *recall = (struct recall){.looked_at_us = now_us - LOOK_AGAIN_US, .look_at_us = INT64_MAX};
}

static void recall_ask(struct recall *recall, struct rank *rank, enum recall_for whom, uint64_t n,
                       const struct recall_host *host)
{
    rank->recalled_for = whom;
    rank->n_recalled = n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
    if (whom == RECALL_BALANCE)
        recall->for_balance += rank->n_recalled;
    else
        recall->n_for_interchange++;
    host->ask(host->arg, rank, rank->n_recalled);
}

/* How many of the tasks beyond workers would be elsewhere if all were shared out evenly, less what is asked for already. */
static uint64_t recall_balance_wants(const struct recall *recall, const struct rings *rings)
{
    uint64_t share = rings->ahead * rings->idle / (rings->idle + rings->workers_ahead);
    uint64_t wanted = share ? share : 1;
    return wanted - (wanted < recall->for_balance ? wanted : recall->for_balance);
}

static uint64_t recall_share_of(const struct rank *rank, uint64_t idle)
{
    uint64_t share = rank->ahead * idle / (idle + rank->n_workers);
    return share ? share : 1;
}

static bool recall_is_worth_it(const struct rank *rank, int64_t now_us)
{
    bool late = now_us - rank->last_answer_us >= LATE_US;
    return late || (double)rank->ahead * rank->task_us / rank->n_workers >= WORTH_US;
}

void recall_balance(struct recall *recall, const struct rings *rings, int64_t now_us, const struct recall_host *host)
{
    recall->look_at_us = INT64_MAX;
    if (!rings->idle || !rings->ahead)
        return;
    if (now_us < recall->looked_at_us + LOOK_AGAIN_US) {
        recall->look_at_us = recall->looked_at_us + LOOK_AGAIN_US;
        return;
    }
    uint64_t wanted = recall_balance_wants(recall, rings);
    bool in_vain = wanted > 0;
    for (int ring = CREDIT; ring <= AHEAD; ring++)
        for (struct rank *rank = rings->of[ring].first; rank && wanted; rank = rank->next) {
            if (!rank->ahead || rank->recalled_for)
                continue;
            if (!recall_is_worth_it(rank, now_us)) {
                recall->look_at_us = now_us + LATE_US;
                continue;
            }
            uint64_t n = recall_share_of(rank, rings->idle);
            n = n < wanted ? n : wanted;
            wanted -= n;
            in_vain = false;
            recall_ask(recall, rank, RECALL_BALANCE, n, host);
        }
    if (in_vain)
        recall->looked_at_us = now_us;
}

bool recall_for_interchange(struct recall *recall, const struct rings *rings, uint64_t wanted,
                            const struct recall_host *host)
{
    for (int ring = CREDIT; ring <= AHEAD; ring++)
        for (struct rank *rank = rings->of[ring].first; rank && wanted; rank = rank->next) {
            if (rank->in_flight <= rank->n_workers || rank->recalled_for)
                continue;
            uint64_t n = rank->in_flight - rank->n_workers;
            n = n < wanted ? n : wanted;
            wanted -= n;
            recall_ask(recall, rank, RECALL_INTERCHANGE, n, host);
        }
    recall->interchange_waits = recall->n_for_interchange > 0;
    return recall->interchange_waits;
}

enum recall_for recall_answered(struct recall *recall, struct rank *rank)
{
    enum recall_for whom = rank->recalled_for;
    if (whom == RECALL_BALANCE)
        recall->for_balance -= rank->n_recalled;
    else if (whom == RECALL_INTERCHANGE)
        recall->n_for_interchange--;
    rank->recalled_for = RECALL_NOBODY;
    rank->n_recalled = 0;
    return whom;
}

void recall_gave_interchange(struct recall *recall)
{
    recall->interchange_waits = false;
}

bool recall_was_in_vain(struct recall *recall)
{
    if (!recall->interchange_waits || recall->n_for_interchange)
        return false;
    recall->interchange_waits = false;
    return true;
}

const char *recall_check(const struct recall *recall, const struct rank *ranks, uint32_t n_ranks)
{
    uint64_t for_balance = 0;
    uint32_t n_for_interchange = 0;
    for (uint32_t i = 0; i < n_ranks; i++) {
        if ((ranks[i].recalled_for == RECALL_NOBODY) != (ranks[i].n_recalled == 0))
            return "a rank is asked for tasks for nobody, or for none";
        if (ranks[i].recalled_for && ranks[i].bye)
            return "a rank that has said BYE is asked for tasks";
        for_balance += ranks[i].recalled_for == RECALL_BALANCE ? ranks[i].n_recalled : 0;
        n_for_interchange += ranks[i].recalled_for == RECALL_INTERCHANGE;
    }
    if (for_balance != recall->for_balance)
        return "the tasks asked for the balance are not the sum over the ranks";
    if (n_for_interchange != recall->n_for_interchange)
        return "the ranks asked for the interchange are not counted right";
    return NULL;
}
