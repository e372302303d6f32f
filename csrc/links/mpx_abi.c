/* mpx_abi.c: all that is compiled for one MPI, as a module that mpx_load.c loads. MPI has no ABI that all libraries share:
 * a build for a site has one module, for that site's MPI; a wheel has one for each ABI. The MPI's own compiler compiles this
 * file, whatever flags it needs. What a module uses of base/ and wire/ is in it, and hidden, as all but its table is: names that
 * are ours alone must not get between an MPI and its own libraries. */
#include "links/bell.c" /* NOLINT: one translation unit, so that one call of the compiler makes the module */
#include "links/mpx.c"
#include "links/mpx_recv.c"
#include "links/mpx_requests.c"
#include "links/mpx_ring.c"
#include "links/mpx_send.c"

#include "links/mpx_load.h"

static void (*abi_log_line)(enum log_level level, const char *format, ...);
static const char *abi_mpicc;

static void abi_log(void *arg, enum log_level level, const char *line)
{
    (void)arg;
    abi_log_line(level, "%s", line);
}

static void abi_set_up(void (*log)(enum log_level level, const char *format, ...), const char *mpicc)
{
    abi_log_line = log;
    abi_mpicc = mpicc;
    log_to(abi_log, NULL, LOG_DEBUG);
}

const char *mpx_mpicc(void)
{
    return abi_mpicc;
}

#define FUNCTION(returns, name, parameters, arguments) .name = mpx_##name,
__attribute__((visibility("default"))) const struct mpx_functions mpx_functions = {abi_set_up, MPX_FUNCTIONS(FUNCTION)};
#undef FUNCTION
