#include "links/connect.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define LONGEST_LINE                                                                                                   \
    (120u << 10) /* sys.path of a script, with what Spack or modules put there; Linux lets an argument have 128 KiB */

static int connect_take_key(char *to, const char *value, const char *name, const char *path, bool with_keys,
                            struct err *err)
{
    if (!with_keys)
        return 0;
    if (strlen(value) != CONNECT_KEY - 1)
        return err_set(err, "%s: %s is not a CURVE key of 40 characters", path, name);
    memcpy(to, value, CONNECT_KEY);
    return 0;
}

static void connect_take_option(struct connect_file *file, char *option)
{
    char *value = strchr(option, ' ');
    file->options = mem_grow(file->options, (size_t)file->n_options + 2, sizeof *file->options);
    if (value)
        *value = 0;
    file->options[file->n_options++] = mem_text(option);
    if (value)
        file->options[file->n_options++] = mem_text(value + 1);
}

static int connect_take_line(struct connect_file *file, const char *name, char *value, const char *path, bool with_keys,
                             struct err *err)
{
    if (strcmp(name, "run") == 0 && !file->run)
        file->run = mem_text(value);
    else if (strcmp(name, "block") == 0 && !file->block)
        file->block = mem_text(value);
    else if (strcmp(name, "endpoint") == 0) {
        file->endpoints = mem_grow(file->endpoints, (size_t)file->n_endpoints + 1, sizeof *file->endpoints);
        file->endpoints[file->n_endpoints++] = mem_text(value);
    } else if (strcmp(name, "option") == 0)
        connect_take_option(file, value);
    else if (strcmp(name, "server_key") == 0)
        return connect_take_key(file->server_key, value, name, path, with_keys, err);
    else if (strcmp(name, "public_key") == 0)
        return connect_take_key(file->public_key, value, name, path, with_keys, err);
    else if (strcmp(name, "secret_key") == 0)
        return connect_take_key(file->secret_key, value, name, path, with_keys, err);
    else
        return err_set(err, "%s: line \"%s\" is not understood", path, name);
    return 0;
}

int connect_read(const char *path, bool with_keys, struct connect_file *file, struct err *err)
{
    char line[LONGEST_LINE], buffer[4096]; /* stdio's own would stay in the heap, which workers inherit */
    int bad = 0, n = 0;
    *file = (struct connect_file){0};
    FILE *f = fopen(path, "re");
    if (!f)
        return err_set_errno(
            err,
            "cannot read the connect file %s (the executor writes it when it starts; every host of the "
            "block must see it)",
            path);
    setvbuf(f, buffer, _IOFBF, sizeof buffer);
    while (!bad && fgets(line, sizeof line, f)) {
        if (!strchr(line, '\n')) {
            bad = err_set(err, "%s: line %d is cut off, or has more than %u bytes", path, n + 1, LONGEST_LINE - 2);
            break;
        }
        line[strcspn(line, "\n")] = 0;
        char *value = strchr(line, ' ');
        if (!value) {
            bad = err_set(err, "%s: line %d has no value", path, n + 1);
            break;
        }
        *value++ = 0;
        if (n++ == 0 && (strcmp(line, "xse-connect") != 0 || strcmp(value, "1") != 0))
            bad = err_set(err, "%s is not a connect file of this version of xse", path);
        else if (n > 1)
            bad = connect_take_line(file, line, value, path, with_keys, err);
    }
    explicit_bzero(line, sizeof line);
    fclose(f);
    explicit_bzero(buffer, sizeof buffer);
    if (!bad && !file->n_endpoints)
        bad = err_set(err, "%s names no endpoint", path);
    if (!bad && with_keys && !*file->server_key != !*file->secret_key)
        bad = err_set(err, "%s has one key but not the others", path);
    if (bad)
        connect_clear(file);
    return bad;
}

void connect_clear(struct connect_file *file)
{
    for (int i = 0; i < file->n_endpoints; i++)
        mem_free(file->endpoints[i]);
    for (int i = 0; i < file->n_options; i++)
        mem_free(file->options[i]);
    mem_free(file->endpoints);
    mem_free(file->options);
    mem_free(file->run);
    mem_free(file->block);
    explicit_bzero(file, sizeof *file);
}
