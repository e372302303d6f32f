#include "wire/wire.h"

#include <assert.h>
#include <string.h>

#define FUNCTION_SIZE 24u
#define RUN_SIZE 24u
#define NODE_SIZE 24u

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

static void pad(struct buf *b)
{
    static const uint8_t zeros[8];
    buf_put(b, zeros, -b->n & 7);
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

struct reader {
    const uint8_t *p, *end;
};

static const uint8_t *take(struct reader *r, size_t n)
{
    if (n > (size_t)(r->end - r->p))
        return NULL;
    r->p += n;
    return r->p - n;
}

/* Unicode 15, table 3-7: no overlong forms, no surrogates, nothing above U+10FFFF; and, for us, no NUL. */
static bool is_text(const uint8_t *p, size_t n)
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

static enum wire_error take_text(struct reader *r, struct wire_text *text)
{
    const uint8_t *p = take(r, 4);
    if (!p)
        return WIRE_SHORT;
    uint32_t n = get32(p);
    if (n > WIRE_MAX_TEXT)
        return WIRE_BAD_TEXT;
    p = take(r, n);
    if (!p)
        return WIRE_SHORT;
    if (!is_text(p, n))
        return WIRE_BAD_TEXT;
    *text = (struct wire_text){(const char *)p, n};
    size_t padding = -(4 + (size_t)n) & 7;
    p = take(r, padding);
    if (!p)
        return WIRE_SHORT;
    for (size_t i = 0; i < padding; i++)
        if (p[i])
            return WIRE_BAD_RESERVED;
    return WIRE_OK;
}

static enum wire_error take_texts(struct reader *r, struct wire_text *const *texts, int n)
{
    for (int i = 0; i < n; i++) {
        enum wire_error error = take_text(r, texts[i]);
        if (error)
            return error;
    }
    return WIRE_OK;
}

static void read_node_numbers(const uint8_t *p, struct wire_node *node)
{
    node->rank = get32(p);
    node->pid = get32(p + 4);
    node->n_workers = get32(p + 8);
    node->n_cores = get32(p + 12);
    node->memory = get64(p + 16);
}

static enum wire_error take_node(struct reader *r, struct wire_node *node)
{
    const uint8_t *p = take(r, NODE_SIZE);
    if (!p)
        return WIRE_SHORT;
    read_node_numbers(p, node);
    return take_text(r, &node->host);
}

static enum wire_error sized(const struct reader *r, uint64_t size)
{
    uint64_t n = (uint64_t)(r->end - r->p);
    return n < size ? WIRE_SHORT : n > size ? WIRE_BAD_HEAD : WIRE_OK;
}

static bool all_zero(const uint8_t *p, const uint8_t *end)
{
    for (; p < end; p++)
        if (*p)
            return false;
    return true;
}

static enum wire_error sum_of_items(const struct wire_message *m, uint64_t sum)
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
    const uint8_t *body = r->p;
    if (r->end - r->p < 8)
        return WIRE_SHORT;
    uint32_t n_functions = get32(body), n_runs = get32(body + 4);
    if (n_runs < 1 || n_runs > m->count || n_functions < 1 || n_functions > n_runs)
        return WIRE_BAD_RANGE;
    size_t runs_at = 8 + (size_t)n_functions * FUNCTION_SIZE;
    size_t ids_at = runs_at + (size_t)n_runs * RUN_SIZE;
    size_t lengths_at = ids_at + (size_t)m->count * 8;
    size_t end = lengths_at + (size_t)m->count * 4;
    enum wire_error error = sized(r, end + (-end & 7));
    if (error)
        return error;
    m->tasks.n_functions = n_functions;
    m->tasks.n_runs = n_runs;
    m->tasks.functions = body + 8;
    m->tasks.runs = body + runs_at;
    m->ids = body + ids_at;
    m->lengths = body + lengths_at;
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
    if (!all_zero(body + end, r->end))
        return WIRE_BAD_RESERVED;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < n_functions; i++) {
        struct wire_function f = wire_function(m, i);
        if (f.length > WIRE_MAX_ITEM)
            return WIRE_BAD_LENGTH;
        sum += f.length;
    }
    return sum_of_items(m, sum);
}

