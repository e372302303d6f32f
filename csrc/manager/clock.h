/* clock.h: how far another process's monotonic clock is from ours, from heartbeats that it has answered. Pure.
 *
 * We say our time, it answers with its own, and the answer comes at a third time. Its clock is then known within half of
 * the way there and back, so the shortest way is the best answer. An old answer is worth less with each later one, for
 * clocks drift by some microseconds a second. */
#ifndef XSE_CLOCK_H
#define XSE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

struct clock { /* zeroed: nothing is known, and ahead_us is 0 */
    int64_t ahead_us; /* its clock minus ours */
    int64_t way_us; /* there and back, of the answer that ahead_us is from; grows with each answer that was longer */
    bool known;
};

/* sent_us: by our clock; theirs_us: its answer; now_us: when that came, by our clock. */
void clock_learn(struct clock *clock, int64_t sent_us, int64_t theirs_us, int64_t now_us);

#endif
