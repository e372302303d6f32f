/* feed.h: a fuzzer's input, read bit by bit as what a test needs: numbers, bytes, messages. An input that is used up
 * gives zeros. */
#ifndef XSE_FUZZ_FEED_H
#define XSE_FUZZ_FEED_H

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "wire/msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must hold whatever came. libFuzzer keeps the input that breaks it. */
#define MUST(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                                    \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

struct feed {
    const uint8_t *p, *end;
};

static inline size_t feed_left(const struct feed *f)
{
    return (size_t)(f->end - f->p);
}

static inline uint64_t feed_number(struct feed *f, size_t n_bytes)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n_bytes && f->p < f->end; i++)
        v |= (uint64_t)*f->p++ << 8 * i;
    return v;
}

static inline uint8_t feed_byte(struct feed *f)
{
    return (uint8_t)feed_number(f, 1);
}

/* Mostly small, at times anything. */
static inline uint32_t feed_u32(struct feed *f)
{
    uint8_t v = feed_byte(f);
    return v < 250 ? v : (uint32_t)feed_number(f, 4);
}

/* Up to n bytes; *n says how many there were. */
static inline const uint8_t *feed_bytes(struct feed *f, size_t *n)
{
    if (*n > feed_left(f))
        *n = feed_left(f);
    f->p += *n;
    return f->p - *n;
}

static inline void feed_drop_line(void *arg, enum log_level level, const char *line)
{
    (void)arg;
    (void)level;
    (void)line;
}

/* Lines are made, for what is in them comes from the input, but not shown. */
static inline void feed_quiet(void)
{
    log_to(feed_drop_line, NULL, LOG_DEBUG);
}

static inline struct parts feed_payload(const uint8_t *p, size_t n)
{
    struct parts payload = {0};
    struct buf copy = {0};
    buf_put(&copy, p, n);
    struct bytes *bytes = buf_take(&copy);
    parts_add(&payload, bytes, bytes_data(bytes), n);
    bytes_unref(bytes);
    return payload;
}

/* So many tasks with ids from first on, of one function or of two, with whatever options. */
static inline struct msg *feed_tasks(struct feed *f, uint64_t first, uint32_t n)
{
    struct wire_tasks tasks = {0};
    struct buf head = {0};
    uint8_t digest[WIRE_DIGEST] = {feed_byte(f)}, other[WIRE_DIGEST] = {feed_byte(f)};
    uint8_t shape = feed_byte(f);
    static const uint8_t bytes[4096];
    size_t sum = n > 1 ? 5 : 3;
    wire_tasks_function(&tasks, digest, 3);
    if (n > 1)
        wire_tasks_function(&tasks, other, 2);
    for (uint32_t i = 0; i < n; i++) {
        struct wire_run run = {.function = i < 2 ? i : shape >> i % 4 & 1, .codec = shape & 1};
        run.timeout_ms = shape & 16 ? 1 + i : 0;
        run.priority = shape & 32 ? -(int32_t)(i % 3) : 0;
        uint32_t length = sum < sizeof bytes - 256 ? (shape * i) & 0xff : 0;
        wire_tasks_add(&tasks, first + i, length, &run);
        sum += length;
    }
    wire_tasks_finish(&tasks, &head);
    wire_tasks_free(&tasks);
    struct parts payload = feed_payload(bytes, sum);
    return msg_new(&head, &payload);
}

static inline struct msg *feed_results(uint64_t first, uint32_t n, uint32_t length, enum wire_status status)
{
    struct wire_results results = {0};
    struct buf head = {0};
    static const uint8_t bytes[255 * 255];
    for (uint32_t i = 0; i < n; i++)
        wire_results_add(&results,
                         &(struct wire_result){
                             .id = first + i, .start = 1, .length = length, .time = 10, .status = (uint8_t)status});
    wire_results_finish(&results, &head);
    wire_results_free(&results);
    struct parts payload = feed_payload(bytes, (size_t)n * length);
    return msg_new(&head, &payload);
}

static inline struct msg *feed_ids(enum wire_type type, unsigned flags, uint64_t first, uint32_t n)
{
    struct buf head = {0};
    uint64_t ids[256];
    for (uint32_t i = 0; i < n; i++)
        ids[i] = first + i;
    wire_put_ids(&head, type, flags, ids, n);
    return msg_new(&head, NULL);
}

/* A head and a payload as they come; NULL: they are no message. */
static inline struct msg *feed_raw(struct feed *f)
{
    size_t n_head = feed_number(f, 2), n_payload = feed_byte(f);
    const uint8_t *p = feed_bytes(f, &n_head), *q = feed_bytes(f, &n_payload);
    struct buf head = {0};
    struct msg *msg;
    buf_put(&head, p, n_head);
    struct parts payload = feed_payload(q, n_payload);
    msg_read(buf_take(&head), &payload, &msg);
    return msg;
}

#endif
