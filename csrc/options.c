#include "options.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { TEXT, NUMBER, REAL, FLAG };

static const struct option {
    const char *name, *value;
    enum kind kind;
    size_t at; /* in struct options */
    const char *text; /* default of a TEXT; choices are checked where they are used */
    int64_t number, least, most; /* of a REAL, too */
    const char *help;
} table[] = {
#define T(name, value, field, text, help) {name, value, TEXT, offsetof(struct options, field), text, 0, 0, 0, help}
#define N(name, value, field, number, least, most, help)                                                               \
    {name, value, NUMBER, offsetof(struct options, field), NULL, number, least, most, help}
#define R(name, value, field, number, least, most, help)                                                               \
    {name, value, REAL, offsetof(struct options, field), NULL, number, least, most, help}
#define F(name, field, help) {name, "", FLAG, offsetof(struct options, field), NULL, 0, 0, 0, help}
    T("--connect", "FILE", connect, "",
      "the connect file that the executor wrote: where the interchange is, and the keys"),
    T("--block", "ID", block, "", "this block's name [the connect file's]"),
    N("--workers-per-rank", "N", workers_per_rank, 0, 0, 65536,
      "workers of each rank [0: what fits its share of the node, by the options that follow]"),
    R("--cores-per-worker", "N", cores_per_worker, 1, 0, 65536, "cores that a worker needs; may be a fraction [1]"),
    R("--mem-per-worker", "GB", mem_per_worker, 0, 0, 1 << 30, "memory that a worker needs [0: not counted]"),
    N("--max-workers-per-node", "N", max_workers_per_node, 0, 0, 65536, "at most so many on a node [0: no limit]"),
    T("--accelerators", "A;B", accelerators, "", "accelerators of a node, one for each worker"),
    T("--affinity", "HOW", affinity, "none",
      "cores of a worker: none, block, block-reverse, alternating, list:0-1:2-3 [none]"),
    T("--environment", "FILE", environment, "",
      "the environment before the launcher ran, as env -0 writes it: what workers get back"),
    T("--launcher-variables", "A,B", launcher_variables, "",
      "beginnings of the names of variables that launchers set: workers get these as they are in that file"),
    T("--runner", "NAME", runner, "fork",
      "fork: Python in worker processes; echo: no Python, arguments come back; sim: after a time they name [fork]"),
    N("--ranks", "N", ranks, 0, 0, INT32_MAX,
      "ranks that were asked for: one that finds itself alone ends with an error [0: not known]"),
    N("--prefetch", "N", prefetch, -1, -1, 1000000, "tasks that a rank may hold beyond its workers [-1: as measured]"),
    T("--python", "PATH", python, "", "the Python whose environment tasks run in [the one xse-pool was built with]"),
    T("--python-flags", "FLAGS", python_flags, "",
      "flags of that Python, such as -O or -W error, with spaces between them; a space within one is %20"),
    T("--libzmq", "FILE", libzmq, "", "the libzmq to reach another host's interchange with [pyzmq's]"),
    T("--preload", "A,B", preload, "", "modules to import once in each rank, before its workers are forked"),
    T("--path", "A:B", path, "", "what comes first in sys.path of the workers; a : within an entry is %3A, a % is %25"),
    T("--working-dir", "DIR", working_dir, "", "where tasks run; made if missing [here]"),
    T("--log-dir", "DIR", log_dir, "", "where the block's log goes [stderr, warnings only]"),
    N("--probe-timeout", "S", probe_timeout_s, 30, 1, 86400, "how long to try to reach the interchange [30]"),
    N("--start-timeout", "S", start_timeout_s, 0, 0, 86400,
      "how long the ranks may take to start [0: 120, and a tenth of a second for each rank]"),
    N("--min-ranks", "N", min_ranks, 0, 0, 1 << 30, "end when fewer ranks than this have not failed [0: half of them]"),
    N("--max-tasks-per-worker", "N", max_tasks_per_worker, 0, 0, INT32_MAX,
      "replace a worker after so many tasks [0: never]"),
    N("--memory-limit", "BYTES", memory_limit, 0, 0, INT64_MAX,
      "memory that a worker may have; beyond, its allocations fail [0: no limit]"),
    N("--drain-after", "S", drain_after_s, 0, 0, INT32_MAX, "take no more tasks after so long, and end [0: never]"),
    N("--grace", "MS", grace_ms, 1000, 0, 3600000, "how long running tasks may go on after SIGTERM [1000]"),
    F("--debug", debug, "log every task"),
    F("--version", version, "print the versions of xse-pool, MPI and libzmq, and end"),
    F("--help", help, "print this, and end"),
#undef T
#undef N
#undef R
#undef F
};

