#include "links/mpx.h"

#include <mpi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "links/mpx_load.h"
#include "links/mpx_recv.h"
#include "links/mpx_ring.h"
#include "links/mpx_send.h"

struct mpx {
    MPI_Comm frames, pieces, node;
    int rank, n_ranks, node_rank, n_node;
    struct mpx_ring *ring; /* these three: NULL in a block of one rank */
    struct mpx_send *send;
    struct mpx_recv *recv;
    struct loop *loop;
    struct loop_source source;
    struct {
        struct msg **v;
        size_t n, capacity;
    } to_self, taken;
    bool dozed; /* the look before the sleep found nothing */
    struct mpx_events events;
};

/* ---- messages to this rank -------------------------------------------------------------------------------------- */

static void mpx_send_to_self(struct mpx *m, struct msg *msg)
{
    if (m->to_self.n == m->to_self.capacity) {
        m->to_self.capacity = m->to_self.capacity ? 2 * m->to_self.capacity : 16;
        m->to_self.v = mem_grow(m->to_self.v, m->to_self.capacity, sizeof *m->to_self.v);
    }
    m->to_self.v[m->to_self.n++] = msg;
}

static bool mpx_deliver_to_self(struct mpx *m)
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
        m->events.message(m->events.arg, (uint32_t)m->rank, v[i]);
        msg_unref(v[i]);
    }
    return true;
}

/* ---- messages between ranks ------------------------------------------------------------------------------------- */

static void mpx_on_message(void *arg, uint32_t from, struct msg *msg)
{
    struct mpx *m = arg;
    m->events.message(m->events.arg, from, msg);
}

static void mpx_on_heard(void *arg, uint32_t from)
{
    struct mpx *m = arg;
    if (m->events.heard)
        m->events.heard(m->events.arg, from);
}

/* Ranks are one program: bytes that are no message mean that memory or the network are broken. */
static void mpx_on_bad(void *arg, uint32_t from, enum wire_error error)
{
    const struct mpx *m = arg;
    log_error("mpi_message_bad rank=%d from=%u error=%s", m->rank, from, wire_error_name(error));
    fprintf(stderr, "xse-pool: rank %d got bytes from rank %u that are no message (%s); this block ends\n", m->rank,
            from, wire_error_name(error));
    _exit(70);
}

void mpx_send(struct mpx *m, uint32_t to, struct msg *msg)
{
    if (to == (uint32_t)m->rank)
        mpx_send_to_self(m, msg);
    else
        mpx_send_message(m->send, to, msg, loop_now_us(m->loop));
}

uint64_t mpx_waiting(const struct mpx *m)
{
    return m->send ? mpx_send_waiting(m->send) : 0;
}

void mpx_hold_large(struct mpx *m, bool held)
{
    if (m->recv)
        mpx_recv_hold(m->recv, held);
}

/* ---- in the loop ------------------------------------------------------------------------------------------------ */

static bool mpx_turn(void *arg)
{
    struct mpx *m = arg;
    int64_t now_us = loop_now_us(m->loop);
    bool any = mpx_deliver_to_self(m);
    if (m->n_ranks == 1)
        return any;
    mpx_ring_turn(m->ring, now_us);
    any |= mpx_send_turn(m->send, now_us);
    any |= mpx_recv_turn(m->recv, now_us);
    if (any)
        mpx_ring_came(m->ring, now_us);
    return any;
}

/* A turn's flush may have sent to this very rank. */
static bool mpx_doze(void *arg)
{
    struct mpx *m = arg;
    m->dozed = false;
    if (m->to_self.n || m->n_ranks == 1)
        return m->to_self.n > 0;
    mpx_ring_doze(m->ring);
    m->dozed = !mpx_recv_turn(m->recv, loop_now_us(m->loop));
    return !m->dozed;
}

static void mpx_wake(void *arg)
{
    struct mpx *m = arg;
    if (m->n_ranks > 1)
        mpx_ring_wake(m->ring, m->dozed);
}

static int64_t mpx_patience_us(void *arg)
{
    struct mpx *m = arg;
    if (m->n_ranks == 1)
        return INT64_MAX;
    if (mpx_send_in_round(m->send) || mpx_recv_in_round(m->recv))
        return 0;
    return mpx_ring_patience_us(m->ring, loop_now_us(m->loop),
                                mpx_send_is_moving(m->send) || mpx_recv_is_moving(m->recv));
}

/* ---- opening and closing ---------------------------------------------------------------------------------------- */

