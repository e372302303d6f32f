#include "base/deadlines.h"

#include <assert.h>

#include "base/mem.h"

struct deadline {
    int64_t when_us;
    uint32_t worker;
};

struct deadlines {
    struct deadline *heap; /* Knuth 5.2.3: soonest at 1, and none before the one at half its place */
    uint32_t *places; /* in the heap, by worker; 0: it has no deadline */
    uint32_t n;
};

struct deadlines *deadlines_new(uint32_t n_workers)
{
    struct deadlines *d = mem_new(sizeof *d);
    d->heap = mem_array((size_t)n_workers + 1, sizeof *d->heap);
    d->places = mem_array(n_workers, sizeof *d->places);
    return d;
}

void deadlines_free(struct deadlines *d)
{
    if (!d)
        return;
    mem_free(d->heap);
    mem_free(d->places);
    mem_free(d);
}

static void deadlines_put(struct deadlines *d, uint32_t place, struct deadline deadline)
{
    d->heap[place] = deadline;
    d->places[deadline.worker] = place;
}

/* To where it belongs, by way of a place whose content is of no use any more. */
static void deadlines_sift(struct deadlines *d, uint32_t place, struct deadline deadline)
{
    while (place > 1 && deadline.when_us < d->heap[place / 2].when_us) {
        deadlines_put(d, place, d->heap[place / 2]);
        place /= 2;
    }
    for (uint32_t child; (child = 2 * place) <= d->n; place = child) {
        if (child < d->n && d->heap[child + 1].when_us < d->heap[child].when_us)
            child++;
        if (d->heap[child].when_us >= deadline.when_us)
            break;
        deadlines_put(d, place, d->heap[child]);
    }
    deadlines_put(d, place, deadline);
}

static void deadlines_forget(struct deadlines *d, uint32_t worker)
{
    uint32_t place = d->places[worker];
    if (!place)
        return;
    d->places[worker] = 0;
    struct deadline last = d->heap[d->n--];
    if (last.worker != worker)
        deadlines_sift(d, place, last);
}

void deadlines_set(struct deadlines *d, uint32_t worker, int64_t when_us)
{
    if (when_us == INT64_MAX)
        deadlines_forget(d, worker);
    else
        deadlines_sift(d, d->places[worker] ? d->places[worker] : ++d->n, (struct deadline){when_us, worker});
}

int64_t deadlines_next_us(const struct deadlines *d)
{
    return d->n ? d->heap[1].when_us : INT64_MAX;
}

uint32_t deadlines_first(const struct deadlines *d)
{
    assert(d->n);
    return d->heap[1].worker;
}
