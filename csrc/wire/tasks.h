/* tasks.h: the tasks that one process holds, and the functions they call. No I/O, no clock.
 *
 * A task owns its arguments and shares its function. A `task_table` knows all tasks that were read into it, whatever queue they
 * are in, until they are written or freed: one is found by its id at once. And it knows their functions, so that equal ones
 * that came in different messages are one, and go out once. */
#ifndef XSE_TASKS_H
#define XSE_TASKS_H

#include "wire/msg.h"

struct task_table; /* its tasks by id, their functions by digest */

struct function {
    uint8_t digest[WIRE_DIGEST];
    struct parts bytes;
    uint32_t codec;
    uint32_t slot; /* small number, unique among the functions alive; used again after */
    uint32_t generation; /* tells this function from an earlier one in the same slot; never 0 */
    /* tasks.c's own */
    struct task_table *home;
    struct function *next; /* in its bucket */
    struct function *newer, *older; /* among those that no task uses */
    unsigned n_tasks;
    uint32_t mark, mark_index;
};

struct task {
    struct task *next, *prev;
    struct task_queue *queue; /* in which it is; NULL: in none */
    struct function *function;
    struct parts arguments;
    uint64_t id;
    uint32_t length; /* of the arguments */
    int32_t priority;
    uint32_t timeout_ms;
    uint32_t n_blamed; /* workers that died when it was their next */
    struct task *next_in_chain; /* tasks.c's own */
};

struct task_queue { /* zeroed is empty */
    struct task *first, *last;
    uint32_t n;
};

/* keep_bytes: how many bytes of functions to keep that no task uses just now. */
struct task_table *task_table_new(uint64_t keep_bytes);
void task_table_free(struct task_table *table); /* no task may be left */
struct task *task_table_find(const struct task_table *table, uint64_t id); /* NULL: not here */

/* The tasks of a TASKS message, in its order, at the queue's end; a task goes before those of lower priority. */
void tasks_read(struct task_table *table, const struct msg *msg, struct task_queue *to);
/* The first n tasks as one TASKS message. They are gone from the queue; 1 <= n <= queue's, n <= WIRE_MAX_ITEMS. */
struct msg *tasks_write(struct task_queue *from, uint32_t n);

void task_push(struct task_queue *queue, struct task *task); /* at its place by priority, after its equals */
void task_push_back(struct task_queue *queue, struct task *task); /* at the end, whatever its priority */
void task_push_front(struct task_queue *queue, struct task *task); /* at the front, whatever its priority */
struct task *task_pop(struct task_queue *queue); /* NULL: empty */
struct task *task_pop_last(struct task_queue *queue); /* NULL: empty */
void task_remove(struct task_queue *queue, struct task *task);
void task_free(struct task *task); /* not in a queue */
void task_queue_clear(struct task_queue *queue); /* frees what is in it */

#endif
