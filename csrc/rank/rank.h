/* rank.h: one rank of a block, its parts put together: the leader and its runner, on rank 0 also the manager, the connection
 * to the interchange and the block's log; and how messages pass between them. */
#ifndef XSE_RANK_H
#define XSE_RANK_H

#include "links/mpx.h"
#include "options.h"
#include "rank/process.h"
#include "worker/zygote.h"

struct rank_settings {
    const struct options *options;
    const struct process_cores *cores; /* as they were before MPI_Init */
    const char *host;
    uint64_t random; /* names the pool */
};

/* Takes mpx and zygote (NULL: the options name another runner). The settings' objects must outlive the rank. */
struct rank_process *rank_new(const struct rank_settings *settings, struct loop *loop, struct mpx *mpx,
                              struct zygote *zygote);
/* ending_fd: readable when the process is told to end. Runs the block's part of this rank to its end and frees all. Returns the exit code; where another rank is dead or hangs it
 * ends the process instead, for MPI would wait for that one. */
int rank_run(struct rank_process *rank, int ending_fd);

#endif
