/* options.h: the command line of xse-pool. One table makes the parser and --help; xse/launch/options.py is held to it. */
#ifndef XSE_OPTIONS_H
#define XSE_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct options {
    const char *connect; /* path of the connect file */
    const char *block; /* "": the connect file says */
    const char *runner; /* "fork", "echo" or "sim" */
    const char *python; /* "": the interpreter it was built with */
    const char *libzmq; /* "": libzmq.h says where it is looked for */
    const char *python_flags, *preload, *path, *working_dir;
    const char *log_dir; /* "": stderr */
    const char *environment, *launcher_variables; /* a file; beginnings of names by ',' */
    int64_t ranks;
    const char *accelerators, *affinity; /* names by ';'; none, block, block-reverse, alternating, list:... */
    int64_t workers_per_rank; /* 0: by what the node has */
    int64_t max_workers_per_node; /* 0: as many as fit */
    double cores_per_worker, mem_per_worker; /* GB (2^30 bytes); 0: not counted */
    int64_t prefetch; /* -1: by measurement */
    int64_t max_tasks_per_worker; /* 0: no limit */
    int64_t memory_limit; /* bytes; 0: none */
    int64_t probe_timeout_s, drain_after_s, grace_ms;
    int64_t start_timeout_s; /* 0: by the number of ranks */
    int64_t min_ranks; /* 0: half of them */
    bool debug, help, version;
};

/* Texts point into argv. 0, or -1 and err. */
int options_parse(struct options *options, int argc, char **argv, struct err *err);
void options_help(void); /* to stdout */

#endif
