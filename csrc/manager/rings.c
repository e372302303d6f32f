#include "manager/rings.h"

#include <stddef.h>

static enum ring ring_of(const struct rank *r)
{
    if (!r->stands || r->bye)
        return NOWHERE;
    if (r->in_flight < r->n_workers && r->in_flight < r->capacity)
        return IDLE;
    /* What lies ahead of the workers is filled up when half of it is done: a message for each task would cost more. */
    uint32_t ahead = r->capacity > r->n_workers ? r->capacity - r->n_workers : 0;
    if (r->in_flight < r->capacity && r->in_flight <= r->n_workers + ahead / 2)
        return ROOM;
    return r->in_flight > r->n_workers ? AHEAD : FULL;
}

static void leave(struct rings *rings, struct rank *r)
{
    struct ring_list *ring = &rings->of[r->ring];
    if (r->ring == NOWHERE)
        return;
    *(r->prev ? &r->prev->next : &ring->first) = r->next;
    *(r->next ? &r->next->prev : &ring->last) = r->prev;
    ring->n--;
}

static void join(struct rings *rings, struct rank *r)
{
    struct ring_list *ring = &rings->of[r->ring];
    if (r->ring == NOWHERE)
        return;
    r->next = NULL;
    r->prev = ring->last;
    *(r->prev ? &r->prev->next : &ring->first) = r;
    ring->last = r;
    ring->n++;
}

static void count(struct rings *rings, struct rank *r)
{
    uint32_t idle = r->ring == IDLE ? r->n_workers - r->in_flight : 0;
    uint32_t ahead = r->n_workers && r->in_flight > r->n_workers ? r->in_flight - r->n_workers : 0;
    uint32_t workers_ahead = ahead ? r->n_workers : 0;
    rings->idle += idle - (uint64_t)r->idle;
    rings->ahead += ahead - (uint64_t)r->ahead;
    rings->workers_ahead += workers_ahead - (uint64_t)r->workers_ahead;
    r->idle = idle;
    r->ahead = ahead;
    r->workers_ahead = workers_ahead;
}

void rings_place_last(struct rings *rings, struct rank *r)
{
    leave(rings, r);
    r->ring = ring_of(r);
    join(rings, r);
    count(rings, r);
}

void rings_place(struct rings *rings, struct rank *r)
{
    if (ring_of(r) != r->ring)
        rings_place_last(rings, r);
    else
        count(rings, r);
}
