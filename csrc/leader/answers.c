#include "leader/answers.h"

#include "leader/runner.h"

#define FULL_BYTES (16u << 20)

static void answers_close_small(struct answers *a)
{
    if (!a->small.n)
        return;
    struct bytes *small = buf_take(&a->small);
    parts_add(&a->payload, small, bytes_data(small), bytes_length(small));
    bytes_unref(small);
}

void answers_add(struct answers *a, const struct wire_result *result, const struct parts *payload)
{
    struct wire_result with_length = *result;
    uint64_t n = payload ? payload->length : 0;
    if (n && n < RUNNER_LENT)
        parts_copy(payload, (struct place){0, 0}, n, buf_extend(&a->small, (size_t)n));
    else if (n) {
        answers_close_small(a);
        parts_add_range(&a->payload, payload, (struct place){0, 0}, n);
    }
    with_length.length = (uint32_t)n;
    wire_results_add(&a->results, &with_length);
}

void answers_add_failure(struct answers *a, const struct wire_result *result, const struct wire_failure *failure)
{
    struct buf record = {0};
    struct parts payload = {0};
    wire_put_failure(&record, failure);
    struct bytes *bytes = buf_take(&record);
    parts_add(&payload, bytes, bytes_data(bytes), bytes_length(bytes));
    bytes_unref(bytes);
    answers_add(a, result, &payload);
    parts_clear(&payload);
}

bool answers_full(const struct answers *a)
{
    return a->results.n == WIRE_MAX_ITEMS || a->results.payload_length >= FULL_BYTES;
}

struct msg *answers_take(struct answers *a)
{
    struct buf head = {0};
    if (!a->results.n)
        return NULL;
    answers_close_small(a);
    wire_results_finish(&a->results, &head);
    return msg_new(&head, &a->payload);
}

void answers_free(struct answers *a)
{
    wire_results_free(&a->results);
    parts_clear(&a->payload);
    buf_free(&a->small);
}
