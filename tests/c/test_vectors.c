/* The C codec against tests/vectors: every head means what the vector says, or is refused as it says; and what was read
 * can be written again, byte for byte. usage: test_vectors FILE... */
#include <stdlib.h>

#include "check.h"
#include "write_again.h"

struct vector {
    char name[256], error[32];
    char *means; /* lines */
    uint8_t *head;
    size_t n_head;
    uint64_t came;
};

static void put(char **text, const char *line)
{
    size_t n = *text ? strlen(*text) : 0;
    *text = realloc(*text, n + strlen(line) + 2);
    sprintf(*text + n, "%s\n", line);
}

#define PUT(...)                                                                                                       \
    do {                                                                                                               \
        char line[66000];                                                                                              \
        snprintf(line, sizeof line, __VA_ARGS__);                                                                      \
        put(&out, line);                                                                                               \
    } while (0)
#define TEXT(t) (int)(t).n, (t).p

static char *describe(const struct wire_message *m)
{
    static const char *const names[] = {
        [WIRE_TASKS] = "TASKS",     [WIRE_RESULTS] = "RESULTS", [WIRE_CANCEL] = "CANCEL",
        [WIRE_STARTED] = "STARTED", [WIRE_RECALL] = "RECALL",   [WIRE_REGISTER] = "REGISTER",
        [WIRE_WELCOME] = "WELCOME", [WIRE_REFUSE] = "REFUSE",   [WIRE_HEARTBEAT] = "HEARTBEAT",
        [WIRE_CREDIT] = "CREDIT",   [WIRE_STOP] = "STOP",       [WIRE_BYE] = "BYE",
        [WIRE_NODE] = "NODE",       [WIRE_START] = "START",     [WIRE_LOG] = "LOG",
        [WIRE_REQUEST] = "REQUEST", [WIRE_REPLY] = "REPLY",     [WIRE_EVENT] = "EVENT"};
    char *out = NULL, more[256] = "";
    switch (m->type) {
    case WIRE_WELCOME:
        snprintf(more, sizeof more, " period=%u threshold=%u codec=%u", m->start.heartbeat_period_ms,
                 m->start.heartbeat_threshold_ms, m->start.setup_codec);
        break;
    case WIRE_START:
        snprintf(more, sizeof more, " count=%u period=%u threshold=%u codec=%u first_worker=%u", m->count,
                 m->start.heartbeat_period_ms, m->start.heartbeat_threshold_ms, m->start.setup_codec,
                 m->start.first_worker);
        break;
    case WIRE_CREDIT:
        snprintf(more, sizeof more, " capacity=%u n_workers=%u task_us=%u", m->count, m->credit.n_workers,
                 m->credit.task_us);
        break;
    case WIRE_RECALL:
    case WIRE_REFUSE:
    case WIRE_STOP:
    case WIRE_BYE:
    case WIRE_LOG:
    case WIRE_REQUEST:
    case WIRE_REPLY:
        snprintf(more, sizeof more, " count=%u", m->count);
        break;
    default:
        break;
    }
    PUT("%s flags=%u payload=%llu%s", names[m->type], m->flags, (unsigned long long)m->payload_length, more);
    if (m->type == WIRE_TASKS) {
        for (uint32_t i = 0; i < m->tasks.n_functions; i++) {
            struct wire_function f = wire_function(m, i);
            char hex[2 * WIRE_DIGEST + 1];
            for (size_t j = 0; j < WIRE_DIGEST; j++)
                sprintf(hex + 2 * j, "%02x", f.digest[j]);
            PUT("function digest=%s length=%llu", hex, (unsigned long long)f.length);
        }
        for (uint32_t i = 0; i < m->tasks.n_runs; i++) {
            struct wire_run r = wire_run(m, i);
            PUT("run function=%u n_tasks=%u priority=%d timeout_ms=%u codec=%u", r.function, r.n_tasks, r.priority,
                r.timeout_ms, r.codec);
        }
        for (uint32_t i = 0; i < m->count; i++)
            PUT("task id=%llu length=%u", (unsigned long long)wire_id(m, i), wire_length(m, i));
    } else if (m->type == WIRE_RESULTS) {
        for (uint32_t i = 0; i < m->count; i++)
            PUT("result id=%llu length=%u time=%u status=%u", (unsigned long long)wire_id(m, i), wire_length(m, i),
                wire_time(m, i), wire_status_of(m, i));
    } else if (m->type == WIRE_CANCEL || m->type == WIRE_STARTED) {
        for (uint32_t i = 0; i < m->count; i++)
            PUT("id %llu", (unsigned long long)wire_id(m, i));
    } else if (m->type == WIRE_REGISTER) {
        PUT("block_id %.*s", TEXT(m->reg.block_id));
        PUT("pool_id %.*s", TEXT(m->reg.pool_id));
        PUT("xse %.*s", TEXT(m->reg.xse_version));
        PUT("python %.*s", TEXT(m->reg.python_version));
        PUT("mpi %.*s", TEXT(m->reg.mpi));
        PUT("zmq %.*s", TEXT(m->reg.zmq));
    } else if (m->type == WIRE_START) {
        PUT("block_id %.*s", TEXT(m->start.block_id));
        PUT("pool_id %.*s", TEXT(m->start.pool_id));
    } else if (m->type == WIRE_REFUSE || m->type == WIRE_BYE || m->type == WIRE_LOG)
        PUT("text %.*s", TEXT(m->text));
    const uint8_t *at = m->type == WIRE_REGISTER ? m->reg.nodes : NULL;
    for (uint32_t i = 0; i < (m->type == WIRE_NODE ? 1 : m->type == WIRE_REGISTER ? m->count : 0); i++) {
        struct wire_node n = m->type == WIRE_NODE ? m->node.node : wire_next_node(&at);
        PUT("node rank=%u pid=%u n_workers=%u n_cores=%u memory=%llu host=%.*s", n.rank, n.pid, n.n_workers, n.n_cores,
            (unsigned long long)n.memory, TEXT(n.host));
    }
    if (m->type == WIRE_NODE)
        PUT("python %.*s", TEXT(m->node.python_version));
    return out;
}

