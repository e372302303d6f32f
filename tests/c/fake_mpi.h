/* fake_mpi.h: an MPI in one process, for csrc/links/mpx*.c. Each of its ranks is played by the same thread: set fake.rank,
 * then call that rank's functions. It counts what it is asked, and can let the bytes of a rank come late.
 *
 * A message of at most FAKE_EAGER bytes leaves its sender at once; a larger one when it is received. There is no call that
 * blocks, but for MPI_Wait of a receive that was cancelled: code that calls one does not link. */
#ifndef XSE_TEST_FAKE_MPI_H
#define XSE_TEST_FAKE_MPI_H

#include <mpi.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef OPEN_MPI /* its constants are addresses of these */
struct ompi_predefined_datatype_t {
    char none;
} ompi_mpi_byte;
struct ompi_predefined_request_t {
    char none;
} ompi_request_null;
#endif

#define FAKE_EAGER 4096
#define FAKE_MOST_RANKS 4096

struct fake_request {
    bool is_send, matched, complete, cancelled;
    MPI_Comm comm;
    int from, to, tag, n; /* of a receive: as it was posted, and then what has come */
    const void *data; /* of a send: the sender's, or a copy */
    void *copy, *into;
    struct fake_request *other; /* of a send: its receive */
    struct fake_request *next;
    int handle;
};

static struct {
    int rank, n_ranks;
    bool stalls[FAKE_MOST_RANKS]; /* what these ranks send is announced to MPI, and its bytes do not come */
    bool reversed; /* frames complete in reverse order */
    unsigned long n_sends, n_receives, n_tested; /* requests that were looked at count each */
    int n_posted, most_posted; /* receives that wait */
    struct fake_request *posted, *unexpected; /* in order */
    struct fake_request **requests; /* by handle */
    int n_requests, capacity;
} fake;

static inline MPI_Request fake_handle(int i)
{
    return (MPI_Request)(intptr_t)(0x1000 + i);
}

static inline struct fake_request *fake_request_of(MPI_Request handle)
{
    return fake.requests[(int)(intptr_t)handle - 0x1000];
}

static inline struct fake_request *fake_request_new(MPI_Request *handle)
{
    if (fake.n_requests == fake.capacity) {
        fake.capacity = fake.capacity ? 2 * fake.capacity : 1024;
        fake.requests = realloc(fake.requests, (size_t)fake.capacity * sizeof *fake.requests);
    }
    struct fake_request *r = calloc(1, sizeof *r);
    r->handle = fake.n_requests;
    fake.requests[fake.n_requests] = r;
    *handle = fake_handle(fake.n_requests++);
    return r;
}

/* Its bytes come. A receive that has what it wanted is complete. */
static inline void fake_transfer(struct fake_request *send)
{
    struct fake_request *receive = send->other;
    if (receive->complete || fake.stalls[send->from])
        return;
    if (send->n > receive->n)
        abort(); /* truncated: an error in MPI */
    memcpy(receive->into, send->data, (size_t)send->n);
    receive->n = send->n;
    receive->from = send->from;
    receive->tag = send->tag;
    receive->complete = send->complete = true;
    free(send->copy);
    send->copy = NULL;
}

static inline bool fake_fits(const struct fake_request *send, const struct fake_request *receive)
{
    return send->comm == receive->comm && send->to == receive->to &&
           (receive->from == MPI_ANY_SOURCE || receive->from == send->from) &&
           (receive->tag == MPI_ANY_TAG || receive->tag == send->tag);
}

static inline void fake_match(struct fake_request *send, struct fake_request *receive)
{
    send->other = receive;
    receive->matched = true;
    receive->other = send;
    fake.n_posted--;
    fake_transfer(send);
}