/* How many ranks the launcher says it has started; 0: it does not say. own: the variable of this MPI's own mpiexec, which
 * counts whatever a job around it has set. */
static long long mpx_ranks_launched(const char *own)
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
static int mpx_check_launcher(const struct mpx *m, int64_t asked, struct err *err)
{
    bool open_mpi = strncmp(mpx_library(), "Open MPI", strlen("Open MPI")) == 0;
    const char *own = open_mpi ? "OMPI_COMM_WORLD_SIZE" : "PMI_SIZE";
    long long launched = mpx_ranks_launched(own), n = launched > asked ? launched : asked;
    if (m->n_ranks > 1 || n < 2)
        return 0;
    if (getenv(own) && launched < 2)
        return err_set(err, "%lld ranks were asked for, and the launcher was told to start one: see its command line",
                       n);
    if (getenv("SLURM_STEP_ID") || getenv("SLURM_PROCID"))
        return err_set(
            err,
            "srun does not speak the PMI of %s: it has started %lld pools of one rank in place of one pool. Give "
            "srun another --mpi (mpi_launcher_args=\"--mpi=%s\"; srun --mpi=list shows what there is)",
            mpx_library(), n, open_mpi ? "pmix" : "pmi2");
    return err_set(
        err,
        "the launcher does not speak the PMI of %s, which xse-pool was built with: it has started %lld pools of "
        "one rank in place of one pool. Start it with the mpiexec beside %s",
        mpx_library(), n, mpx_mpicc());
}

static int mpx_open_links(struct mpx *m, struct err *err)
{
    uint32_t n_ranks = (uint32_t)m->n_ranks;
    struct mpx_recv_events events = {mpx_on_message, mpx_on_heard, mpx_on_bad, m};
    if (n_ranks == 1)
        return 0;
    m->ring = mpx_ring_open(m->frames, m->node, m->loop, err);
    if (!m->ring)
        return -1;
    m->send = mpx_send_new(m->frames, m->pieces, n_ranks, m->ring);
    m->recv = mpx_recv_new(m->frames, m->pieces, n_ranks, &events);
    return 0;
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
    MPI_Comm_dup(MPI_COMM_WORLD, &m->frames);
    MPI_Comm_dup(MPI_COMM_WORLD, &m->pieces);
    MPI_Comm_rank(m->frames, &m->rank);
    MPI_Comm_size(m->frames, &m->n_ranks);
    if (mpx_check_launcher(m, asked_ranks, err))
        goto fail;
    MPI_Comm_split_type(m->frames, MPI_COMM_TYPE_SHARED, m->rank, MPI_INFO_NULL, &m->node);
    MPI_Comm_rank(m->node, &m->node_rank);
    MPI_Comm_size(m->node, &m->n_node);
    if (mpx_open_links(m, err))
        goto fail;
    m->source = (struct loop_source){mpx_turn, NULL, mpx_doze, mpx_wake, mpx_patience_us, m};
    loop_add_source(loop, &m->source);
    return m;
fail:
    mem_free(m);
    return NULL;
}

void mpx_listen(struct mpx *m, const struct mpx_events *events)
{
    m->events = *events;
}

static int mpx_code_at_end;

static void mpx_end_here(int signal)
{
    (void)signal;
    _exit(mpx_code_at_end);
}

void mpx_close(struct mpx *m, unsigned timeout_s, int exit_code)
{
    mpx_code_at_end = exit_code;
    struct sigaction action = {.sa_handler = mpx_end_here};
    sigset_t alarms;
    sigaction(SIGALRM, &action, NULL);
    sigemptyset(&alarms);
    sigaddset(&alarms, SIGALRM);
    sigprocmask(SIG_UNBLOCK, &alarms, NULL);
    alarm(timeout_s);
    loop_remove_source(m->loop, &m->source);
    if (m->send)
        mpx_send_finish(m->send);
    mpx_recv_free(m->recv);
    mpx_send_free(m->send);
    mpx_ring_free(m->ring);
    MPI_Finalize();
    alarm(0);
    for (size_t i = 0; i < m->to_self.n; i++)
        msg_unref(m->to_self.v[i]);
    mem_free(m->to_self.v);
    mem_free(m->taken.v);
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

uint32_t mpx_sum_before(struct mpx *m, uint32_t mine)
{
    uint32_t before = 0;
    MPI_Exscan(&mine, &before, 1, MPI_UINT32_T, MPI_SUM, m->frames);
    return m->rank ? before : 0; /* MPI leaves it undefined at rank 0 */
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
