#include "links/mpx_requests.h"

#include "base/mem.h"

void mpx_requests_add(struct mpx_requests *r, MPI_Request request, void *owner)
{
    if (r->n == r->capacity) {
        r->capacity = r->capacity ? 2 * r->capacity : 16;
        r->v = mem_grow(r->v, (size_t)r->capacity, sizeof *r->v);
        r->owner = mem_grow(r->owner, (size_t)r->capacity, sizeof *r->owner);
    }
    r->v[r->n] = request;
    r->owner[r->n++] = owner;
}

/* The owners of the complete ones among n requests from `from` on. The last requests take their places. */
static int requests_take_complete(struct mpx_requests *r, int from, int n, void **owners)
{
    int n_taken = 0;
    for (int i = from + n - 1; i >= from; i--)
        if (r->v[i] == MPI_REQUEST_NULL) {
            owners[n_taken++] = r->owner[i];
            r->n--;
            r->v[i] = r->v[r->n];
            r->owner[i] = r->owner[r->n];
        }
    return n_taken;
}

bool mpx_requests_test(struct mpx_requests *r, int64_t now_us, void (*done)(void *arg, void *owner), void *arg)
{
    int which[MPX_REQUESTS_A_TURN], n_done;
    void *owners[MPX_REQUESTS_A_TURN];
    MPI_Status statuses[MPX_REQUESTS_A_TURN]; /* not used; of MPICH's MPI_STATUSES_IGNORE gcc warns */
    if (r->at >= r->n) { /* a new round */
        if (!r->n || (r->n > MPX_REQUESTS_A_TURN && now_us < r->round_us + MPX_REQUESTS_ROUND_US))
            return false;
        r->at = 0;
        r->round_us = now_us;
    }
    int from = r->at, n = r->n - from;
    n = n < MPX_REQUESTS_A_TURN ? n : MPX_REQUESTS_A_TURN;
    MPI_Testsome(n, r->v + from, &n_done, which, statuses);
    int n_taken = n_done > 0 ? requests_take_complete(r, from, n, owners) : 0;
    r->at = from + n - n_taken;
    while (n_taken--) /* the oldest first */
        done(arg, owners[n_taken]);
    return n_done > 0;
}

bool mpx_requests_in_round(const struct mpx_requests *r)
{
    return r->at > 0 && r->at < r->n;
}

void mpx_requests_free(struct mpx_requests *r)
{
    mem_free(r->v);
    mem_free(r->owner);
    *r = (struct mpx_requests){0};
}