int MPI_Isend(const void *p, int n, MPI_Datatype type, int to, int tag, MPI_Comm comm, MPI_Request *handle)
{
    struct fake_request *send = fake_request_new(handle);
    (void)type;
    fake.n_sends++;
    *send = (struct fake_request){
        .is_send = true, .comm = comm, .from = fake.rank, .to = to, .tag = tag, .n = n, .handle = send->handle};
    send->data = p;
    if (n <= FAKE_EAGER) {
        send->data = send->copy = malloc((size_t)n + 1);
        memcpy(send->copy, p, (size_t)n);
        send->complete = true;
    }
    for (struct fake_request **at = &fake.posted; *at; at = &(*at)->next)
        if (fake_fits(send, *at)) {
            struct fake_request *receive = *at;
            *at = receive->next;
            fake_match(send, receive);
            return MPI_SUCCESS;
        }
    struct fake_request **at = &fake.unexpected;
    while (*at)
        at = &(*at)->next;
    *at = send;
    return MPI_SUCCESS;
}

int MPI_Irecv(void *p, int n, MPI_Datatype type, int from, int tag, MPI_Comm comm, MPI_Request *handle)
{
    struct fake_request *receive = fake_request_new(handle);
    (void)type;
    fake.n_receives++;
    *receive = (struct fake_request){
        .comm = comm, .from = from, .to = fake.rank, .tag = tag, .n = n, .into = p, .handle = receive->handle};
    if (++fake.n_posted > fake.most_posted)
        fake.most_posted = fake.n_posted;
    for (struct fake_request **at = &fake.unexpected; *at; at = &(*at)->next)
        if (fake_fits(*at, receive)) {
            struct fake_request *send = *at;
            *at = send->next;
            send->next = NULL;
            fake_match(send, receive);
            return MPI_SUCCESS;
        }
    struct fake_request **at = &fake.posted;
    while (*at)
        at = &(*at)->next;
    *at = receive;
    return MPI_SUCCESS;
}

static inline bool fake_look(MPI_Request *handle, MPI_Status *status)
{
    struct fake_request *r = fake_request_of(*handle);
    fake.n_tested++;
    if (!r->is_send && r->matched && !r->complete && !r->cancelled)
        fake_transfer(r->other);
    if (!r->complete)
        return false;
    if (status && !r->is_send) {
        status->MPI_SOURCE = r->from;
        status->MPI_TAG = r->tag;
        status->MPI_ERROR = r->n; /* where the fake MPI_Get_count finds it */
    }
    *handle = MPI_REQUEST_NULL;
    return true;
}

int MPI_Test(MPI_Request *handle, int *complete, MPI_Status *status)
{
    *complete = *handle == MPI_REQUEST_NULL || fake_look(handle, status == MPI_STATUS_IGNORE ? NULL : status);
    return MPI_SUCCESS;
}

int MPI_Testsome(int n, MPI_Request *handles, int *n_complete, int *which, MPI_Status *statuses)
{
    *n_complete = 0;
    for (int k = 0; k < n; k++) {
        int i = fake.reversed ? n - 1 - k : k;
        if (handles[i] != MPI_REQUEST_NULL && fake_look(&handles[i], &statuses[*n_complete]))
            which[(*n_complete)++] = i;
    }
    return MPI_SUCCESS;
}

int MPI_Get_count(const MPI_Status *status, MPI_Datatype type, int *n)
{
    (void)type;
    *n = status->MPI_ERROR;
    return MPI_SUCCESS;
}

int MPI_Cancel(MPI_Request *handle)
{
    struct fake_request *r = fake_request_of(*handle);
    for (struct fake_request **at = &fake.posted; *at; at = &(*at)->next)
        if (*at == r) {
            *at = r->next;
            fake.n_posted--;
            break;
        }
    r->cancelled = r->complete = true;
    return MPI_SUCCESS;
}

int MPI_Wait(MPI_Request *handle, MPI_Status *status)
{
    (void)status;
    if (!fake_request_of(*handle)->cancelled)
        abort(); /* it would block */
    *handle = MPI_REQUEST_NULL;
    return MPI_SUCCESS;
}

/* All that was sent leaves, as if somebody had received it. */
static inline void fake_let_all_leave(void)
{
    for (int i = 0; i < fake.n_requests; i++)
        fake.requests[i]->complete |= fake.requests[i]->is_send;
}

/* Everything that a test has left. */
static inline void fake_clear(void)
{
    for (int i = 0; i < fake.n_requests; i++) {
        free(fake.requests[i]->copy);
        free(fake.requests[i]);
    }
    free(fake.requests);
    memset(&fake, 0, sizeof fake);
}

#endif