static enum wire_error read_results(struct reader *r, struct wire_message *m)
{
    size_t n = m->count;
    enum wire_error error = sized(r, 17 * n + (-(17 * n) & 7));
    if (error)
        return error;
    m->ids = r->p;
    m->lengths = r->p + 8 * n;
    m->times = r->p + 12 * n;
    m->statuses = r->p + 16 * n;
    for (size_t i = 0; i < n; i++)
        if (m->statuses[i] > WIRE_BLOCK_FAILED)
            return WIRE_BAD_RANGE;
    if (!all_zero(r->p + 17 * n, r->end))
        return WIRE_BAD_RESERVED;
    return sum_of_items(m, 0);
}

static enum wire_error read_ids(struct reader *r, struct wire_message *m)
{
    m->ids = r->p;
    return sized(r, 8 * (uint64_t)m->count);
}

static enum wire_error read_register(struct reader *r, struct wire_message *m)
{
    enum wire_error error =
        take_texts(r,
                   (struct wire_text *const[]){&m->reg.block_id, &m->reg.pool_id, &m->reg.xse_version,
                                               &m->reg.python_version, &m->reg.mpi, &m->reg.zmq},
                   6);
    m->reg.nodes = r->p;
    for (uint32_t i = 0; i < m->count && !error; i++) {
        struct wire_node node;
        error = take_node(r, &node);
    }
    return error ? error : sized(r, 0);
}

static enum wire_error read_settings(struct reader *r, struct wire_message *m)
{
    const uint8_t *p = take(r, 16);
    if (!p)
        return WIRE_SHORT;
    m->start.heartbeat_period_ms = get32(p);
    m->start.heartbeat_threshold_ms = get32(p + 4);
    m->start.setup_codec = get32(p + 8);
    m->start.first_worker = get32(p + 12);
    if (m->start.heartbeat_period_ms < 1 || m->start.heartbeat_period_ms >= m->start.heartbeat_threshold_ms ||
        m->start.setup_codec > 255)
        return WIRE_BAD_RANGE;
    return WIRE_OK;
}

static enum wire_error read_welcome(struct reader *r, struct wire_message *m)
{
    enum wire_error error = read_settings(r, m);
    if (error)
        return error;
    if (m->start.first_worker)
        return WIRE_BAD_RESERVED;
    return sized(r, 0);
}

static enum wire_error read_start(struct reader *r, struct wire_message *m)
{
    enum wire_error error = read_settings(r, m);
    if (!error)
        error = take_texts(r, (struct wire_text *const[]){&m->start.block_id, &m->start.pool_id}, 2);
    return error ? error : sized(r, 0);
}

static enum wire_error read_text(struct reader *r, struct wire_message *m)
{
    enum wire_error error = take_text(r, &m->text);
    if (!error)
        error = sized(r, 0);
    if (!error && m->type == WIRE_BYE && m->count != WIRE_SETUP_RAISED && m->payload_length)
        error = WIRE_BAD_LENGTH;
    return error;
}

static enum wire_error read_credit(struct reader *r, struct wire_message *m)
{
    const uint8_t *p = take(r, 8);
    if (!p)
        return WIRE_SHORT;
    m->credit.n_workers = get32(p);
    m->credit.task_us = get32(p + 4);
    return sized(r, 0);
}

static enum wire_error read_node(struct reader *r, struct wire_message *m)
{
    enum wire_error error = take_node(r, &m->node.node);
    if (!error)
        error = take_text(r, &m->node.python_version);
    return error ? error : sized(r, 0);
}

static enum wire_error read_nothing(struct reader *r, struct wire_message *m)
{
    (void)m;
    return sized(r, 0);
}

#define BY_ITEMS UINT64_MAX /* the items say how long the payload is */

