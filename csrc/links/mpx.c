#include "links/mpx.h"

#include <assert.h>
#include <mpi.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "links/bell.h"
#include "links/mpx_frame.h"

enum { TAG_SMALL = 1, TAG_ANNOUNCE = 2, TAG_PIECE = 3 };

/* How long to sleep when a bell may not reach us (docs/decisions/0002): half of how long nothing has come, within these
 * bounds. With transfers under way MPI needs us often; after a far ring its message may still be on its way. */
#define PATIENCE_LEAST_US 1000
#define PATIENCE_MOST_US 100000
#define PATIENCE_DEAF_US 10000 /* the most while some rank cannot ring us */
#define PATIENCE_MOVING_US 500
#define PATIENCE_EXPECTING_US 100
#define EXPECT_FOR_US 5000

struct outbound {
    MPI_Request request;
    struct bytes *owner;
    uint32_t to;
    struct outbound *next;
};

struct inbound { /* received but for its pieces, or waiting for one before it from the same rank */
    struct msg *msg;
    uint32_t from;
    int n_pieces, n_arrived;
    MPI_Request *pieces;
    struct inbound *next;
};

struct neighbour { /* another rank, as far as ringing goes */
    int node_rank; /* -1: on another node */
    struct bell_card card;
    struct bell_far far;
    bool reaches_us; /* its far ring has come in */
};

struct mpx {
    MPI_Comm world, pieces, node;
    MPI_Win window;
    int rank, n_ranks, node_rank, n_node;
    atomic_uint *asleep; /* of this node, by node_rank; NULL: alone on it */
    struct neighbour *neighbours; /* by rank; NULL: alone */
    uint32_t n_far, n_far_reaching; /* ranks of other nodes that talk to us, and those that can ring */
    struct bell *bell;
    struct loop *loop;
    struct loop_source source;
    struct outbound *sending;
    struct inbound *coming, *last_coming;
    struct {
        struct msg **v;
        size_t n, capacity;
    } to_self, taken;
    int64_t last_busy_us, expecting_until_us;
    void (*on_message)(void *arg, uint32_t from, struct msg *msg);
    void *arg;
};

/* ---- ringing ---------------------------------------------------------------------------------------------------- */

static void ring(struct mpx *m, uint32_t to)
{
    struct neighbour *n = &m->neighbours[to];
    if (n->node_rank < 0)
        bell_ring_far(m->bell, &n->far, &n->card);
    else if (atomic_exchange(&m->asleep[n->node_rank], 0))
        bell_ring_near(m->bell, &n->card);
}

static void on_far_ring(void *arg, uint32_t rank, const struct bell_far *far)
{
    struct mpx *m = arg;
    if (rank >= (uint32_t)m->n_ranks || m->neighbours[rank].node_rank >= 0)
        return;
    struct neighbour *n = &m->neighbours[rank];
    bool first = !n->reaches_us;
    n->far = *far;
    m->expecting_until_us = loop_now_us(m->loop) + EXPECT_FOR_US;
    if (first) {
        n->reaches_us = true;
        m->n_far_reaching++;
        bell_ring_far(m->bell, &n->far, &n->card); /* so that it learns the same of us */
    }
}

static void on_bell(void *arg, uint32_t events)
{
    struct mpx *m = arg;
    (void)events;
    bell_hear(m->bell, on_far_ring, m);
}

/* ---- sending ---------------------------------------------------------------------------------------------------- */

static void start_send(struct mpx *m, MPI_Comm comm, uint32_t to, int tag, struct bytes *owner, const uint8_t *p,
                       size_t n)
{
    struct outbound *o = mem_new(sizeof *o);
    *o = (struct outbound){.owner = bytes_ref(owner), .to = to, .next = m->sending};
    MPI_Isend(p, (int)n, MPI_BYTE, (int)to, tag, comm, &o->request);
    m->sending = o;
}

