/* The C codec against tests/vectors: every head means what the vector says, or is refused as it says; and what was read
 * can be written again, byte for byte. usage: test_vectors FILE... */
#include <stdlib.h>

#include "check.h"
#include "describe.h"
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

static char *description(const struct wire_message *m)
{
    char *text;
    size_t n;
    FILE *to = open_memstream(&text, &n);
    describe(to, m);
    fclose(to);
    return text;
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
        char *means = description(&m);
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
