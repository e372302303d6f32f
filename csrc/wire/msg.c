#include "wire/msg.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"

enum wire_error msg_read(struct bytes *head, struct parts *payload, struct msg **out)
{
    struct wire_message wire;
    enum wire_error error = wire_decode(bytes_data(head), bytes_length(head), payload->length, &wire);
    if (error) {
        bytes_unref(head);
        parts_clear(payload);
        *out = NULL;
        return error;
    }
    struct msg *msg = mem_new(sizeof *msg);
    *msg = (struct msg){.wire = wire, .head = head, .payload = *payload, .n_owners = 1};
    *payload = (struct parts){0};
    *out = msg;
    return WIRE_OK;
}

struct msg *msg_new(struct buf *head, struct parts *payload)
{
    struct parts none = {0};
    struct msg *msg;
    enum wire_error error = msg_read(buf_take(head), payload ? payload : &none, &msg);
    assert(!error);
    (void)error;
    return msg;
}

struct msg *msg_make(struct wire_message described, struct parts *payload)
{
    struct buf head = {0};
    described.payload_length = payload ? payload->length : 0;
    wire_put(&head, &described);
    return msg_new(&head, payload);
}

struct msg *msg_bare(enum wire_type type, unsigned flags, uint32_t count)
{
    return msg_make((struct wire_message){.type = type, .flags = flags, .count = count}, NULL);
}

struct msg *msg_heartbeat(int64_t clock_us, uint64_t echo_us)
{
    struct wire_message beat = {.type = WIRE_HEARTBEAT, .heartbeat = {(uint64_t)clock_us, echo_us}};
    return msg_make(beat, NULL);
}

struct msg *msg_text(enum wire_type type, uint32_t count, const char *text)
{
    struct wire_message described = {.type = type, .count = count};
    *(type == WIRE_LOG ? &described.log.line : &described.ending.reason) = wire_text_of(text);
    return msg_make(described, NULL);
}

struct msg *msg_ref(struct msg *msg)
{
    msg->n_owners++;
    return msg;
}

void msg_unref(struct msg *msg)
{
    if (!msg || --msg->n_owners)
        return;
    bytes_unref(msg->head);
    parts_clear(&msg->payload);
    parts_clear(&msg->sent_as);
    mem_free(msg);
}
