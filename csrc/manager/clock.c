#include "manager/clock.h"

void clock_learn(struct clock *clock, int64_t sent_us, int64_t theirs_us, int64_t now_us)
{
    int64_t way_us = now_us - sent_us;
    if (way_us < 0) /* no heartbeat of ours */
        return;
    if (clock->known && way_us > clock->way_us) {
        clock->way_us += clock->way_us / 4 + 1;
        return;
    }
    clock->known = true;
    clock->way_us = way_us;
    clock->ahead_us = theirs_us - (sent_us + way_us / 2);
}
