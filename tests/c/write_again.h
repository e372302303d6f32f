/* write_again.h: a message that was read, written anew by the calls that wrote it. The bytes are the same, but for runs
 * of TASKS that follow each other and are alike: they become one. */
#ifndef XSE_TEST_WRITE_AGAIN_H
#define XSE_TEST_WRITE_AGAIN_H

#include <stdlib.h>

#include "wire/wire.h"

#define COPY_ITEM(type, item, column) .item = wire_##item(m, i),

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
        wire_results_append(&results, m, 0);
        wire_results_finish(&results, head);
        head->n = 0;
        for (uint32_t i = 0; i < m->count; i++)
            wire_results_add(&results, &(struct wire_result){WIRE_COLUMNS_results(COPY_ITEM)});
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
    default:
        wire_put(head, m);
    }
}

#endif
