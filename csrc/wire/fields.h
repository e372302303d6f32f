/* fields.h: the one description of messages in C (docs/developers/protocol.md, 2). wire.h makes the structs of it, wire.c
 * the decoder and the encoder, tests/c/describe.h the text of a message. To add a field: one line here, one in the
 * document, one in xse/wire/messages.py, and its value in tests/vectors.
 *
 * A body is a list of F(type, name) in the order of the wire. Types:
 *   u32, u64, i32   numbers
 *   period, above   u32: at least 1; above the field before it
 *   codec           u32: 0 to 255
 *   zero            u32: reserved
 *   text            a text
 *   node, nodes     one entry of WIRE_NODE_FIELDS; `count` of them
 * Columns, with one item for each task, are a list of C(type, item, column): struct wire_message has the column. */
#ifndef XSE_WIRE_FIELDS_H
#define XSE_WIRE_FIELDS_H

#define WIRE_NODE_FIELDS(F) F(u32, rank) F(u32, pid) F(u32, n_workers) F(u32, n_cores) F(u64, memory) F(text, host)

#define WIRE_FAILURE_FIELDS(F)                                                                                         \
    F(u32, rank)                                                                                                       \
    F(u32, pid)                                                                                                        \
    F(i32, exit_code)                                                                                                  \
    F(i32, signal)                                                                                                     \
    F(u64, size)                                                                                                       \
    F(u64, limit)                                                                                                      \
    F(text, host)                                                                                                      \
    F(text, block)                                                                                                     \
    F(text, detail)

#define WIRE_FIELDS_none(F)
#define WIRE_FIELDS_registration(F)                                                                                    \
    F(text, block_id)                                                                                                  \
    F(text, pool_id)                                                                                                   \
    F(text, xse_version)                                                                                               \
    F(text, python_version)                                                                                            \
    F(text, mpi)                                                                                                       \
    F(text, zmq)                                                                                                       \
    F(nodes, nodes)
#define WIRE_FIELDS_welcome(F)                                                                                         \
    F(period, heartbeat_period_ms) F(above, heartbeat_threshold_ms) F(codec, setup_codec) F(zero, reserved)
#define WIRE_FIELDS_ending(F) F(text, reason)
#define WIRE_FIELDS_credit(F) F(u32, n_workers) F(u32, task_us)
#define WIRE_FIELDS_leader(F) F(node, node) F(text, python_version)
#define WIRE_FIELDS_start(F)                                                                                           \
    F(period, heartbeat_period_ms)                                                                                     \
    F(above, heartbeat_threshold_ms)                                                                                   \
    F(codec, setup_codec)                                                                                              \
    F(zero, reserved)                                                                                                  \
    F(text, block_id)                                                                                                  \
    F(text, pool_id)
#define WIRE_FIELDS_heartbeat(F) F(u64, clock_us) F(u64, echo_us)
#define WIRE_FIELDS_log(F) F(text, line)

#define WIRE_COLUMNS_tasks(C) C(u64, id, ids) C(u32, length, lengths)
#define WIRE_COLUMNS_results(C)                                                                                        \
    C(u64, id, ids)                                                                                                    \
    C(u64, start, starts)                                                                                              \
    C(u32, length, lengths)                                                                                            \
    C(u32, time, times)                                                                                                \
    C(u32, worker, workers)                                                                                            \
    C(u8, status, statuses)
#define WIRE_COLUMNS_ids(C) C(u64, id, ids)
#define WIRE_COLUMNS(C) WIRE_COLUMNS_results(C) /* all columns that any message has */

/* B(body): each list of fields above; B(columns): each list of columns. */
#define WIRE_BODIES(B) B(none) B(registration) B(welcome) B(ending) B(heartbeat) B(credit) B(leader) B(start) B(log)
#define WIRE_COLUMN_LISTS(B) B(tasks) B(results) WIRE_PLAIN_COLUMN_LISTS(B)
#define WIRE_PLAIN_COLUMN_LISTS(B) B(ids) /* nothing but columns: a new one needs no code */

/* M(name, number, body or columns, flag, least count, most count, longest payload). */
#define WIRE_MESSAGES(M)                                                                                               \
    M(TASKS, 1, tasks, 0, 1, WIRE_MAX_ITEMS, WIRE_BY_ITEMS)                                                            \
    M(RESULTS, 2, results, 0, 1, WIRE_MAX_ITEMS, WIRE_BY_ITEMS)                                                        \
    M(CANCEL, 3, ids, WIRE_KILL, 1, WIRE_MAX_ITEMS, 0)                                                                 \
    M(STARTED, 4, ids, 0, 1, WIRE_MAX_ITEMS, 0)                                                                        \
    M(RECALL, 5, none, 0, 1, UINT32_MAX, 0)                                                                            \
    M(REGISTER, 16, registration, 0, 1, WIRE_MAX_ITEMS, 0)                                                             \
    M(WELCOME, 17, welcome, 0, 0, 0, WIRE_MAX_ITEM)                                                                    \
    M(REFUSE, 18, ending, 0, 1, 4, 0)                                                                                  \
    M(HEARTBEAT, 19, heartbeat, 0, 0, 0, 0)                                                                            \
    M(CREDIT, 20, credit, WIRE_DRAINING, 0, UINT32_MAX, 0)                                                             \
    M(STOP, 21, none, WIRE_NOW, 0, UINT32_MAX, 0)                                                                      \
    M(BYE, 22, ending, 0, 0, 4, WIRE_MAX_ITEM)                                                                         \
    M(RANK_LOST, 23, ending, 0, 0, UINT32_MAX, 0)                                                                      \
    M(NODE, 32, leader, 0, 0, 0, 0)                                                                                    \
    M(START, 33, start, 0, 1, WIRE_MAX_ITEMS, WIRE_MAX_ITEM)                                                           \
    M(LOG, 34, log, 0, 0, 3, 0)                                                                                        \
    M(REQUEST, 48, none, 0, 0, UINT32_MAX, WIRE_MAX_ITEM)                                                              \
    M(REPLY, 49, none, 0, 0, UINT32_MAX, WIRE_MAX_ITEM)                                                                \
    M(EVENT, 50, none, 0, 0, 0, WIRE_MAX_ITEM)

#endif
