#include "manager/rings.h"

#include <stddef.h>

static enum ring rings_ring_of(const struct rank *rank)
{
    if (!rank->stands || rank->bye || rank->lost)
        return NOWHERE;
    if (rank->in_flight < rank->n_workers && rank->in_flight < rank->capacity)
        return IDLE;
    /* What lies ahead of the workers is filled up when half of it is done: a message for each task would cost more. */
    uint32_t ahead = rank->capacity > rank->n_workers ? rank->capacity - rank->n_workers : 0;
    if (rank->in_flight < rank->capacity && rank->in_flight <= rank->n_workers + ahead / 2)
        return CREDIT;
    return rank->in_flight > rank->n_workers ? AHEAD : FULL;
}

static void rings_leave(struct rings *rings, struct rank *rank)
{
    struct ring_list *ring = &rings->of[rank->ring];
    if (rank->ring == NOWHERE)
        return;
    *(rank->prev ? &rank->prev->next : &ring->first) = rank->next;
    *(rank->next ? &rank->next->prev : &ring->last) = rank->prev;
    ring->n--;
}

static void rings_join(struct rings *rings, struct rank *rank)
{
    struct ring_list *ring = &rings->of[rank->ring];
    if (rank->ring == NOWHERE)
        return;
    rank->next = NULL;
    rank->prev = ring->last;
    *(rank->prev ? &rank->prev->next : &ring->first) = rank;
    ring->last = rank;
    ring->n++;
}

static void rings_count(struct rings *rings, struct rank *rank)
{
    uint32_t idle = rank->ring == IDLE ? rank->n_workers - rank->in_flight : 0;
    uint32_t ahead = rank->n_workers && rank->in_flight > rank->n_workers ? rank->in_flight - rank->n_workers : 0;
    uint32_t workers_ahead = ahead ? rank->n_workers : 0;
    rings->idle += idle - (uint64_t)rank->idle;
    rings->ahead += ahead - (uint64_t)rank->ahead;
    rings->workers_ahead += workers_ahead - (uint64_t)rank->workers_ahead;
    rank->idle = idle;
    rank->ahead = ahead;
    rank->workers_ahead = workers_ahead;
}

void rings_place_last(struct rings *rings, struct rank *rank)
{
    rings_leave(rings, rank);
    rank->ring = rings_ring_of(rank);
    rings_join(rings, rank);
    rings_count(rings, rank);
}

void rings_place(struct rings *rings, struct rank *rank)
{
    if (rings_ring_of(rank) != rank->ring)
        rings_place_last(rings, rank);
    else
        rings_count(rings, rank);
}

const char *rings_check(const struct rings *rings, const struct rank *ranks, uint32_t n_ranks)
{
    struct rings sums = {0};
    for (uint32_t i = 0; i < n_ranks; i++) {
        const struct rank *rank = &ranks[i];
        if (rank->ring != rings_ring_of(rank))
            return "a rank is not in the ring that its numbers say";
        sums.of[rank->ring].n++;
        sums.idle += rank->idle;
        sums.ahead += rank->ahead;
        sums.workers_ahead += rank->workers_ahead;
    }
    for (int i = IDLE; i <= FULL; i++) {
        uint32_t n = 0;
        const struct rank *before = NULL;
        for (const struct rank *rank = rings->of[i].first; rank; before = rank, rank = rank->next, n++)
            if (rank->prev != before || rank->ring != (enum ring)i)
                return "a ring's links are broken";
        if (rings->of[i].last != before || n != rings->of[i].n || n != sums.of[i].n)
            return "a ring does not hold the ranks that are in it";
    }
    if (rings->idle != sums.idle || rings->ahead != sums.ahead || rings->workers_ahead != sums.workers_ahead)
        return "the rings' sums are not those of the ranks";
    return NULL;
}
