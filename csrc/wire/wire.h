/* wire.h: the wire of docs/developers/protocol.md: heads to messages and back. No sockets, no MPI, no Python.
 *
 * wire_decode looks at every byte of a head once and refuses what is not right; after it, the accessors need no checks.
 * Whatever a wire_message points at lies in the head it was read from. */
#ifndef XSE_WIRE_H
#define XSE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

#define WIRE_VERSION 1
#define WIRE_PREAMBLE 24u
#define WIRE_MAX_HEAD (4u << 20)
#define WIRE_MAX_ITEMS 65536u
#define WIRE_MAX_ITEM 0x7fffffffu
#define WIRE_MAX_PAYLOAD (UINT64_C(1) << 40)
#define WIRE_MAX_TEXT 65536u
#define WIRE_DIGEST 16u

enum wire_type {
    WIRE_TASKS = 1,
    WIRE_RESULTS = 2,
    WIRE_CANCEL = 3,
    WIRE_STARTED = 4,
    WIRE_RECALL = 5,
    WIRE_REGISTER = 16,
    WIRE_WELCOME = 17,
    WIRE_REFUSE = 18,
    WIRE_HEARTBEAT = 19,
    WIRE_CREDIT = 20,
    WIRE_STOP = 21,
    WIRE_BYE = 22,
    WIRE_NODE = 32,
    WIRE_START = 33,
    WIRE_LOG = 34,
    WIRE_REQUEST = 48,
    WIRE_REPLY = 49,
    WIRE_EVENT = 50,
};

#define WIRE_KILL 1u /* flag of CANCEL */
#define WIRE_DRAINING 1u /* flag of CREDIT */
#define WIRE_NOW 1u /* flag of STOP */

enum wire_status {
    WIRE_VALUE = 0,
    WIRE_RAISED = 1,
    WIRE_WORKER_LOST = 2,
    WIRE_MANAGER_LOST = 3,
    WIRE_CANCELLED = 4,
    WIRE_TIMEOUT = 5,
    WIRE_TOO_LARGE = 6,
    WIRE_BLOCK_FAILED = 7,
};

enum wire_bye { WIRE_ASKED = 0, WIRE_FAILED = 1, WIRE_SETUP_RAISED = 2, WIRE_SIGNAL = 3, WIRE_DRAINED = 4 };

enum wire_error {
    WIRE_OK = 0,
    WIRE_SHORT = -1,
    WIRE_BAD_MAGIC = -2,
    WIRE_BAD_VERSION = -3,
    WIRE_BAD_TYPE = -4,
    WIRE_BAD_RESERVED = -5,
    WIRE_BAD_HEAD = -6,
    WIRE_BAD_COUNT = -7,
    WIRE_BAD_RANGE = -8,
    WIRE_BAD_TEXT = -9,
    WIRE_BAD_LENGTH = -10,
};

const char *wire_error_name(enum wire_error error); /* as in docs/developers/protocol.md, 1.3 */

struct wire_text {
    const char *p; /* not ended by NUL */
    uint32_t n;
};

struct wire_node {
    uint32_t rank, pid, n_workers, n_cores;
    uint64_t memory; /* bytes */
    struct wire_text host;
};

struct wire_function {
    const uint8_t *digest; /* WIRE_DIGEST bytes */
    uint64_t length;
};

struct wire_run {
    uint32_t function;
    uint32_t n_tasks;
    int32_t priority;
    uint32_t timeout_ms;
    uint32_t codec;
};

