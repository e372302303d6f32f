/* describe.h: a message as lines of text, from the tables of wire/fields.h: what it is, each field, each item. */
#ifndef XSE_TEST_DESCRIBE_H
#define XSE_TEST_DESCRIBE_H

#include <inttypes.h>
#include <stdio.h>

#include "wire/wire.h"

/* ---- word_TYPE: a field in a line ---- */

static inline void word_u64(FILE *to, const char *name, uint64_t value)
{
    fprintf(to, "%s=%" PRIu64, name, value);
}
#define word_u8 word_u64
#define word_u32 word_u64

static inline void word_text(FILE *to, const char *name, wire_text value)
{
    fprintf(to, "%s=", name);
    fwrite(value.p, 1, value.n, to);
}

/* ---- line_TYPE: a field in a line of its own ---- */

static inline void line_u64(FILE *to, const char *name, uint64_t value)
{
    word_u64(to, name, value);
    putc('\n', to);
}
#define line_u32 line_u64
#define line_period line_u32
#define line_above line_u32
#define line_codec line_u32
#define line_zero(to, name, value) /* always zero: no news */

static inline void line_text(FILE *to, const char *name, wire_text value)
{
    word_text(to, name, value);
    putc('\n', to);
}

#define WORD(type, field)                                                                                              \
    putc(' ', to);                                                                                                     \
    word_##type(to, #field, value.field);

static inline void line_node(FILE *to, const char *name, wire_node value)
{
    (void)name;
    fputs("node", to);
    WIRE_NODE_FIELDS(WORD)
    putc('\n', to);
}

static inline void line_nodes(FILE *to, const char *name, wire_nodes nodes)
{
    const uint8_t *at = nodes.p;
    while (at < nodes.p + nodes.n)
        line_node(to, name, wire_next_node(&at));
}

/* ---- describe_BODY, describe_COLUMNS ---- */

#define LINE(type, name) line_##type(to, #name, from->name);
#define DESCRIBE_BODY(body)                                                                                            \
    static inline void describe_##body(FILE *to, const struct wire_message *m)                                         \
    {                                                                                                                  \
        const struct wire_##body *from = &m->body;                                                                     \
        WIRE_FIELDS_##body(LINE)(void) to;                                                                             \
        (void)from;                                                                                                    \
    }
WIRE_BODIES(DESCRIBE_BODY)

#define ITEM(type, item, column)                                                                                       \
    putc(' ', to);                                                                                                     \
    word_##type(to, #item, wire_##item(m, i));
#define DESCRIBE_COLUMNS(columns)                                                                                      \
    static inline void describe_items_of_##columns(FILE *to, const struct wire_message *m)                             \
    {                                                                                                                  \
        for (uint32_t i = 0; i < m->count; i++) {                                                                      \
            fputs("item", to);                                                                                         \
            WIRE_COLUMNS_##columns(ITEM) putc('\n', to);                                                               \
        }                                                                                                              \
    }
WIRE_COLUMN_LISTS(DESCRIBE_COLUMNS)

static inline void describe_tasks(FILE *to, const struct wire_message *m)
{
    for (uint32_t i = 0; i < m->tasks.n_functions; i++) {
        struct wire_function f = wire_function(m, i);
        fputs("function digest=", to);
        for (size_t j = 0; j < WIRE_DIGEST; j++)
            fprintf(to, "%02x", f.digest[j]);
        fprintf(to, " length=%" PRIu64 "\n", f.length);
    }
    for (uint32_t i = 0; i < m->tasks.n_runs; i++) {
        struct wire_run r = wire_run(m, i);
        fprintf(to, "run function=%u n_tasks=%u priority=%d timeout_ms=%u codec=%u\n", r.function, r.n_tasks,
                r.priority, r.timeout_ms, r.codec);
    }
    describe_items_of_tasks(to, m);
}
#define describe_results describe_items_of_results

#define DESCRIBE_PLAIN(columns)                                                                                        \
    static inline void describe_##columns(FILE *to, const struct wire_message *m)                                      \
    {                                                                                                                  \
        describe_items_of_##columns(to, m);                                                                            \
    }
WIRE_PLAIN_COLUMN_LISTS(DESCRIBE_PLAIN)

static inline void describe(FILE *to, const struct wire_message *m)
{
#define DESCRIBE(name, number, body, flag, least, most, longest)                                                       \
    case WIRE_##name:                                                                                                  \
        fprintf(to, "%s flags=%u count=%u payload=%" PRIu64 "\n", #name, m->flags, m->count, m->payload_length);       \
        describe_##body(to, m);                                                                                        \
        break;
    switch (m->type) {
        WIRE_MESSAGES(DESCRIBE)
    }
}

#endif
