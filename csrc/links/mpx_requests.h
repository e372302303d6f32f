/* mpx_requests.h: MPI requests that are under way. Each turn looks at a bounded number of them, whatever their total. */
#ifndef XSE_MPX_REQUESTS_H
#define XSE_MPX_REQUESTS_H

#include <mpi.h>
#include <stdbool.h>
#include <stdint.h>

#define MPX_REQUESTS_A_TURN 64 /* looked at in one turn */
#define MPX_REQUESTS_ROUND_US 500 /* the shortest time between two looks at the same request, when there are more */

struct mpx_requests { /* zeroed: none. Read n; leave the rest to mpx_requests.c */
    MPI_Request *v;
    void **owner;
    int n, capacity;
    int at; /* the first that this round has not looked at */
    int64_t round_us; /* when this round began */
};

void mpx_requests_add(struct mpx_requests *requests, MPI_Request request, void *owner);
/* Look at the next requests. `done` is called for each that is complete, and may add others. True: some were. */
bool mpx_requests_test(struct mpx_requests *requests, int64_t now_us, void (*done)(void *arg, void *owner), void *arg);
/* A round has begun and there are requests that it has not looked at. */
bool mpx_requests_in_round(const struct mpx_requests *requests);
void mpx_requests_free(struct mpx_requests *requests); /* the table; requests and owners are the caller's */

#endif