struct wire_message {
    enum wire_type type;
    unsigned flags;
    uint32_t count;
    uint64_t payload_length;
    union {
        struct {
            uint32_t n_functions, n_runs;
            const uint8_t *functions, *runs;
        } tasks;
        struct {
            uint32_t heartbeat_period_ms, heartbeat_threshold_ms, setup_codec, first_worker;
            struct wire_text block_id, pool_id;
        } start; /* WELCOME fills the first three */
        struct {
            struct wire_text block_id, pool_id, xse_version, python_version, mpi, zmq;
            const uint8_t *nodes; /* for wire_next_node */
        } reg;
        struct {
            struct wire_node node;
            struct wire_text python_version;
        } node;
        struct {
            uint32_t n_workers, task_us;
        } credit;
        struct wire_text text; /* REFUSE, BYE, LOG */
    };
    const uint8_t *ids, *lengths, *times, *statuses; /* columns of TASKS, RESULTS, CANCEL, STARTED */
};

enum wire_error wire_decode(const uint8_t *head, size_t n, uint64_t payload_length, struct wire_message *out);

uint64_t wire_id(const struct wire_message *m, uint32_t i);
uint32_t wire_length(const struct wire_message *m, uint32_t i);
uint32_t wire_time(const struct wire_message *m, uint32_t i);
uint8_t wire_status_of(const struct wire_message *m, uint32_t i);
struct wire_function wire_function(const struct wire_message *m, uint32_t i);
struct wire_run wire_run(const struct wire_message *m, uint32_t i);
/* Reads the node at *at, which must be m->reg.nodes or what the last call left there. */
struct wire_node wire_next_node(const uint8_t **at);

/* Heads. Each call writes one whole head into an empty buf. */
void wire_put_ids(struct buf *head, enum wire_type type, unsigned flags, const uint64_t *ids, uint32_t n);
void wire_put_register(struct buf *head, const char *block_id, const char *pool_id, const char *xse_version,
                       const char *python_version, const char *mpi, const char *zmq, const struct wire_node *nodes,
                       uint32_t n_nodes);
void wire_put_node(struct buf *head, const struct wire_node *node, const char *python_version);
struct wire_start {
    uint32_t n_leaders, heartbeat_period_ms, heartbeat_threshold_ms, setup_codec, first_worker;
    const char *block_id, *pool_id;
    uint64_t setup_length;
};
void wire_put_start(struct buf *head, const struct wire_start *start);
void wire_put_welcome(struct buf *head, const struct wire_start *start); /* its first fields and setup_length */
void wire_put_credit(struct buf *head, uint32_t capacity, uint32_t n_workers, uint32_t task_us, bool draining);
void wire_put_text(struct buf *head, enum wire_type type, uint32_t count, struct wire_text text,
                   uint64_t payload_length); /* REFUSE, BYE, LOG; what is no text is made one */
void wire_put_bare(struct buf *head, enum wire_type type, unsigned flags, uint32_t count, uint64_t payload_length);

/* TASKS and RESULTS, item by item. Zeroed is empty. */
struct wire_tasks {
    struct buf functions, runs, ids, lengths;
    uint32_t n_functions, n_runs, n;
    uint64_t payload_length;
    struct wire_run last;
};
void wire_tasks_function(struct wire_tasks *t, const uint8_t *digest, uint64_t length); /* the next index */
void wire_tasks_add(struct wire_tasks *t, uint64_t id, uint32_t length, const struct wire_run *as); /* n_tasks unused */
void wire_tasks_finish(struct wire_tasks *t, struct buf *head); /* needs a task; t is empty after */
void wire_tasks_free(struct wire_tasks *t);

struct wire_results {
    struct buf ids, lengths, times, statuses;
    uint32_t n;
    uint64_t payload_length;
};
void wire_results_add(struct wire_results *r, uint64_t id, uint32_t length, uint32_t time_us, enum wire_status status);
void wire_results_append(struct wire_results *r, const struct wire_message *m); /* all of another RESULTS message */
void wire_results_finish(struct wire_results *r, struct buf *head); /* needs a result; r is empty after */
void wire_results_free(struct wire_results *r);

struct wire_failure {
    uint32_t rank, pid;
    int32_t exit_code, signal;
    uint64_t size, limit;
    const char *host, *block, *detail;
};
void wire_put_failure(struct buf *out, const struct wire_failure *failure);

#endif
