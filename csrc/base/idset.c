#include "base/idset.h"

#include "base/mem.h"

static size_t idset_home(const struct idset *set, uint64_t key)
{
    return (size_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (set->n_slots - 1); /* Fibonacci hashing, Knuth 6.4 */
}

static size_t idset_find(const struct idset *set, uint64_t key)
{
    size_t at = idset_home(set, key);
    while (set->slots[at] && set->slots[at] != key)
        at = (at + 1) & (set->n_slots - 1);
    return at;
}

static void idset_grow(struct idset *set)
{
    struct idset larger = {.n_slots = set->n_slots ? 2 * set->n_slots : 16, .n = set->n};
    larger.slots = mem_array(larger.n_slots, sizeof *larger.slots);
    for (size_t i = 0; i < set->n_slots; i++)
        if (set->slots[i])
            larger.slots[idset_find(&larger, set->slots[i])] = set->slots[i];
    mem_free(set->slots);
    *set = larger;
}

void idset_add(struct idset *set, uint64_t id)
{
    if (2 * (set->n + 1) > set->n_slots)
        idset_grow(set);
    size_t at = idset_find(set, id + 1);
    set->n += !set->slots[at];
    set->slots[at] = id + 1;
}

bool idset_remove(struct idset *set, uint64_t id)
{
    if (!set->n)
        return false;
    size_t at = idset_find(set, id + 1), mask = set->n_slots - 1;
    if (!set->slots[at])
        return false;
    set->n--;
    /* Those behind it move up, unless they would come to lie before their home. */
    for (size_t next = (at + 1) & mask; set->slots[next]; next = (next + 1) & mask) {
        size_t from_home = (next - idset_home(set, set->slots[next])) & mask;
        if (from_home >= ((next - at) & mask)) {
            set->slots[at] = set->slots[next];
            at = next;
        }
    }
    set->slots[at] = 0;
    return true;
}

void idset_clear(struct idset *set)
{
    mem_free(set->slots);
    *set = (struct idset){0};
}
