/* orders.h: what a rank asks of its zygote: records on the socket between csrc/worker/zygote_link.c and zygote.c. */
#ifndef XSE_ORDERS_H
#define XSE_ORDERS_H

#include <time.h>

#include "worker/zygote.h"

#define ORDER_N_FDS 4 /* that a FORK brings along, as struct zygote_fds has them */
#define ORDER_FD 3 /* the zygote's end of the socket */

enum order_kind { ORDER_FORK = 1, ORDER_KILL, ORDER_PING, ORDER_END };

struct order {
    enum order_kind kind;
    struct zygote_worker worker; /* FORK: all of it; KILL: worker */
    int grace_ms; /* END */
};

static inline int64_t order_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

#endif
