/* pipe.h: what passes between a leader and one of its workers: a stream socket and a shared page. Both ends are one
 * executable on one host, so these are plain structs.
 *
 * Each task given to a worker has the next number. The page's `next` is the number of the first task that the worker
 * has not begun: the worker begins task n by moving `next` from n to n + 1, and the leader takes back all that have not
 * begun by moving `next` to past the last. Whoever moves it first has the task; it says, too, what a crash has cost. */
#ifndef XSE_PIPE_H
#define XSE_PIPE_H

#include <stdatomic.h>
#include <stdint.h>

struct worker_page {
    _Atomic uint64_t next;
};

enum down_kind { DOWN_SETUP = 1, DOWN_FUNCTION = 2, DOWN_TASK = 3 };

struct down { /* to the worker; `length` bytes follow */
    uint32_t kind;
    uint32_t slot; /* FUNCTION: where to keep it; TASK: which to call */
    uint32_t codec; /* SETUP, FUNCTION */
    uint32_t reserved;
    uint64_t number; /* TASK */
    uint64_t length;
};

enum up_kind { UP_READY = 1, UP_SETUP_RAISED = 2, UP_RESULT = 3 };

struct up { /* from the worker; `length` bytes follow */
    uint32_t kind;
    uint32_t status; /* RESULT: enum wire_status. SETUP_RAISED: how many of the bytes are the reason */
    uint32_t time_us;
    uint32_t reserved;
    int64_t start_us; /* RESULT: of CLOCK_MONOTONIC, which all processes of a host share */
    uint64_t length;
};

#endif
