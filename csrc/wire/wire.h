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
#include "wire/fields.h"

#define WIRE_VERSION 1
#define WIRE_PREAMBLE 24u
#define WIRE_MAX_HEAD (4u << 20)
#define WIRE_MAX_ITEMS 65536u
#define WIRE_MAX_ITEM 0x7fffffffu
#define WIRE_MAX_PAYLOAD (UINT64_C(1) << 40)
#define WIRE_MAX_TEXT 65536u
#define WIRE_DIGEST 16u

#define WIRE_BY_ITEMS UINT64_MAX /* the items say how long the payload is */

/* C's types for those of fields.h. */
typedef uint64_t wire_u64;
typedef uint32_t wire_u32, wire_period, wire_above, wire_codec, wire_zero;
typedef int32_t wire_i32;
typedef uint8_t wire_u8;
typedef struct wire_text {
    const char *p; /* not ended by NUL */
    uint32_t n;
} wire_text;

#define WIRE_MEMBER(type, name) wire_##type name;
#define WIRE_POINTER(type, item, column) const uint8_t *column;
#define WIRE_ITEM(type, item, column) wire_##type item;
#define WIRE_BUFFER(type, item, column) struct buf column;
#define WIRE_STRUCT(body)                                                                                              \
    struct wire_##body {                                                                                               \
        WIRE_FIELDS_##body(WIRE_MEMBER)                                                                                \
    };
#define WIRE_UNION_MEMBER(body) struct wire_##body body;
#define WIRE_ENUM(name, number, body, flag, least, most, longest) WIRE_##name = number,

enum wire_type { WIRE_MESSAGES(WIRE_ENUM) };

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

typedef struct wire_node { /* one rank of a block */
    WIRE_NODE_FIELDS(WIRE_MEMBER)
} wire_node;

typedef struct wire_nodes { /* as they lie on the wire: for wire_next_node */
    const uint8_t *p;
    size_t n; /* bytes */
} wire_nodes;

WIRE_BODIES(WIRE_STRUCT)

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
    union { /* the body of its type */
        WIRE_BODIES(WIRE_UNION_MEMBER)
        struct {
            uint32_t n_functions, n_runs;
            const uint8_t *functions, *runs;
        } tasks;
    };
    WIRE_COLUMNS(WIRE_POINTER) /* those that its type has; NULL: it has none such */
};

enum wire_error wire_decode(const uint8_t *head, size_t n, uint64_t payload_length, struct wire_message *out);

/* wire_id(m, i), wire_length(m, i), ...: the i-th item of a column that the message has. */
#define WIRE_ACCESSOR(type, item, column) wire_##type wire_##item(const struct wire_message *m, uint32_t i);
WIRE_COLUMNS(WIRE_ACCESSOR)
struct wire_function wire_function(const struct wire_message *m, uint32_t i);
struct wire_run wire_run(const struct wire_message *m, uint32_t i);
/* Reads the node at *at, which must be m->registration.nodes.p or what the last call left there. */
wire_node wire_next_node(const uint8_t **at);

/* Heads. Each call writes one whole head into an empty buf. */
/* Any message. Bytes of a text that are not UTF-8 become question marks. */
void wire_put(struct buf *head, const struct wire_message *m);
void wire_put_ids(struct buf *head, enum wire_type type, unsigned flags, const uint64_t *ids, uint32_t n);
void wire_put_node(struct buf *nodes, const wire_node *node); /* appends to what registration.nodes shall point at */
wire_text wire_text_of(const char *s); /* all of it, or as much as a text may have; the message points at s */

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

struct wire_result {
    WIRE_COLUMNS_results(WIRE_ITEM)
};
struct wire_results {
    WIRE_COLUMNS_results(WIRE_BUFFER) uint32_t n;
    uint64_t payload_length;
};
void wire_results_add(struct wire_results *r, const struct wire_result *result);
/* All of another RESULTS message. ahead_us: its sender's clock minus ours; its starts move to our clock. */
void wire_results_append(struct wire_results *r, const struct wire_message *m, int64_t ahead_us);
void wire_results_finish(struct wire_results *r, struct buf *head); /* needs a result; r is empty after */
void wire_results_free(struct wire_results *r);

/* A failure record: the payload of a result whose task was lost. */
#define WIRE_FAILURE_MEMBER(type, name) wire_failure_##type name;
typedef wire_u32 wire_failure_u32;
typedef wire_u64 wire_failure_u64;
typedef wire_i32 wire_failure_i32;
typedef const char *wire_failure_text;
struct wire_failure {
    WIRE_FAILURE_FIELDS(WIRE_FAILURE_MEMBER)
};
void wire_put_failure(struct buf *out, const struct wire_failure *failure);

#endif