void mpx_send(struct mpx *m, uint32_t to, struct msg *msg)
{
    if (to == (uint32_t)m->rank) {
        if (m->to_self.n == m->to_self.capacity) {
            m->to_self.capacity = m->to_self.capacity ? 2 * m->to_self.capacity : 16;
            m->to_self.v = mem_grow(m->to_self.v, m->to_self.capacity, sizeof *m->to_self.v);
        }
        m->to_self.v[m->to_self.n++] = msg;
        return;
    }
    if (bytes_length(msg->head) + msg->payload.length <= MPX_SMALL) {
        struct bytes *frame = mpx_frame_small(msg);
        start_send(m, m->world, to, TAG_SMALL, frame, bytes_data(frame), bytes_length(frame));
        bytes_unref(frame);
    } else {
        struct parts pieces = {0};
        mpx_frame_pieces(msg, &pieces);
        struct bytes *frame = mpx_frame_announce(msg, &pieces);
        start_send(m, m->world, to, TAG_ANNOUNCE, frame, bytes_data(frame), bytes_length(frame));
        for (size_t i = 0; i < pieces.n_slices; i++)
            start_send(m, m->pieces, to, TAG_PIECE, pieces.v[i].owner, pieces.v[i].p, pieces.v[i].n);
        bytes_unref(frame);
        parts_clear(&pieces);
    }
    msg_unref(msg);
    ring(m, to);
}

/* Sends that have left. The message may have become visible only now: ring again. */
static bool finish_sends(struct mpx *m)
{
    bool any = false;
    for (struct outbound **at = &m->sending; *at;) {
        struct outbound *o = *at;
        int left;
        MPI_Test(&o->request, &left, MPI_STATUS_IGNORE);
        if (!left) {
            at = &o->next;
            continue;
        }
        *at = o->next;
        ring(m, o->to);
        bytes_unref(o->owner);
        mem_free(o);
        any = true;
    }
    return any;
}

/* ---- receiving -------------------------------------------------------------------------------------------------- */

static void cannot_go_on(const struct mpx *m, uint32_t from, enum wire_error error)
{
    log_error("mpi_message_bad rank=%d from=%u error=%s", m->rank, from, wire_error_name(error));
    fprintf(stderr, "xse-pool: rank %d got bytes from rank %u that are no message (%s); this block ends\n", m->rank,
            from, wire_error_name(error));
    _exit(70);
}

static void receive(struct mpx *m, MPI_Message *message, const MPI_Status *status)
{
    int n;
    uint32_t from = (uint32_t)status->MPI_SOURCE;
    MPI_Get_count(status, MPI_BYTE, &n);
    struct bytes *frame = bytes_new((size_t)n);
    if (!frame)
        cannot_go_on(m, from, WIRE_BAD_LENGTH);
    MPI_Mrecv(bytes_data(frame), n, MPI_BYTE, message, MPI_STATUS_IGNORE);
    struct inbound *in = mem_new(sizeof *in);
    in->from = from;
    enum wire_error error = mpx_frame_read(frame, status->MPI_TAG == TAG_ANNOUNCE, &in->msg);
    if (error)
        cannot_go_on(m, from, error);
    if (status->MPI_TAG == TAG_ANNOUNCE) {
        struct parts *payload = &in->msg->payload;
        in->n_pieces = (int)payload->n_slices;
        in->pieces = mem_array(payload->n_slices, sizeof *in->pieces);
        for (int i = 0; i < in->n_pieces; i++)
            MPI_Irecv(bytes_data(payload->v[i].owner), (int)payload->v[i].n, MPI_BYTE, (int)from, TAG_PIECE, m->pieces,
                      &in->pieces[i]);
    }
    *(m->last_coming ? &m->last_coming->next : &m->coming) = in;
    m->last_coming = in;
}

static bool arrived(struct inbound *in)
{
    for (int there = 1; in->n_arrived < in->n_pieces; in->n_arrived++) {
        MPI_Test(&in->pieces[in->n_arrived], &there, MPI_STATUS_IGNORE);
        if (!there)
            return false;
    }
    return true;
}

/* Deliver what is complete, unless something before it from the same rank is not. */
static bool deliver(struct mpx *m)
{
    bool any = false;
    struct inbound **at = &m->coming, *before = NULL;
    while (*at) {
        struct inbound *in = *at;
        bool blocked = false;
        for (struct inbound *other = m->coming; other != in && !blocked; other = other->next)
            blocked = other->from == in->from;
        if (blocked || !arrived(in)) {
            before = in;
            at = &in->next;
            continue;
        }
        *at = in->next;
        if (m->last_coming == in)
            m->last_coming = before;
        m->on_message(m->arg, in->from, in->msg);
        msg_unref(in->msg);
        mem_free(in->pieces);
        mem_free(in);
        any = true;
    }
    return any;
}

