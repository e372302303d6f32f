/* runner_echo.h: the runner that returns each task's arguments as they came: no Python, no processes. For tests, and to
 * measure the way without the work. */
#ifndef XSE_RUNNER_ECHO_H
#define XSE_RUNNER_ECHO_H

#include "base/loop.h"
#include "leader/runner.h"

struct runner *runner_echo_new(struct loop *loop, uint32_t n_workers, const char *python_version);

#endif
