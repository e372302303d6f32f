/* process.h: what a rank asks of its kernel for itself: its cores, its descriptors, and the signals that end it. */
#ifndef XSE_PROCESS_H
#define XSE_PROCESS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* The cores that this process may run on, as the kernel's mask. */
struct process_cores {
    void *mask; /* for as many CPUs as the kernel knows, which may be more than 1,024 */
    size_t n_bytes; /* the same in each process of a node */
    uint32_t n;
};

/* Before MPI_Init: some MPIs (MVAPICH, Intel MPI) bind the process to a core in there, and workers are not bound by that. */
struct process_cores process_cores_read(void);
void process_cores_free(struct process_cores *cores);

/* Raise the soft limit of descriptors as far as the kernel lets it: a rank has some for each of its workers. After the zygote
 * has been forked: tasks keep the limit that the user has set, since programs that use select() break above 1,024. */
void process_raise_descriptors(void);

/* SIGTERM and SIGINT. Until process_ending_fd is called they end the process at once, since MPI_Init may hang; a
 * descriptor alone would not be read there. MPI's threads may get the signal, so none is blocked. */
void process_catch_signals(void);
/* From now on a signal makes the descriptor readable. -1: err says why. */
int process_ending_fd(struct err *err);

#endif
