#include "wire/tasks.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"

#define N_BUCKETS 1024u /* functions alive at once are few; chains stay short into the tens of thousands */
#define FIRST_CHAINS 1024u /* of tasks: twice as many whenever there are more tasks than chains */
#define COPY_UNDER 65536u /* smaller things are copied, so that they do not keep a whole message in memory */

struct task_table {
    struct task **chains; /* tasks, by a hash of their ids */
    size_t n_chains, n_tasks; /* n_chains: a power of two */
    struct function *buckets[N_BUCKETS];
    struct function *newest, *oldest; /* that no task uses */
    uint64_t kept_bytes, keep_bytes; /* in those */
    uint32_t *free_slots;
    uint32_t n_free_slots, n_slots;
    uint32_t last_generation, last_mark;
};

struct task_table *task_table_new(uint64_t keep_bytes)
{
    struct task_table *table = mem_new(sizeof *table);
    table->n_chains = FIRST_CHAINS;
    table->chains = mem_array(table->n_chains, sizeof *table->chains);
    table->keep_bytes = keep_bytes;
    return table;
}

/* ---- tasks by id ------------------------------------------------------------------------------------------------ */

/* Ids that follow each other come together, and have chains that lie together. Higher bits are folded in for those that come
 * at regular distances, as when ranks get them in turn. */
static struct task **tasks_chain(const struct task_table *table, uint64_t id)
{
    return &table->chains[(id ^ id >> 10) & (table->n_chains - 1)];
}

static void tasks_join_chain(const struct task_table *table, struct task *task)
{
    struct task **first = tasks_chain(table, task->id);
    task->next_in_chain = *first;
    *first = task;
}

static void tasks_more_chains(struct task_table *table)
{
    struct task **before = table->chains;
    size_t n = table->n_chains;
    table->n_chains = 2 * n;
    table->chains = mem_array(table->n_chains, sizeof *table->chains);
    for (size_t i = 0; i < n; i++)
        for (struct task *task = before[i], *next; task; task = next) {
            next = task->next_in_chain;
            tasks_join_chain(table, task);
        }
    mem_free(before);
}

static void tasks_enter(struct task_table *table, struct task *task)
{
    if (table->n_tasks++ == table->n_chains)
        tasks_more_chains(table);
    tasks_join_chain(table, task);
}

static void tasks_leave(struct task_table *table, const struct task *task)
{
    struct task **at = tasks_chain(table, task->id);
    while (*at != task)
        at = &(*at)->next_in_chain;
    *at = task->next_in_chain;
    table->n_tasks--;
}

struct task *task_table_find(const struct task_table *table, uint64_t id)
{
    struct task *task = *tasks_chain(table, id);
    while (task && task->id != id)
        task = task->next_in_chain;
    return task;
}

/* ---- functions -------------------------------------------------------------------------------------------------- */

static struct function **tasks_bucket(struct task_table *table, const uint8_t *digest)
{
    uint32_t hash; /* the digest is one already */
    memcpy(&hash, digest, sizeof hash);
    return &table->buckets[hash % N_BUCKETS];
}

static void tasks_leave_unused(struct task_table *table, struct function *f)
{
    *(f->newer ? &f->newer->older : &table->newest) = f->older;
    *(f->older ? &f->older->newer : &table->oldest) = f->newer;
    f->newer = f->older = NULL;
    table->kept_bytes -= f->bytes.length;
}

static void tasks_join_unused(struct task_table *table, struct function *f)
{
    f->older = table->newest;
    *(f->older ? &f->older->newer : &table->oldest) = f;
    table->newest = f;
    table->kept_bytes += f->bytes.length;
}

static void tasks_forget_oldest(struct task_table *table)
{
    struct function *f = table->oldest;
    tasks_leave_unused(table, f);
    struct function **at = tasks_bucket(table, f->digest);
    while (*at != f)
        at = &(*at)->next;
    *at = f->next;
    table->free_slots = mem_grow(table->free_slots, table->n_free_slots + 1, sizeof(uint32_t));
    table->free_slots[table->n_free_slots++] = f->slot;
    parts_clear(&f->bytes);
    mem_free(f);
}

void task_table_free(struct task_table *table)
{
    if (!table)
        return;
    while (table->oldest)
        tasks_forget_oldest(table);
    mem_free(table->free_slots);
    mem_free(table->chains);
    mem_free(table);
}

/* n bytes of a payload as parts of their own. Falls back to sharing when there is no memory for a copy. */
static void tasks_keep(struct parts *to, const struct parts *from, struct place at, uint64_t n)
{
    struct bytes *copy =
        n && n < COPY_UNDER && bytes_length(from->v[at.slice].owner) >= COPY_UNDER ? bytes_new(n) : NULL;
    if (!copy) {
        parts_add_range(to, from, at, n);
        return;
    }
    parts_copy(from, at, n, bytes_data(copy));
    parts_add(to, copy, bytes_data(copy), n);
    bytes_unref(copy);
}

static struct function *tasks_intern(struct task_table *table, struct wire_function f, uint32_t codec,
                                     const struct parts *payload, struct place at)
{
    struct function **first = tasks_bucket(table, f.digest);
    for (struct function *known = *first; known; known = known->next)
        if (memcmp(known->digest, f.digest, WIRE_DIGEST) == 0 && known->codec == codec)
            return known;
    struct function *new = mem_new(sizeof *new);
    memcpy(new->digest, f.digest, WIRE_DIGEST);
    tasks_keep(&new->bytes, payload, at, f.length);
    new->codec = codec;
    new->slot = table->n_free_slots ? table->free_slots[--table->n_free_slots] : table->n_slots++;
    new->generation = ++table->last_generation ? table->last_generation : ++table->last_generation;
    new->home = table;
    new->next = *first;
    *first = new;
    tasks_join_unused(table, new);
    return new;
}