static bool receive_some(struct mpx *m)
{
    bool any = false;
    for (int i = 0; i < 256 && m->n_ranks > 1; i++) { /* then others have their turn */
        int there;
        MPI_Message message;
        MPI_Status status;
        MPI_Improbe(MPI_ANY_SOURCE, MPI_ANY_TAG, m->world, &there, &message, &status);
        if (!there)
            break;
        receive(m, &message, &status);
        any = true;
        if (m->coming)
            deliver(m);
    }
    return any;
}

static bool deliver_to_self(struct mpx *m)
{
    if (!m->to_self.n)
        return false;
    /* What is sent while these are delivered goes into the other list. */
    struct msg **v = m->to_self.v;
    size_t n = m->to_self.n, capacity = m->to_self.capacity;
    m->to_self.v = m->taken.v;
    m->to_self.capacity = m->taken.capacity;
    m->to_self.n = 0;
    m->taken.v = v;
    m->taken.capacity = capacity;
    for (size_t i = 0; i < n; i++) {
        m->on_message(m->arg, (uint32_t)m->rank, v[i]);
        msg_unref(v[i]);
    }
    return true;
}

/* ---- in the loop ------------------------------------------------------------------------------------------------ */

static bool turn(void *arg)
{
    struct mpx *m = arg;
    bool any = deliver_to_self(m);
    any |= finish_sends(m);
    any |= receive_some(m);
    if (m->coming)
        any |= deliver(m);
    if (any) {
        m->last_busy_us = loop_now_us(m->loop);
        m->expecting_until_us = 0;
    }
    return any;
}

/* A turn's flush may have sent to this very rank. */
static bool doze(void *arg)
{
    struct mpx *m = arg;
    int there = 0;
    if (m->to_self.n)
        return true;
    if (m->n_ranks == 1)
        return false;
    if (m->asleep) {
        atomic_store(&m->asleep[m->node_rank], 1);
        atomic_thread_fence(memory_order_seq_cst);
    }
    MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, m->world, &there, MPI_STATUS_IGNORE);
    return there;
}

static void wake(void *arg)
{
    struct mpx *m = arg;
    if (m->asleep)
        atomic_store(&m->asleep[m->node_rank], 0);
}

static int64_t patience_us(void *arg)
{
    struct mpx *m = arg;
    int64_t now = loop_now_us(m->loop);
    if (m->n_ranks == 1)
        return INT64_MAX;
    if (m->sending || m->coming)
        return PATIENCE_MOVING_US;
    if (now < m->expecting_until_us)
        return PATIENCE_EXPECTING_US;
    int64_t most = m->n_far_reaching < m->n_far ? PATIENCE_DEAF_US : PATIENCE_MOST_US;
    int64_t half = (now - m->last_busy_us) / 2;
    return half < PATIENCE_LEAST_US ? PATIENCE_LEAST_US : half > most ? most : half;
}

/* ---- opening and closing ---------------------------------------------------------------------------------------- */

static void exchange_cards(struct mpx *m)
{
    struct bell_card *cards = mem_array((size_t)m->n_ranks, sizeof *cards);
    int *node_of = mem_array((size_t)m->n_ranks, sizeof *node_of);
    int leader = m->rank; /* the lowest world rank of this node names it */
    MPI_Bcast(&leader, 1, MPI_INT, 0, m->node);
    MPI_Allgather(&leader, 1, MPI_INT, node_of, 1, MPI_INT, m->world);
    MPI_Allgather(bell_card(m->bell), sizeof *cards, MPI_BYTE, cards, sizeof *cards, MPI_BYTE, m->world);
    m->neighbours = mem_array((size_t)m->n_ranks, sizeof *m->neighbours);
    for (int i = 0, node_rank = 0; i < m->n_ranks; i++) {
        struct neighbour *n = &m->neighbours[i];
        n->card = cards[i];
        n->node_rank = node_of[i] == leader ? node_rank++ : -1;
        /* Only rank 0 and the others talk; ranks of other nodes do not among themselves. */
        m->n_far += n->node_rank < 0 && (i == 0 || m->rank == 0);
    }
    mem_free(cards);
    mem_free(node_of);
}

