/* zygote.h: the process that holds Python and forks the workers of a rank. Only this file's .c forks.
 *
 * It is made before MPI_Init, so that nothing of MPI is in it, and starts Python while the rank starts MPI. Workers are
 * its children; it tells of each death, adopts what they leave behind, and ends all of it when it ends itself or when
 * its rank is gone. */
#ifndef XSE_ZYGOTE_H
#define XSE_ZYGOTE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct zygote;

struct zygote_settings {
    const char *python; /* the user's interpreter: sys.executable */
    const char *python_flags; /* of the command line of that Python, by spaces; %XX is a byte; "": none */
    const char *preload; /* modules to import before forking, by commas; "": none */
    const char *path; /* to add to sys.path, by colons; "": nothing */
    const char *working_dir; /* where tasks run; "": here */
    const char *affinity, *accelerators; /* as the options have them */
    const char *environment, *launcher_variables; /* the same */
    int64_t memory_limit; /* bytes that a worker may have; 0: no limit */
};

struct zygote_worker { /* what a worker receives when it is forked */
    uint32_t rank, worker, node_index, n_in_node;
    uint32_t core_index, n_on_cores; /* among the workers that share its cores */
    char block_id[256], pool_id[64];
};

struct zygote_fds { /* a worker's descriptors; the zygote gets copies */
    int socket, page, out, err;
};

enum zygote_event_kind { ZYGOTE_STANDS = 1, ZYGOTE_FAILED, ZYGOTE_FORKED, ZYGOTE_NOT_FORKED, ZYGOTE_GONE, ZYGOTE_PONG };

struct zygote_event {
    enum zygote_event_kind kind;
    uint32_t worker; /* FORKED, NOT_FORKED, GONE */
    pid_t pid; /* FORKED, GONE */
    int status; /* GONE: as waitpid tells it */
    char text[4096]; /* STANDS: Python's version. FAILED, NOT_FORKED: why */
};

/* Nothing here blocks but zygote_end: what the zygote does not take at once is kept, and leaves with zygote_next. */
struct zygote *zygote_start(const struct zygote_settings *settings, struct err *err);
/* After zygote_next has returned -1: err gets what happened and what to do. */
void zygote_explain_end(const struct zygote *zygote, struct err *err);
int zygote_fd(const struct zygote *zygote); /* readable: an event, or its end */
int zygote_next(struct zygote *zygote, struct zygote_event *event); /* 1: an event; 0: none now; -1: it is dead */
bool zygote_is_writing(const struct zygote *zygote); /* call zygote_next when its descriptor is writable, too */
/* FORKED or NOT_FORKED will follow. The descriptors stay the caller's. */
void zygote_fork_worker(struct zygote *zygote, const struct zygote_worker *worker, const struct zygote_fds *fds);
void zygote_kill(struct zygote *zygote, uint32_t worker); /* with its process group */
void zygote_ping(struct zygote *zygote); /* PONG says that it is not stopped */
/* End it and all workers: those whose socket is closed may take grace_ms. Blocks until they are gone, then frees. */
void zygote_end(struct zygote *zygote, int grace_ms);

#endif
