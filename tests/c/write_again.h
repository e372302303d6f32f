/* write_again.h: a message that was read, written anew by the calls that wrote it. The bytes are the same, but for runs
 * of TASKS that follow each other and are alike: they become one. */
#ifndef XSE_TEST_WRITE_AGAIN_H
#define XSE_TEST_WRITE_AGAIN_H

#include <stdlib.h>
#include <string.h>

#include "wire/wire.h"

static inline char *text_of(struct wire_text t)
{
    char *s = calloc(1, t.n + 1);
    if (t.n)
        memcpy(s, t.p, t.n);
    return s;
}

static inline void write_register(const struct wire_message *m, struct buf *head)
{
    struct wire_node *nodes = calloc(m->count, sizeof *nodes);
    const uint8_t *at = m->reg.nodes;
    for (uint32_t i = 0; i < m->count; i++)
        nodes[i] = wire_next_node(&at);
    char *t[] = {text_of(m->reg.block_id),       text_of(m->reg.pool_id), text_of(m->reg.xse_version),
                 text_of(m->reg.python_version), text_of(m->reg.mpi),     text_of(m->reg.zmq)};
    wire_put_register(head, t[0], t[1], t[2], t[3], t[4], t[5], nodes, m->count);
    for (int i = 0; i < 6; i++)
        free(t[i]);
    free(nodes);
}

static inline void write_again(const struct wire_message *m, struct buf *head)
{
    struct wire_tasks tasks = {0};
    struct wire_results results = {0};
    switch (m->type) {
    case WIRE_TASKS:
        for (uint32_t i = 0; i < m->tasks.n_functions; i++) {
            struct wire_function f = wire_function(m, i);
            wire_tasks_function(&tasks, f.digest, f.length);
        }
        for (uint32_t i = 0, task = 0; i < m->tasks.n_runs; i++) {
            struct wire_run r = wire_run(m, i);
            for (uint32_t j = 0; j < r.n_tasks; j++, task++)
                wire_tasks_add(&tasks, wire_id(m, task), wire_length(m, task), &r);
        }
        wire_tasks_finish(&tasks, head);
        wire_tasks_free(&tasks);
        break;
    case WIRE_RESULTS:
        wire_results_append(&results, m);
        wire_results_finish(&results, head);
        head->n = 0;
        for (uint32_t i = 0; i < m->count; i++)
            wire_results_add(&results, wire_id(m, i), wire_length(m, i), wire_time(m, i), wire_status_of(m, i));
        wire_results_finish(&results, head);
        wire_results_free(&results);
        break;
    case WIRE_CANCEL:
    case WIRE_STARTED: {
        uint64_t *ids = calloc(m->count, sizeof *ids);
        for (uint32_t i = 0; i < m->count; i++)
            ids[i] = wire_id(m, i);
        wire_put_ids(head, m->type, m->flags, ids, m->count);
        free(ids);
        break;
    }
    case WIRE_REGISTER:
        write_register(m, head);
        break;
    case WIRE_NODE: {
        char *python = text_of(m->node.python_version);
        wire_put_node(head, &m->node.node, python);
        free(python);
        break;
    }
    case WIRE_WELCOME:
    case WIRE_START: {
        char *block = text_of(m->start.block_id), *pool = text_of(m->start.pool_id);
        struct wire_start start = {.n_leaders = m->count,
                                   .heartbeat_period_ms = m->start.heartbeat_period_ms,
                                   .heartbeat_threshold_ms = m->start.heartbeat_threshold_ms,
                                   .setup_codec = m->start.setup_codec,
                                   .first_worker = m->start.first_worker,
                                   .block_id = block,
                                   .pool_id = pool,
                                   .setup_length = m->payload_length};
        (m->type == WIRE_START ? wire_put_start : wire_put_welcome)(head, &start);
        free(block);
        free(pool);
        break;
    }
    case WIRE_CREDIT:
        wire_put_credit(head, m->count, m->credit.n_workers, m->credit.task_us, m->flags & WIRE_DRAINING);
        break;
    case WIRE_REFUSE:
    case WIRE_BYE:
    case WIRE_LOG:
        wire_put_text(head, m->type, m->count, m->text, m->payload_length);
        break;
    default:
        wire_put_bare(head, m->type, m->flags, m->count, m->payload_length);
    }
}

#endif