static void share_flags(struct mpx *m)
{
    MPI_Aint mine = sizeof(atomic_uint), size;
    int unit;
    atomic_uint *flag, *first;
    MPI_Info info;
    MPI_Info_create(&info);
    MPI_Info_set(info, "alloc_shared_noncontig", "false");
    MPI_Win_allocate_shared(mine, sizeof(atomic_uint), info, m->node, &flag, &m->window);
    MPI_Info_free(&info);
    MPI_Win_shared_query(m->window, 0, &size, &unit, &first);
    atomic_init(flag, 0);
    m->asleep = first;
    MPI_Barrier(m->node);
}

static int open_bells(struct mpx *m, struct err *err)
{
    uint8_t token[8];
    if (m->rank == 0 && getrandom(token, sizeof token, 0) != sizeof token)
        return err_set_errno(err, "cannot draw a random token");
    MPI_Bcast(token, sizeof token, MPI_BYTE, 0, m->world);
    m->bell = bell_new((uint32_t)m->rank, token, err);
    if (!m->bell)
        return -1;
    exchange_cards(m);
    if (m->n_node > 1)
        share_flags(m);
    loop_watch(m->loop, bell_local_fd(m->bell), EPOLLIN, on_bell, m);
    if (bell_far_fd(m->bell) >= 0)
        loop_watch(m->loop, bell_far_fd(m->bell), EPOLLIN, on_bell, m);
    if (m->rank && m->neighbours[0].node_rank < 0) /* rank 0 answers: both know then */
        bell_ring_far(m->bell, &m->neighbours[0].far, &m->neighbours[0].card);
    return 0;
}

/* How many ranks the launcher says it has started; 0: it does not say. own: the variable of this MPI's own mpiexec, which
 * counts whatever a job around it has set. */
static long long ranks_launched(const char *own)
{
    static const char *const names[] = {
        "PMI_SIZE",      "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS", "PALS_SIZE",
        "FLUX_JOB_SIZE", "JSM_NAMESPACE_SIZE",   "MV2_COMM_WORLD_SIZE",  "MVP_COMM_WORLD_SIZE"};
    if (getenv(own))
        return strtoll(getenv(own), NULL, 10);
    long long most = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        long long n = getenv(names[i]) ? strtoll(getenv(names[i]), NULL, 10) : 0;
        most = n > most ? n : most;
    }
    return most;
}

/* A launcher that does not speak this MPI's PMI starts as many processes as it was told to, and each finds itself alone:
 * N pools of one rank in place of one of N. */
static int check_launcher(const struct mpx *m, int64_t asked, struct err *err)
{
    bool open_mpi = strncmp(mpx_library(), "Open MPI", strlen("Open MPI")) == 0;
    const char *own = open_mpi ? "OMPI_COMM_WORLD_SIZE" : "PMI_SIZE";
    long long launched = ranks_launched(own), n = launched > asked ? launched : asked;
    if (m->n_ranks > 1 || n < 2)
        return 0;
    if (getenv(own) && launched < 2)
        return err_set(err, "%lld ranks were asked for, and the launcher was told to start one: see its command line",
                       n);
    if (getenv("SLURM_STEP_ID") || getenv("SLURM_PROCID"))
        return err_set(
            err,
            "it was started %lld times by the launcher, and each is alone, for srun does not speak the PMI of "
            "%s: give srun another --mpi (mpi_launcher_args=\"--mpi=%s\"; srun --mpi=list shows what there is)",
            n, mpx_library(), open_mpi ? "pmix" : "pmi2");
    return err_set(
        err,
        "it was started %lld times by the launcher of another MPI than %s, which it was built with, and each is "
        "alone, for the two do not speak the same PMI: start it with the mpiexec beside %s",
        n, mpx_library(), XSE_MPICC);
}

