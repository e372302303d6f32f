/* idset.h: a set of task ids. Zeroed is empty. */
#ifndef XSE_IDSET_H
#define XSE_IDSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct idset {
    uint64_t *slots; /* id + 1; 0: free. Linear probing, at most half full */
    size_t n, n_slots;
};

void idset_add(struct idset *set, uint64_t id); /* once or more: it is in */
bool idset_remove(struct idset *set, uint64_t id); /* was it in? */
void idset_clear(struct idset *set);

#endif