static void tasks_use(struct function *f)
{
    if (!f->n_tasks++)
        tasks_leave_unused(f->home, f);
}

static void tasks_unuse(struct function *f)
{
    struct task_table *home = f->home; /* f may be the one to go */
    if (--f->n_tasks)
        return;
    tasks_join_unused(home, f);
    while (home->oldest && home->kept_bytes > home->keep_bytes)
        tasks_forget_oldest(home);
}

/* ---- queues ----------------------------------------------------------------------------------------------------- */

static void tasks_insert_after(struct task_queue *queue, struct task *task, struct task *before)
{
    task->queue = queue;
    task->prev = before;
    task->next = before ? before->next : queue->first;
    *(task->prev ? &task->prev->next : &queue->first) = task;
    *(task->next ? &task->next->prev : &queue->last) = task;
    queue->n++;
}

void task_push(struct task_queue *queue, struct task *task)
{
    struct task *before = queue->last;
    while (before && before->priority > task->priority)
        before = before->prev;
    tasks_insert_after(queue, task, before);
}

void task_push_back(struct task_queue *queue, struct task *task)
{
    tasks_insert_after(queue, task, queue->last);
}

void task_push_front(struct task_queue *queue, struct task *task)
{
    tasks_insert_after(queue, task, NULL);
}

void task_remove(struct task_queue *queue, struct task *task)
{
    *(task->prev ? &task->prev->next : &queue->first) = task->next;
    *(task->next ? &task->next->prev : &queue->last) = task->prev;
    task->next = task->prev = NULL;
    task->queue = NULL;
    queue->n--;
}

struct task *task_pop(struct task_queue *queue)
{
    struct task *task = queue->first;
    if (task)
        task_remove(queue, task);
    return task;
}

struct task *task_pop_last(struct task_queue *queue)
{
    struct task *task = queue->last;
    if (task)
        task_remove(queue, task);
    return task;
}

void task_free(struct task *task)
{
    parts_clear(&task->arguments);
    tasks_leave(task->function->home, task);
    tasks_unuse(task->function);
    mem_free(task);
}

void task_queue_clear(struct task_queue *queue)
{
    while (queue->first)
        task_free(task_pop(queue));
}

/* ---- messages --------------------------------------------------------------------------------------------------- */

void tasks_read(struct task_table *table, const struct msg *msg, struct task_queue *to)
{
    const struct wire_message *m = &msg->wire;
    assert(m->type == WIRE_TASKS);
    /* A function's codec stands in its runs; a function that no run names is passed over. */
    struct place *places = mem_array(m->tasks.n_functions, sizeof *places);
    struct place at = {0, 0};
    for (uint32_t i = 0; i < m->tasks.n_functions; i++) {
        places[i] = at;
        at = parts_step(&msg->payload, at, wire_function(m, i).length);
    }
    uint32_t index = 0;
    for (uint32_t i = 0; i < m->tasks.n_runs; i++) {
        struct wire_run run = wire_run(m, i);
        struct function *f =
            tasks_intern(table, wire_function(m, run.function), run.codec, &msg->payload, places[run.function]);
        struct task *before = NULL; /* of this run: the place is looked for once */
        for (uint32_t j = 0; j < run.n_tasks; j++, index++) {
            struct task *task = mem_new(sizeof *task);
            task->function = f;
            tasks_use(f);
            task->id = wire_id(m, index);
            tasks_enter(table, task);
            task->length = wire_length(m, index);
            task->priority = run.priority;
            task->timeout_ms = run.timeout_ms;
            tasks_keep(&task->arguments, &msg->payload, at, task->length);
            at = parts_step(&msg->payload, at, task->length);
            if (before)
                tasks_insert_after(to, task, before);
            else
                task_push(to, task);
            before = task;
        }
    }
    mem_free(places);
}

struct msg *tasks_write(struct task_queue *from, uint32_t n)
{
    struct wire_tasks heads = {0};
    struct parts payload = {0};
    struct buf head = {0};
    assert(n >= 1 && n <= from->n && n <= WIRE_MAX_ITEMS);
    struct task_table *home = from->first->function->home;
    uint32_t mark = ++home->last_mark ? home->last_mark : ++home->last_mark;
    struct task *task = from->first;
    for (uint32_t i = 0; i < n; i++, task = task->next) { /* functions come first in the payload */
        struct function *f = task->function;
        if (f->mark == mark)
            continue;
        f->mark = mark;
        f->mark_index = heads.n_functions;
        wire_tasks_function(&heads, f->digest, f->bytes.length);
        parts_add_range(&payload, &f->bytes, (struct place){0, 0}, f->bytes.length);
    }
    while (n--) {
        task = task_pop(from);
        struct wire_run as = {.function = task->function->mark_index,
                              .priority = task->priority,
                              .timeout_ms = task->timeout_ms,
                              .codec = task->function->codec};
        wire_tasks_add(&heads, task->id, task->length, &as);
        parts_add_range(&payload, &task->arguments, (struct place){0, 0}, task->length);
        task_free(task);
    }
    wire_tasks_finish(&heads, &head);
    wire_tasks_free(&heads);
    return msg_new(&head, &payload);
}
