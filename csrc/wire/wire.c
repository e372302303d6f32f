#include "wire/wire.h"

#include <assert.h>
#include <string.h>

#define FUNCTION_SIZE 24u
#define RUN_SIZE 24u

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t get64(const uint8_t *p)
{
    return get32(p) | (uint64_t)get32(p + 4) << 32;
}

static void put32(struct buf *b, uint32_t v)
{
    uint8_t le[4] = {(uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24)};
    buf_put(b, le, 4);
}

static void put64(struct buf *b, uint64_t v)
{
    put32(b, (uint32_t)v);
    put32(b, (uint32_t)(v >> 32));
}

static void wire_pad(struct buf *b)
{
    static const uint8_t zeros[8];
    buf_put(b, zeros, -b->n & 7);
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

struct reader {
    const uint8_t *p, *end;
};

static const uint8_t *wire_take(struct reader *r, size_t n)
{
    if (n > (size_t)(r->end - r->p))
        return NULL;
    r->p += n;
    return r->p - n;
}

/* Unicode 15, table 3-7: no overlong forms, no surrogates, nothing above U+10FFFF; and, for us, no NUL. */
static bool wire_is_text(const uint8_t *p, size_t n)
{
    const uint8_t *end = n ? p + n : p; /* an empty text may lie nowhere: NULL has no sum */
    while (p < end) {
        uint8_t c = *p++;
        if (c == 0)
            return false;
        if (c < 0x80)
            continue;
        int more;
        uint8_t low = 0x80, high = 0xbf;
        if (c >= 0xc2 && c <= 0xdf)
            more = 1;
        else if (c >= 0xe0 && c <= 0xef) {
            more = 2;
            if (c == 0xe0)
                low = 0xa0;
            if (c == 0xed)
                high = 0x9f;
        } else if (c >= 0xf0 && c <= 0xf4) {
            more = 3;
            if (c == 0xf0)
                low = 0x90;
            if (c == 0xf4)
                high = 0x8f;
        } else
            return false;
        for (; more; more--) {
            if (p == end || *p < low || *p > high)
                return false;
            p++;
            low = 0x80;
            high = 0xbf;
        }
    }
    return true;
}

static bool wire_all_zero(const uint8_t *p, const uint8_t *end)
{
    for (; p < end; p++)
        if (*p)
            return false;
    return true;
}

/* ---- a field of each type: read_TYPE checks what it reads. count: how many nodes there are --------------------- */

static enum wire_error read_u32(struct reader *r, uint32_t count, uint32_t *to)
{
    const uint8_t *p = wire_take(r, 4);
    (void)count;
    if (!p)
        return WIRE_SHORT;
    *to = get32(p);
    return WIRE_OK;
}

static enum wire_error read_u64(struct reader *r, uint32_t count, uint64_t *to)
{
    const uint8_t *p = wire_take(r, 8);
    (void)count;
    if (!p)
        return WIRE_SHORT;
    *to = get64(p);
    return WIRE_OK;
}

static enum wire_error read_period(struct reader *r, uint32_t count, uint32_t *to)
{
    enum wire_error error = read_u32(r, count, to);
    return error || *to >= 1 ? error : WIRE_BAD_RANGE;
}

static enum wire_error read_above(struct reader *r, uint32_t count, uint32_t *to)
{
    enum wire_error error = read_u32(r, count, to);
    return error || *to > to[-1] ? error : WIRE_BAD_RANGE;
}

static enum wire_error read_codec(struct reader *r, uint32_t count, uint32_t *to)
{
    enum wire_error error = read_u32(r, count, to);
    return error || *to <= 255 ? error : WIRE_BAD_RANGE;
}

static enum wire_error read_zero(struct reader *r, uint32_t count, uint32_t *to)
{
    enum wire_error error = read_u32(r, count, to);
    return error || *to == 0 ? error : WIRE_BAD_RESERVED;
}

static enum wire_error read_text(struct reader *r, uint32_t count, wire_text *to)
{
    uint32_t n;
    enum wire_error error = read_u32(r, count, &n);
    if (error)
        return error;
    if (n > WIRE_MAX_TEXT)
        return WIRE_BAD_TEXT;
    const uint8_t *p = wire_take(r, n);
    if (!p)
        return WIRE_SHORT;
    if (!wire_is_text(p, n))
        return WIRE_BAD_TEXT;
    *to = (wire_text){(const char *)p, n};
    size_t padding = -(4 + (size_t)n) & 7;
    p = wire_take(r, padding);
    if (!p)
        return WIRE_SHORT;
    return wire_all_zero(p, p + padding) ? WIRE_OK : WIRE_BAD_RESERVED;
}

#define READ(type, name)                                                                                               \
    if ((error = read_##type(r, count, &to->name)))                                                                    \
        return error;

static enum wire_error read_node(struct reader *r, uint32_t count, wire_node *to)
{
    enum wire_error error;
    WIRE_NODE_FIELDS(READ)
    return WIRE_OK;
}

static enum wire_error read_nodes(struct reader *r, uint32_t count, wire_nodes *to)
{
    const uint8_t *first = r->p;
    for (uint32_t i = 0; i < count; i++) {
        wire_node node;
        enum wire_error error = read_node(r, count, &node);
        if (error)
            return error;
    }
    *to = (wire_nodes){first, (size_t)(r->p - first)};
    return WIRE_OK;
}

/* ---- bodies of fields: read_BODY ------------------------------------------------------------------------------- */

static enum wire_error wire_sized(const struct reader *r, uint64_t size)
{
    uint64_t n = (uint64_t)(r->end - r->p);
    return n < size ? WIRE_SHORT : n > size ? WIRE_BAD_HEAD : WIRE_OK;
}

#define READ_BODY(body)                                                                                                \
    static enum wire_error read_##body(struct reader *r, struct wire_message *m)                                       \
    {                                                                                                                  \
        struct wire_##body *to = &m->body;                                                                             \
        uint32_t count = m->count;                                                                                     \
        enum wire_error error;                                                                                         \
        WIRE_FIELDS_##body(READ) error = wire_sized(r, 0);                                                             \
        (void)to;                                                                                                      \
        (void)count;                                                                                                   \
        return error;                                                                                                  \
    }
WIRE_BODIES(READ_BODY)

/* ---- bodies of columns ------------------------------------------------------------------------------------------ */

/* take_columns_LIST: the columns take what is left of the head, but for padding to a multiple of 8, which stays. */
#define ADD_SIZE(type, item, column) +sizeof(wire_##type)
#define TAKE_COLUMN(type, item, column) m->column = wire_take(r, m->count * sizeof(wire_##type));
#define TAKE_COLUMNS(columns)                                                                                          \
    static enum wire_error take_columns_##columns(struct reader *r, struct wire_message *m)                            \
    {                                                                                                                  \
        uint64_t size = (uint64_t)m->count * (0 WIRE_COLUMNS_##columns(ADD_SIZE));                                     \
        enum wire_error error = wire_sized(r, size + (-size & 7));                                                     \
        if (error)                                                                                                     \
            return error;                                                                                              \
        WIRE_COLUMNS_##columns(TAKE_COLUMN) return WIRE_OK;                                                            \
    }
WIRE_COLUMN_LISTS(TAKE_COLUMNS)

static enum wire_error wire_sum_of_items(const struct wire_message *m, uint64_t sum)
{
    for (uint32_t i = 0; i < m->count; i++) {
        uint32_t n = wire_length(m, i);
        if (n > WIRE_MAX_ITEM)
            return WIRE_BAD_LENGTH;
        sum += n;
    }
    return sum == m->payload_length ? WIRE_OK : WIRE_BAD_LENGTH;
}

static enum wire_error read_tasks(struct reader *r, struct wire_message *m)
{
    uint32_t n_functions, n_runs;
    if (read_u32(r, 0, &n_functions) || read_u32(r, 0, &n_runs))
        return WIRE_SHORT;
    if (n_runs < 1 || n_runs > m->count || n_functions < 1 || n_functions > n_runs)
        return WIRE_BAD_RANGE;
    m->tasks.n_functions = n_functions;
    m->tasks.n_runs = n_runs;
    m->tasks.functions = wire_take(r, (size_t)n_functions * FUNCTION_SIZE);
    m->tasks.runs = m->tasks.functions ? wire_take(r, (size_t)n_runs * RUN_SIZE) : NULL;
    if (!m->tasks.runs)
        return WIRE_SHORT;
    enum wire_error error = take_columns_tasks(r, m);
    if (error)
        return error;
    uint64_t n_tasks = 0;
    for (uint32_t i = 0; i < n_runs; i++) {
        struct wire_run run = wire_run(m, i);
        if (run.function >= n_functions || !run.n_tasks || run.codec > 255)
            return WIRE_BAD_RANGE;
        if (get32(m->tasks.runs + (size_t)i * RUN_SIZE + 20))
            return WIRE_BAD_RESERVED;
        n_tasks += run.n_tasks;
    }
    if (n_tasks != m->count)
        return WIRE_BAD_RANGE;
    if (!wire_all_zero(r->p, r->end))
        return WIRE_BAD_RESERVED;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < n_functions; i++) {
        struct wire_function f = wire_function(m, i);
        if (f.length > WIRE_MAX_ITEM)
            return WIRE_BAD_LENGTH;
        sum += f.length;
    }
    return wire_sum_of_items(m, sum);
}

static enum wire_error read_results(struct reader *r, struct wire_message *m)
{
    enum wire_error error = take_columns_results(r, m);
    if (error)
        return error;
    for (size_t i = 0; i < m->count; i++)
        if (m->statuses[i] > WIRE_BLOCK_FAILED)
            return WIRE_BAD_RANGE;
    if (!wire_all_zero(r->p, r->end))
        return WIRE_BAD_RESERVED;
    return wire_sum_of_items(m, 0);
}

#define READ_COLUMNS(columns)                                                                                          \
    static enum wire_error read_##columns(struct reader *r, struct wire_message *m)                                    \
    {                                                                                                                  \
        enum wire_error error = take_columns_##columns(r, m);                                                          \
        return error || wire_all_zero(r->p, r->end) ? error : WIRE_BAD_RESERVED;                                       \
    }
WIRE_PLAIN_COLUMN_LISTS(READ_COLUMNS)

/* ---- messages --------------------------------------------------------------------------------------------------- */

#define KIND(name, number, body, flag, least, most, longest) [number] = {read_##body, flag, least, most, longest},
static const struct kind {
    enum wire_error (*read)(struct reader *r, struct wire_message *m);
    unsigned flag; /* the one it knows */
    uint32_t least, most; /* count */
    uint64_t longest; /* payload */
} kinds[] = {WIRE_MESSAGES(KIND)};

enum wire_error wire_decode(const uint8_t *head, size_t n, uint64_t payload_length, struct wire_message *out)
{
    if (n < WIRE_PREAMBLE)
        return WIRE_SHORT;
    if (memcmp(head, "xse", 3) != 0)
        return WIRE_BAD_MAGIC;
    if (head[3] != WIRE_VERSION)
        return WIRE_BAD_VERSION;
    uint8_t type = head[4];
    if (type >= sizeof kinds / sizeof kinds[0] || !kinds[type].read)
        return WIRE_BAD_TYPE;
    const struct kind *kind = &kinds[type];
    *out = (struct wire_message){.type = type, .flags = head[5], .count = get32(head + 12)};
    out->payload_length = get64(head + 16);
    if ((out->flags & ~kind->flag) || head[6] || head[7])
        return WIRE_BAD_RESERVED;
    uint32_t head_length = get32(head + 8);
    if (head_length > WIRE_MAX_HEAD || head_length % 8 || head_length < WIRE_PREAMBLE)
        return WIRE_BAD_HEAD;
    if (n != head_length)
        return n < head_length ? WIRE_SHORT : WIRE_BAD_HEAD;
    if (out->count < kind->least || out->count > kind->most)
        return WIRE_BAD_COUNT;
    struct reader r = {head + WIRE_PREAMBLE, head + n};
    enum wire_error error = kind->read(&r, out);
    if (error)
        return error;
    if (type == WIRE_BYE && out->count != WIRE_SETUP_RAISED && out->payload_length)
        return WIRE_BAD_LENGTH;
    if (out->payload_length > kind->longest || out->payload_length > WIRE_MAX_PAYLOAD ||
        out->payload_length != payload_length)
        return WIRE_BAD_LENGTH;
    return WIRE_OK;
}

const char *wire_error_name(enum wire_error error)
{
    static const char *const names[] = {"OK",   "SHORT", "MAGIC", "VERSION", "TYPE",  "RESERVED",
                                        "HEAD", "COUNT", "RANGE", "TEXT",    "LENGTH"};
    return names[-error];
}

#define GET_u8(p) (*(p))
#define GET_u32(p) get32(p)
#define GET_u64(p) get64(p)
#define ACCESSOR(type, item, column)                                                                                   \
    wire_##type wire_##item(const struct wire_message *m, uint32_t i)                                                  \
    {                                                                                                                  \
        return GET_##type(m->column + i * sizeof(wire_##type));                                                        \
    }
WIRE_COLUMNS(ACCESSOR)

struct wire_function wire_function(const struct wire_message *m, uint32_t i)
{
    const uint8_t *p = m->tasks.functions + (size_t)i * FUNCTION_SIZE;
    return (struct wire_function){p, get64(p + WIRE_DIGEST)};
}

struct wire_run wire_run(const struct wire_message *m, uint32_t i)
{
    const uint8_t *p = m->tasks.runs + (size_t)i * RUN_SIZE;
    return (struct wire_run){get32(p), get32(p + 4), (int32_t)get32(p + 8), get32(p + 12), get32(p + 16)};
}

wire_node wire_next_node(const uint8_t **at)
{
    struct reader r = {*at, *at + WIRE_MAX_HEAD}; /* it was read before */
    wire_node node;
    enum wire_error error = read_node(&r, 0, &node);
    assert(!error);
    (void)error;
    *at = r.p;
    return node;
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */

static void wire_begin(struct buf *head, enum wire_type type, unsigned flags, uint32_t count)
{
    const uint8_t start[8] = {'x', 's', 'e', WIRE_VERSION, (uint8_t)type, (uint8_t)flags, 0, 0};
    assert(head->n == 0);
    buf_put(head, start, sizeof start);
    put32(head, 0); /* head_length: wire_finish() */
    put32(head, count);
    put64(head, 0); /* payload_length: wire_finish() */
}

static void wire_finish(struct buf *head, uint64_t payload_length)
{
    struct buf numbers = {0};
    wire_pad(head);
    put32(&numbers, (uint32_t)head->n);
    put64(&numbers, payload_length);
    memcpy(head->p + 8, numbers.p, 4);
    memcpy(head->p + 16, numbers.p + 4, 8);
    buf_free(&numbers);
}

/* What people and programs print may be anything; a text on the wire is UTF-8. */
static void put_text(struct buf *head, struct wire_text text)
{
    static const uint8_t zeros[8];
    uint32_t n = text.n;
    if (n > WIRE_MAX_TEXT) {
        n = WIRE_MAX_TEXT;
        while (n && ((uint8_t)text.p[n] & 0xc0) == 0x80) /* not in the middle of a character */
            n--;
    }
    put32(head, n);
    uint8_t *to = buf_extend(head, n);
    bool good = wire_is_text((const uint8_t *)text.p, n);
    for (uint32_t i = 0; i < n; i++) {
        uint8_t c = (uint8_t)text.p[i];
        to[i] = good || (c && c < 0x80) ? c : '?';
    }
    buf_put(head, zeros, -(4 + (size_t)n) & 7);
}

wire_text wire_text_of(const char *s)
{
    return (wire_text){s, (uint32_t)strlen(s)};
}

/* ---- a field of each type: write_TYPE ------------------------------------------------------------------------- */

#define write_u32(head, value) put32(head, value)
#define write_i32(head, value) put32(head, (uint32_t)(value))
#define write_u64(head, value) put64(head, value)
#define write_period(head, value) put32(head, value)
#define write_above(head, value) put32(head, value)
#define write_codec(head, value) put32(head, value)
#define write_zero(head, value) put32(head, value)
#define write_text(head, value) put_text(head, value)
#define write_node(head, value) wire_put_node(head, &(value))
#define write_nodes(head, value) buf_put(head, (value).p, (value).n)
#define WRITE(type, name) write_##type(head, from->name);

void wire_put_node(struct buf *head, const wire_node *from){WIRE_NODE_FIELDS(WRITE)}

/* ---- bodies: write_BODY ------------------------------------------------------------------------------------------ */

#define WRITE_BODY(body)                                                                                               \
    static void write_##body(struct buf *head, const struct wire_message *m)                                           \
    {                                                                                                                  \
        const struct wire_##body *from = &m->body;                                                                     \
        WIRE_FIELDS_##body(WRITE)(void) head;                                                                          \
        (void)from;                                                                                                    \
    }
WIRE_BODIES(WRITE_BODY)

#define WRITE_COLUMN(type, item, column) buf_put(head, m->column, m->count * sizeof(wire_##type));

    static void write_tasks(struct buf *head, const struct wire_message *m)
{
    put32(head, m->tasks.n_functions);
    put32(head, m->tasks.n_runs);
    buf_put(head, m->tasks.functions, (size_t)m->tasks.n_functions * FUNCTION_SIZE);
    buf_put(head, m->tasks.runs, (size_t)m->tasks.n_runs * RUN_SIZE);
    WIRE_COLUMNS_tasks(WRITE_COLUMN)
}

static void write_results(struct buf *head, const struct wire_message *m){WIRE_COLUMNS_results(WRITE_COLUMN)}

#define WRITE_COLUMNS(columns)                                                                                         \
    static void write_##columns(struct buf *head, const struct wire_message *m)                                        \
    {                                                                                                                  \
        WIRE_COLUMNS_##columns(WRITE_COLUMN)                                                                           \
    }
WIRE_PLAIN_COLUMN_LISTS(WRITE_COLUMNS)

    void wire_put(struct buf *head, const struct wire_message *m)
{
    wire_begin(head, m->type, m->flags, m->count);
#define WRITE_MESSAGE(name, number, body, flag, least, most, longest)                                                  \
    case WIRE_##name:                                                                                                  \
        write_##body(head, m);                                                                                         \
        break;
    switch (m->type) {
        WIRE_MESSAGES(WRITE_MESSAGE)
    }
    wire_finish(head, m->payload_length);
}

void wire_put_ids(struct buf *head, enum wire_type type, unsigned flags, const uint64_t *ids, uint32_t n)
{
    wire_begin(head, type, flags, n);
    for (uint32_t i = 0; i < n; i++)
        put64(head, ids[i]);
    wire_finish(head, 0);
}

/* ---- TASKS and RESULTS, item by item ----------------------------------------------------------------------------- */

void wire_tasks_function(struct wire_tasks *t, const uint8_t *digest, uint64_t length)
{
    buf_put(&t->functions, digest, WIRE_DIGEST);
    put64(&t->functions, length);
    t->n_functions++;
    t->payload_length += length;
}

static bool wire_same_run(const struct wire_run *a, const struct wire_run *b)
{
    return a->function == b->function && a->priority == b->priority && a->timeout_ms == b->timeout_ms &&
           a->codec == b->codec;
}

static void wire_close_run(struct wire_tasks *t)
{
    put32(&t->runs, t->last.function);
    put32(&t->runs, t->last.n_tasks);
    put32(&t->runs, (uint32_t)t->last.priority);
    put32(&t->runs, t->last.timeout_ms);
    put32(&t->runs, t->last.codec);
    put32(&t->runs, 0);
    t->n_runs++;
}

void wire_tasks_add(struct wire_tasks *t, uint64_t id, uint32_t length, const struct wire_run *as)
{
    assert(as->function < t->n_functions);
    if (t->n && !wire_same_run(&t->last, as))
        wire_close_run(t);
    if (!t->n || !wire_same_run(&t->last, as)) {
        t->last = *as;
        t->last.n_tasks = 0;
    }
    t->last.n_tasks++;
    put64(&t->ids, id);
    put32(&t->lengths, length);
    t->n++;
    t->payload_length += length;
}

void wire_tasks_finish(struct wire_tasks *t, struct buf *head)
{
    assert(t->n);
    wire_close_run(t);
    wire_put(head, &(struct wire_message){.type = WIRE_TASKS,
                                          .count = t->n,
                                          .payload_length = t->payload_length,
                                          .tasks = {t->n_functions, t->n_runs, t->functions.p, t->runs.p},
                                          .ids = t->ids.p,
                                          .lengths = t->lengths.p});
    t->functions.n = t->runs.n = t->ids.n = t->lengths.n = 0;
    t->n_functions = t->n_runs = t->n = 0;
    t->payload_length = 0;
}

void wire_tasks_free(struct wire_tasks *t)
{
    buf_free(&t->functions);
    buf_free(&t->runs);
    buf_free(&t->ids);
    buf_free(&t->lengths);
}

#define PUT_u8(buf, value) buf_put(buf, &(uint8_t){value}, 1)
#define PUT_u32(buf, value) put32(buf, value)
#define PUT_u64(buf, value) put64(buf, value)
#define ADD_ITEM(type, item, column) PUT_##type(&r->column, result->item);
#define ADD_ITEMS(type, item, column) buf_put(&r->column, m->column, m->count * sizeof(wire_##type));
#define POINT_AT(type, item, column) .column = r->column.p,
#define EMPTY(type, item, column) r->column.n = 0;
#define FREE(type, item, column) buf_free(&r->column);

void wire_results_add(struct wire_results *r, const struct wire_result *result)
{
    WIRE_COLUMNS_results(ADD_ITEM) r->n++;
    r->payload_length += result->length;
}

/* Starts that are 0 mean that the task did not begin. */
static void wire_move_starts(uint8_t *starts, uint32_t n, int64_t ahead_us)
{
    for (uint32_t i = 0; i < n; i++, starts += 8) {
        uint64_t start_us = get64(starts);
        for (int byte = 0; start_us && byte < 8; byte++)
            starts[byte] = (uint8_t)((start_us - (uint64_t)ahead_us) >> 8 * byte);
    }
}

void wire_results_append(struct wire_results *r, const struct wire_message *m, int64_t ahead_us)
{
    size_t n_before = r->starts.n;
    WIRE_COLUMNS_results(ADD_ITEMS) r->n += m->count;
    if (ahead_us)
        wire_move_starts(r->starts.p + n_before, m->count, ahead_us);
    r->payload_length += m->payload_length;
}

void wire_results_finish(struct wire_results *r, struct buf *head)
{
    assert(r->n);
    wire_put(head, &(struct wire_message){.type = WIRE_RESULTS,
                                          .count = r->n,
                                          .payload_length = r->payload_length,
                                          WIRE_COLUMNS_results(POINT_AT)});
    WIRE_COLUMNS_results(EMPTY) r->n = 0;
    r->payload_length = 0;
}

void wire_results_free(struct wire_results *r){WIRE_COLUMNS_results(FREE)}

/* ---- failure records ---------------------------------------------------------------------------------------------- */

#define write_failure_u32(out, value) put32(out, value)
#define write_failure_i32(out, value) put32(out, (uint32_t)(value))
#define write_failure_u64(out, value) put64(out, value)
#define write_failure_text(out, value) put_text(out, wire_text_of(value))
#define WRITE_FAILURE(type, name) write_failure_##type(out, failure->name);

void wire_put_failure(struct buf *out, const struct wire_failure *failure)
{
    WIRE_FAILURE_FIELDS(WRITE_FAILURE)
}