static const struct kind {
    enum wire_error (*read)(struct reader *r, struct wire_message *m);
    unsigned flag; /* the one it knows */
    uint32_t least, most; /* count */
    uint64_t longest; /* payload */
} kinds[] = {
    [WIRE_TASKS] = {read_tasks, 0, 1, WIRE_MAX_ITEMS, BY_ITEMS},
    [WIRE_RESULTS] = {read_results, 0, 1, WIRE_MAX_ITEMS, BY_ITEMS},
    [WIRE_CANCEL] = {read_ids, WIRE_KILL, 1, WIRE_MAX_ITEMS, 0},
    [WIRE_STARTED] = {read_ids, 0, 1, WIRE_MAX_ITEMS, 0},
    [WIRE_RECALL] = {read_nothing, 0, 1, UINT32_MAX, 0},
    [WIRE_REGISTER] = {read_register, 0, 1, WIRE_MAX_ITEMS, 0},
    [WIRE_WELCOME] = {read_welcome, 0, 0, 0, WIRE_MAX_ITEM},
    [WIRE_REFUSE] = {read_text, 0, 1, 4, 0},
    [WIRE_HEARTBEAT] = {read_nothing, 0, 0, 0, 0},
    [WIRE_CREDIT] = {read_credit, WIRE_DRAINING, 0, UINT32_MAX, 0},
    [WIRE_STOP] = {read_nothing, WIRE_NOW, 0, UINT32_MAX, 0},
    [WIRE_BYE] = {read_text, 0, 0, 4, WIRE_MAX_ITEM},
    [WIRE_NODE] = {read_node, 0, 0, 0, 0},
    [WIRE_START] = {read_start, 0, 1, WIRE_MAX_ITEMS, WIRE_MAX_ITEM},
    [WIRE_LOG] = {read_text, 0, 0, 3, 0},
    [WIRE_REQUEST] = {read_nothing, 0, 0, UINT32_MAX, WIRE_MAX_ITEM},
    [WIRE_REPLY] = {read_nothing, 0, 0, UINT32_MAX, WIRE_MAX_ITEM},
    [WIRE_EVENT] = {read_nothing, 0, 0, 0, WIRE_MAX_ITEM},
};

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

uint64_t wire_id(const struct wire_message *m, uint32_t i)
{
    return get64(m->ids + 8 * (size_t)i);
}

uint32_t wire_length(const struct wire_message *m, uint32_t i)
{
    return get32(m->lengths + 4 * (size_t)i);
}

uint32_t wire_time(const struct wire_message *m, uint32_t i)
{
    return get32(m->times + 4 * (size_t)i);
}

uint8_t wire_status_of(const struct wire_message *m, uint32_t i)
{
    return m->statuses[i];
}

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

