/* deadlines.h: when which worker is to be looked at: the soonest is found at once, and a change costs the logarithm of how
 * many there are. No I/O, no clock. */
#ifndef XSE_DEADLINES_H
#define XSE_DEADLINES_H

#include <stdint.h>

struct deadlines;

struct deadlines *deadlines_new(uint32_t n_workers); /* numbered from 0; none has a deadline */
void deadlines_free(struct deadlines *deadlines); /* NULL is fine */

/* In place of the one that the worker has; INT64_MAX: it has none. */
void deadlines_set(struct deadlines *deadlines, uint32_t worker, int64_t when_us);
int64_t deadlines_next_us(const struct deadlines *deadlines); /* the soonest; INT64_MAX: there is none */
uint32_t deadlines_first(const struct deadlines *deadlines); /* a worker whose that is; there must be one */

#endif
