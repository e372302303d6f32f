/* messages.h: messages as tests make them, in a line each. */
#ifndef XSE_TEST_MESSAGES_H
#define XSE_TEST_MESSAGES_H

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "wire/msg.h"

static inline void drop_line(void *arg, enum log_level level, const char *line)
{
    (void)arg;
    (void)level;
    (void)line;
}

/* What is lost on purpose need not be written to stderr. */
static inline void quiet(void)
{
    log_to(drop_line, NULL, LOG_DEBUG);
}

/* TASKS with ids first, first + 1, ...; each task's arguments are its id in decimal. One function, named by `letter`. */
static inline struct msg *make_run(uint64_t first, uint32_t n, char letter, struct wire_run run)
{
    struct wire_tasks tasks = {0};
    struct buf head = {0}, bytes = {0};
    struct parts payload = {0};
    uint8_t digest[WIRE_DIGEST];
    memset(digest, letter, sizeof digest);
    wire_tasks_function(&tasks, digest, 3);
    buf_put(&bytes, "fun", 3);
    for (uint32_t i = 0; i < n; i++) {
        char text[32];
        int length = snprintf(text, sizeof text, "%llu", (unsigned long long)(first + i));
        wire_tasks_add(&tasks, first + i, (uint32_t)length, &run);
        buf_put(&bytes, text, (size_t)length);
    }
    wire_tasks_finish(&tasks, &head);
    wire_tasks_free(&tasks);
    struct bytes *all = buf_take(&bytes);
    parts_add(&payload, all, bytes_data(all), bytes_length(all));
    bytes_unref(all);
    return msg_new(&head, &payload);
}

static inline struct msg *make_tasks(uint64_t first, uint32_t n, char letter, int32_t priority)
{
    return make_run(first, n, letter, (struct wire_run){.priority = priority});
}

static inline struct msg *make_some_ids(enum wire_type type, unsigned flags, const uint64_t *ids, uint32_t n)
{
    struct buf head = {0};
    wire_put_ids(&head, type, flags, ids, n);
    return msg_new(&head, NULL);
}

static inline struct msg *make_ids(enum wire_type type, unsigned flags, uint64_t id)
{
    return make_some_ids(type, flags, &id, 1);
}

static inline struct msg *make_results(uint64_t first, uint32_t n)
{
    struct wire_results results = {0};
    struct buf head = {0};
    for (uint32_t i = 0; i < n; i++)
        wire_results_add(&results, &(struct wire_result){.id = first + i, .time = 10});
    wire_results_finish(&results, &head);
    wire_results_free(&results);
    return msg_new(&head, NULL);
}

static inline struct msg *make_result_begun(uint64_t id, uint64_t start_us, uint32_t worker)
{
    struct wire_results results = {0};
    struct buf head = {0};
    wire_results_add(&results, &(struct wire_result){.id = id, .start = start_us, .time = 10, .worker = worker});
    wire_results_finish(&results, &head);
    wire_results_free(&results);
    return msg_new(&head, NULL);
}

/* One result of n bytes. */
static inline struct msg *make_result_of(uint64_t id, size_t n)
{
    struct wire_results results = {0};
    struct buf head = {0};
    struct parts payload = {0};
    struct bytes *bytes = bytes_new(n);
    for (size_t i = 0; i < n; i++)
        bytes_data(bytes)[i] = (uint8_t)(i * 31 + n);
    parts_add(&payload, bytes, bytes_data(bytes), n);
    bytes_unref(bytes);
    wire_results_add(&results, &(struct wire_result){.id = id, .length = (uint32_t)n});
    wire_results_finish(&results, &head);
    wire_results_free(&results);
    return msg_new(&head, &payload);
}

static inline struct msg *make_credit(uint32_t capacity, uint32_t n_workers, uint32_t task_us)
{
    return msg_make((struct wire_message){.type = WIRE_CREDIT, .count = capacity, .credit = {n_workers, task_us}},
                    NULL);
}

static inline struct msg *make_start(uint32_t period_ms, uint32_t threshold_ms)
{
    struct wire_start start = {.heartbeat_period_ms = period_ms,
                               .heartbeat_threshold_ms = threshold_ms,
                               .block_id = wire_text_of("b"),
                               .pool_id = wire_text_of("p")};
    return msg_make((struct wire_message){.type = WIRE_START, .count = 1, .start = start}, NULL);
}

/* What was sent, in order: the tests look at it and take it. */
struct outbox {
    struct msg *v[4096];
    uint32_t to[4096];
    int n;
};

static inline void outbox_add(struct outbox *out, uint32_t to, struct msg *msg)
{
    out->to[out->n] = to;
    out->v[out->n++] = msg;
}

static inline void outbox_clear(struct outbox *out)
{
    while (out->n)
        msg_unref(out->v[--out->n]);
}

static inline int outbox_count(const struct outbox *out, enum wire_type type)
{
    int n = 0;
    for (int i = 0; i < out->n; i++)
        n += out->v[i]->wire.type == type;
    return n;
}

/* The last message of this type; NULL: none. */
static inline struct msg *outbox_last(const struct outbox *out, enum wire_type type)
{
    for (int i = out->n - 1; i >= 0; i--)
        if (out->v[i]->wire.type == type)
            return out->v[i];
    return NULL;
}

/* Items in all messages of this type. */
static inline unsigned outbox_items(const struct outbox *out, enum wire_type type)
{
    unsigned n = 0;
    for (int i = 0; i < out->n; i++)
        if (out->v[i]->wire.type == type)
            n += out->v[i]->wire.count;
    return n;
}

#endif