struct wire_node wire_next_node(const uint8_t **at)
{
    struct wire_node node;
    read_node_numbers(*at, &node);
    uint32_t n = get32(*at + NODE_SIZE);
    node.host = (struct wire_text){(const char *)*at + NODE_SIZE + 4, n};
    *at += NODE_SIZE + 4 + n + (-(4 + (size_t)n) & 7);
    return node;
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */

static void begin(struct buf *head, enum wire_type type, unsigned flags, uint32_t count)
{
    const uint8_t start[8] = {'x', 's', 'e', WIRE_VERSION, (uint8_t)type, (uint8_t)flags, 0, 0};
    assert(head->n == 0);
    buf_put(head, start, sizeof start);
    put32(head, 0); /* head_length: finish() */
    put32(head, count);
    put64(head, 0); /* payload_length: finish() */
}

static void finish(struct buf *head, uint64_t payload_length)
{
    struct buf numbers = {0};
    pad(head);
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
    bool good = is_text((const uint8_t *)text.p, n);
    for (uint32_t i = 0; i < n; i++) {
        uint8_t c = (uint8_t)text.p[i];
        to[i] = good || (c && c < 0x80) ? c : '?';
    }
    buf_put(head, zeros, -(4 + (size_t)n) & 7);
}

static void put_string(struct buf *head, const char *s)
{
    put_text(head, (struct wire_text){s, (uint32_t)strlen(s)});
}

static void put_node(struct buf *head, const struct wire_node *node)
{
    put32(head, node->rank);
    put32(head, node->pid);
    put32(head, node->n_workers);
    put32(head, node->n_cores);
    put64(head, node->memory);
    put_text(head, node->host);
}

void wire_put_ids(struct buf *head, enum wire_type type, unsigned flags, const uint64_t *ids, uint32_t n)
{
    begin(head, type, flags, n);
    for (uint32_t i = 0; i < n; i++)
        put64(head, ids[i]);
    finish(head, 0);
}

void wire_put_register(struct buf *head, const char *block_id, const char *pool_id, const char *xse_version,
                       const char *python_version, const char *mpi, const char *zmq, const struct wire_node *nodes,
                       uint32_t n_nodes)
{
    begin(head, WIRE_REGISTER, 0, n_nodes);
    put_string(head, block_id);
    put_string(head, pool_id);
    put_string(head, xse_version);
    put_string(head, python_version);
    put_string(head, mpi);
    put_string(head, zmq);
    for (uint32_t i = 0; i < n_nodes; i++)
        put_node(head, &nodes[i]);
    finish(head, 0);
}

void wire_put_node(struct buf *head, const struct wire_node *node, const char *python_version)
{
    begin(head, WIRE_NODE, 0, 0);
    put_node(head, node);
    put_string(head, python_version);
    finish(head, 0);
}

void wire_put_start(struct buf *head, const struct wire_start *start)
{
    begin(head, WIRE_START, 0, start->n_leaders);
    put32(head, start->heartbeat_period_ms);
    put32(head, start->heartbeat_threshold_ms);
    put32(head, start->setup_codec);
    put32(head, start->first_worker);
    put_string(head, start->block_id);
    put_string(head, start->pool_id);
    finish(head, start->setup_length);
}

void wire_put_welcome(struct buf *head, const struct wire_start *start)
{
    begin(head, WIRE_WELCOME, 0, 0);
    put32(head, start->heartbeat_period_ms);
    put32(head, start->heartbeat_threshold_ms);
    put32(head, start->setup_codec);
    put32(head, 0);
    finish(head, start->setup_length);
}

void wire_put_credit(struct buf *head, uint32_t capacity, uint32_t n_workers, uint32_t task_us, bool draining)
{
    begin(head, WIRE_CREDIT, draining ? WIRE_DRAINING : 0, capacity);
    put32(head, n_workers);
    put32(head, task_us);
    finish(head, 0);
}

void wire_put_text(struct buf *head, enum wire_type type, uint32_t count, struct wire_text text,
                   uint64_t payload_length)
{
    begin(head, type, 0, count);
    put_text(head, text);
    finish(head, payload_length);
}

void wire_put_bare(struct buf *head, enum wire_type type, unsigned flags, uint32_t count, uint64_t payload_length)
{
    begin(head, type, flags, count);
    finish(head, payload_length);
}

void wire_tasks_function(struct wire_tasks *t, const uint8_t *digest, uint64_t length)
{
    buf_put(&t->functions, digest, WIRE_DIGEST);
    put64(&t->functions, length);
    t->n_functions++;
    t->payload_length += length;
}

static bool same_run(const struct wire_run *a, const struct wire_run *b)
{
    return a->function == b->function && a->priority == b->priority && a->timeout_ms == b->timeout_ms &&
           a->codec == b->codec;
}

static void close_run(struct wire_tasks *t)
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
    if (t->n && !same_run(&t->last, as))
        close_run(t);
    if (!t->n || !same_run(&t->last, as)) {
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
    close_run(t);
    begin(head, WIRE_TASKS, 0, t->n);
    put32(head, t->n_functions);
    put32(head, t->n_runs);
    buf_put(head, t->functions.p, t->functions.n);
    buf_put(head, t->runs.p, t->runs.n);
    buf_put(head, t->ids.p, t->ids.n);
    buf_put(head, t->lengths.p, t->lengths.n);
    finish(head, t->payload_length);
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

void wire_results_add(struct wire_results *r, uint64_t id, uint32_t length, uint32_t time_us, enum wire_status status)
{
    uint8_t s = (uint8_t)status;
    put64(&r->ids, id);
    put32(&r->lengths, length);
    put32(&r->times, time_us);
    buf_put(&r->statuses, &s, 1);
    r->n++;
    r->payload_length += length;
}

void wire_results_append(struct wire_results *r, const struct wire_message *m)
{
    size_t n = m->count;
    buf_put(&r->ids, m->ids, 8 * n);
    buf_put(&r->lengths, m->lengths, 4 * n);
    buf_put(&r->times, m->times, 4 * n);
    buf_put(&r->statuses, m->statuses, n);
    r->n += m->count;
    r->payload_length += m->payload_length;
}

void wire_results_finish(struct wire_results *r, struct buf *head)
{
    assert(r->n);
    begin(head, WIRE_RESULTS, 0, r->n);
    buf_put(head, r->ids.p, r->ids.n);
    buf_put(head, r->lengths.p, r->lengths.n);
    buf_put(head, r->times.p, r->times.n);
    buf_put(head, r->statuses.p, r->statuses.n);
    finish(head, r->payload_length);
    r->ids.n = r->lengths.n = r->times.n = r->statuses.n = 0;
    r->n = 0;
    r->payload_length = 0;
}

void wire_results_free(struct wire_results *r)
{
    buf_free(&r->ids);
    buf_free(&r->lengths);
    buf_free(&r->times);
    buf_free(&r->statuses);
}

void wire_put_failure(struct buf *out, const struct wire_failure *failure)
{
    put32(out, failure->rank);
    put32(out, failure->pid);
    put32(out, (uint32_t)failure->exit_code);
    put32(out, (uint32_t)failure->signal);
    put64(out, failure->size);
    put64(out, failure->limit);
    put_string(out, failure->host);
    put_string(out, failure->block);
    put_string(out, failure->detail);
}
