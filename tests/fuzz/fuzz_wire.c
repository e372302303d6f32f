/* A head: it is refused or read, what is read can be walked through, and written anew it is the same. */
#include <stdio.h>

#include "feed.h"
#include "write_again.h"

static uint64_t walked;

static void touch(struct wire_text t)
{
    for (uint32_t i = 0; i < t.n; i++)
        walked += (uint8_t)t.p[i];
}

static void touch_node(struct wire_node n)
{
    walked += n.rank + n.pid + n.n_workers + n.n_cores + n.memory;
    touch(n.host);
}

static void walk(const struct wire_message *m)
{
    for (uint32_t i = 0; m->ids && i < m->count; i++)
        walked += wire_id(m, i);
    for (uint32_t i = 0; m->lengths && i < m->count; i++)
        walked += wire_length(m, i);
    for (uint32_t i = 0; m->times && i < m->count; i++)
        walked += wire_time(m, i) + wire_status_of(m, i);
    if (m->type == WIRE_TASKS) {
        for (uint32_t i = 0; i < m->tasks.n_functions; i++)
            walked += wire_function(m, i).digest[WIRE_DIGEST - 1] + wire_function(m, i).length;
        for (uint32_t i = 0; i < m->tasks.n_runs; i++)
            walked += wire_run(m, i).n_tasks;
    } else if (m->type == WIRE_REGISTER) {
        const uint8_t *at = m->reg.nodes;
        for (uint32_t i = 0; i < m->count; i++)
            touch_node(wire_next_node(&at));
        touch(m->reg.block_id);
        touch(m->reg.zmq);
    } else if (m->type == WIRE_NODE) {
        touch_node(m->node.node);
        touch(m->node.python_version);
    } else if (m->type == WIRE_START) {
        touch(m->start.block_id);
        touch(m->start.pool_id);
    } else if (m->type == WIRE_REFUSE || m->type == WIRE_BYE || m->type == WIRE_LOG)
        touch(m->text);
}

static uint64_t said(const uint8_t *head, size_t n)
{
    uint64_t v = 0;
    for (size_t i = 0; n >= WIRE_PREAMBLE && i < 8; i++)
        v |= (uint64_t)head[16 + i] << 8 * i;
    return v;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wire_message m, other;
    struct buf once = {0}, twice = {0};
    uint64_t came = said(data, size);
    enum wire_error error = wire_decode(data, size, came, &m);
    enum wire_error off_by_one = wire_decode(data, size, came + 1, &other);
    MUST(wire_error_name(error) && off_by_one == (error ? error : WIRE_BAD_LENGTH));
    if (error)
        return 0;
    walk(&m);
    write_again(&m, &once);
    if (m.type != WIRE_TASKS || once.n == size) {
        MUST(once.n == size && memcmp(once.p, data, size) == 0);
    } else if (wire_decode(once.p, once.n, came, &other) == WIRE_OK) { /* runs that were alike are one */
        MUST(other.tasks.n_runs < m.tasks.n_runs);
        write_again(&other, &twice);
        MUST(once.n == twice.n && memcmp(once.p, twice.p, once.n) == 0);
    } else /* and then there may be more functions than runs, if no run named them */
        MUST(m.tasks.n_functions > 1 && once.n < size);
    buf_free(&once);
    buf_free(&twice);
    return 0;
}
