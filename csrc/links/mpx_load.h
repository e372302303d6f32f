/* mpx_load.h: which MPI library this process uses, and the module of mpx.h's functions that was compiled for its ABI. */
#ifndef XSE_MPX_LOAD_H
#define XSE_MPX_LOAD_H

#include "base/log.h"
#include "links/mpx.h"

/* The functions of mpx.h, which a module exports as a table: FUNCTION(returns, name, parameters, arguments). */
#define MPX_FUNCTIONS(FUNCTION)                                                                                        \
    FUNCTION(struct mpx *, open, (int *argc, char ***argv, int64_t asked_ranks, struct loop *loop, struct err *err),   \
             (argc, argv, asked_ranks, loop, err))                                                                     \
    FUNCTION(void, listen, (struct mpx * mpx, const struct mpx_events *events), (mpx, events))                         \
    FUNCTION(void, send, (struct mpx * mpx, uint32_t to, struct msg *msg), (mpx, to, msg))                             \
    FUNCTION(uint64_t, waiting, (const struct mpx *mpx), (mpx))                                                        \
    FUNCTION(void, hold_large, (struct mpx * mpx, bool held), (mpx, held))                                             \
    FUNCTION(void, close, (struct mpx * mpx, unsigned timeout_s, int exit_code), (mpx, timeout_s, exit_code))          \
    FUNCTION(uint32_t, rank, (const struct mpx *mpx), (mpx))                                                           \
    FUNCTION(uint32_t, n_ranks, (const struct mpx *mpx), (mpx))                                                        \
    FUNCTION(uint32_t, sum_before, (struct mpx * mpx, uint32_t mine), (mpx, mine))                                     \
    FUNCTION(void, node_sums, (struct mpx * mpx, uint32_t mine, uint32_t *all, uint32_t *before),                      \
             (mpx, mine, all, before))                                                                                 \
    FUNCTION(uint32_t, node_equals, (struct mpx * mpx, const void *mine, size_t n), (mpx, mine, n))                    \
    FUNCTION(const char *, library, (void), ())

struct mpx_functions {
    /* First of all: what the executable has. mpicc: mpx_mpicc()'s, which may change until the first call. */
    void (*set_up)(void (*log)(enum log_level level, const char *format, ...), const char *mpicc);
#define FUNCTION(returns, name, parameters, arguments) returns(*name) parameters;
    MPX_FUNCTIONS(FUNCTION)
#undef FUNCTION
};

/* Before any function of mpx.h. The module that was built for a site, which finds its library itself; in a wheel, the module
 * for the ABI of the library that is found:
 *
 *  1. the file that $XSE_MPI_LIBRARY names;
 *  2. in lib of the environment that xse is installed in (pip install mpich);
 *  3. in lib beside the bin of an mpiexec on PATH;
 *  4. where the system's loader looks.
 *
 * In a process that an MPI's launcher has started, only libraries that understand that launcher count. 0, or -1 and err. */
int mpx_load(struct err *err);
const char *mpx_mpicc(void); /* path of the MPI's compiler wrapper, where it would lie; mpiexec lies beside it */

#endif