#define N_OPTIONS (sizeof table / sizeof table[0])

static void *options_field(struct options *options, const struct option *o)
{
    return (char *)options + o->at;
}

static int options_set(struct options *options, const struct option *o, const char *value, struct err *err)
{
    char *end;
    if (o->kind == FLAG) {
        if (value)
            return err_set(err, "%s takes no value", o->name);
        *(bool *)options_field(options, o) = true;
        return 0;
    }
    if (!value)
        return err_set(err, "%s needs a value: %s %s", o->name, o->name, o->value);
    if (o->kind == TEXT) {
        *(const char **)options_field(options, o) = value;
        return 0;
    }
    errno = 0;
    if (o->kind == REAL) {
        double real = strtod(value, &end);
        if (errno || end == value || *end || !(real >= (double)o->least && real <= (double)o->most))
            return err_set(err, "%s takes a number from %lld to %lld, not \"%s\"", o->name, (long long)o->least,
                           (long long)o->most, value);
        *(double *)options_field(options, o) = real;
        return 0;
    }
    long long number = strtoll(value, &end, 10);
    if (errno || end == value || *end || number < o->least || number > o->most)
        return err_set(err, "%s takes a whole number from %lld to %lld, not \"%s\"", o->name, (long long)o->least,
                       (long long)o->most, value);
    *(int64_t *)options_field(options, o) = number;
    return 0;
}

static const struct option *options_find(const char *arg, const char **value)
{
    for (size_t i = 0; i < N_OPTIONS; i++) {
        size_t n = strlen(table[i].name);
        if (strncmp(arg, table[i].name, n) != 0 || (arg[n] && arg[n] != '='))
            continue;
        *value = arg[n] ? arg + n + 1 : NULL;
        return &table[i];
    }
    return NULL;
}

int options_parse(struct options *options, int argc, char **argv, struct err *err)
{
    for (size_t i = 0; i < N_OPTIONS; i++) {
        if (table[i].kind == TEXT)
            *(const char **)options_field(options, &table[i]) = table[i].text;
        else if (table[i].kind == NUMBER)
            *(int64_t *)options_field(options, &table[i]) = table[i].number;
        else if (table[i].kind == REAL)
            *(double *)options_field(options, &table[i]) = (double)table[i].number;
        else
            *(bool *)options_field(options, &table[i]) = false;
    }
    for (int i = 1; i < argc; i++) {
        const char *value;
        const struct option *o = options_find(argv[i], &value);
        if (!o)
            return err_set(err, "\"%s\" is no option of xse-pool; --help lists them", argv[i]);
        if (!value && o->kind != FLAG && i + 1 < argc)
            value = argv[++i];
        if (options_set(options, o, value, err))
            return -1;
    }
    if (options->help || options->version)
        return 0;
    if (!*options->connect)
        return err_set(err, "--connect FILE is missing: the executor writes that file and logs the command to type");
    if (strcmp(options->runner, "fork") != 0 && strcmp(options->runner, "echo") != 0 &&
        strcmp(options->runner, "sim") != 0)
        return err_set(err, "--runner is fork, echo or sim, not \"%s\"", options->runner);
    return 0;
}

void options_help(void)
{
    printf(
        "usage: mpiexec -n RANKS xse-pool --connect FILE [OPTION ...]\n\n"
        "One block of the Extreme-Scale Executor: connects to the interchange and runs its tasks. One rank a node is\n"
        "best: each rank has as many workers as it is given cores. The connect file may hold options, too; those\n"
        "given here win.\n\n");
    for (size_t i = 0; i < N_OPTIONS; i++) {
        char left[40];
        snprintf(left, sizeof left, "%s %s", table[i].name, table[i].value);
        printf("  %-24s %s\n", left, table[i].help);
    }
}