static void check(const struct vector *v)
{
    struct wire_message m;
    /* In memory of exactly its size, so that a read past its end is seen by a sanitizer. */
    uint8_t *exact = malloc(v->n_head ? v->n_head : 1);
    if (v->n_head)
        memcpy(exact, v->head, v->n_head);
    enum wire_error error = wire_decode(exact, v->n_head, v->came, &m);
    if (*v->error)
        CHECK(strcmp(wire_error_name(error), v->error) == 0, "%s: %s, not %s", v->name, wire_error_name(error),
              v->error);
    else if (error)
        CHECK(!error, "%s: %s", v->name, wire_error_name(error));
    else {
        char *means = describe(&m);
        struct buf again = {0};
        CHECK(strcmp(means, v->means) == 0, "%s:\n%snot\n%s", v->name, means, v->means);
        write_again(&m, &again);
        CHECK(again.n == v->n_head && memcmp(again.p, exact, again.n) == 0, "%s: written anew it differs", v->name);
        buf_free(&again);
        free(means);
    }
    free(exact);
}

static void add_hex(struct vector *v, const char *hex)
{
    unsigned byte;
    for (; *hex; hex++) {
        if (*hex == ' ' || sscanf(hex, "%2x", &byte) != 1)
            continue;
        v->head = realloc(v->head, v->n_head + 1);
        v->head[v->n_head++] = (uint8_t)byte;
        hex++;
    }
}

static void end(struct vector *v)
{
    if (*v->name)
        check(v);
    free(v->head);
    free(v->means);
    *v = (struct vector){0};
}

static void read_file(const char *path)
{
    static char line[70000];
    char key[8] = "";
    struct vector v = {0};
    FILE *f = fopen(path, "r");
    CHECK(f, "cannot open %s", path);
    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        if (line[0] == '#' || !line[0])
            continue;
        if (line[0] != ' ')
            sscanf(line, "%7s", key);
        const char *value = strlen(line) > 8 ? line + 8 : "";
        if (strcmp(key, "name") == 0) {
            end(&v);
            snprintf(v.name, sizeof v.name, "%.120s: %.120s", path, value);
        } else if (strcmp(key, "head") == 0)
            add_hex(&v, value);
        else if (strcmp(key, "came") == 0)
            v.came = strtoull(value, NULL, 10);
        else if (strcmp(key, "error") == 0)
            snprintf(v.error, sizeof v.error, "%.31s", value);
        else if (strcmp(key, "means") == 0)
            put(&v.means, value);
    }
    end(&v);
    if (f)
        fclose(f);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        read_file(argv[i]);
    return check_end("vectors");
}