struct mpx *mpx_open(int *argc, char ***argv, int64_t asked_ranks, struct loop *loop, struct err *err)
{
    int provided;
    if (MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS) {
        err_set(err, "MPI_Init failed");
        return NULL;
    }
    struct mpx *m = mem_new(sizeof *m);
    m->loop = loop;
    MPI_Comm_dup(MPI_COMM_WORLD, &m->world);
    MPI_Comm_dup(MPI_COMM_WORLD, &m->pieces);
    MPI_Comm_rank(m->world, &m->rank);
    MPI_Comm_size(m->world, &m->n_ranks);
    if (check_launcher(m, asked_ranks, err))
        return NULL;
    MPI_Comm_split_type(m->world, MPI_COMM_TYPE_SHARED, m->rank, MPI_INFO_NULL, &m->node);
    MPI_Comm_rank(m->node, &m->node_rank);
    MPI_Comm_size(m->node, &m->n_node);
    m->last_busy_us = loop_now_us(loop);
    m->source = (struct loop_source){turn, NULL, doze, wake, patience_us, m};
    if (m->n_ranks > 1 && open_bells(m, err))
        return NULL;
    loop_add_source(loop, &m->source);
    return m;
}

void mpx_on_message(struct mpx *m, void (*fn)(void *arg, uint32_t from, struct msg *msg), void *arg)
{
    m->on_message = fn;
    m->arg = arg;
}

static int code_at_end;

static void end_here(int signal)
{
    (void)signal;
    _exit(code_at_end);
}

void mpx_close(struct mpx *m, unsigned timeout_s, int exit_code)
{
    code_at_end = exit_code;
    struct sigaction action = {.sa_handler = end_here};
    sigset_t alarms;
    sigaction(SIGALRM, &action, NULL);
    sigemptyset(&alarms);
    sigaddset(&alarms, SIGALRM);
    sigprocmask(SIG_UNBLOCK, &alarms, NULL);
    alarm(timeout_s);
    while (m->sending)
        finish_sends(m);
    if (m->window)
        MPI_Win_free(&m->window);
    MPI_Finalize();
    alarm(0);
    bell_free(m->bell);
    for (size_t i = 0; i < m->to_self.n; i++)
        msg_unref(m->to_self.v[i]);
    mem_free(m->to_self.v);
    mem_free(m->taken.v);
    mem_free(m->neighbours);
    mem_free(m);
}

uint32_t mpx_rank(const struct mpx *m)
{
    return (uint32_t)m->rank;
}

uint32_t mpx_n_ranks(const struct mpx *m)
{
    return (uint32_t)m->n_ranks;
}

void mpx_node_sums(struct mpx *m, uint32_t mine, uint32_t *all, uint32_t *before)
{
    *before = 0;
    MPI_Allreduce(&mine, all, 1, MPI_UINT32_T, MPI_SUM, m->node);
    MPI_Exscan(&mine, before, 1, MPI_UINT32_T, MPI_SUM, m->node);
    if (m->node_rank == 0) /* MPI leaves it undefined there */
        *before = 0;
}

uint32_t mpx_node_equals(struct mpx *m, const void *mine, size_t n)
{
    uint8_t *all = mem_array((size_t)m->n_node, n);
    uint32_t equal = 0;
    MPI_Allgather(mine, (int)n, MPI_BYTE, all, (int)n, MPI_BYTE, m->node);
    for (int i = 0; i < m->n_node; i++)
        equal += memcmp(all + (size_t)i * n, mine, n) == 0;
    mem_free(all);
    return equal;
}

const char *mpx_library(void)
{
    static char text[64];
    char all[MPI_MAX_LIBRARY_VERSION_STRING];
    int n;
    MPI_Get_library_version(all, &n);
    char *version = strstr(all, "Version:");
    if (strstr(all, "Open MPI")) { /* "Open MPI v4.1.4, package: ..." */
        version = strstr(all, " v");
        snprintf(text, sizeof text, "Open MPI %.*s", version ? (int)strcspn(version + 2, ", ") : 0,
                 version ? version + 2 : "");
    } else if (version) { /* "MPICH Version:\t4.0.2\n..." */
        int name = (int)strcspn(all, " \t");
        version += strlen("Version:");
        version += strspn(version, " \t");
        snprintf(text, sizeof text, "%.*s %.*s", name < 24 ? name : 24, all, (int)strcspn(version, " \n"), version);
    } else
        snprintf(text, sizeof text, "%.*s", (int)strcspn(all, "\n"), all);
    return text;
}
