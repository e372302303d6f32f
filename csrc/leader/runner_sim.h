/* runner_sim.h: the runner whose workers are simulated: a clock, no processes, no Python. A rank has as many as one likes,
 * so that the processes above them can be tried at a size that no machine at hand has.
 *
 * The first 8 bytes of a task's arguments (u64, little endian) say how many microseconds it takes; one with fewer takes
 * none. Its result is its arguments as they came. A worker's tasks follow each other by its own clock: that this process
 * came late to tell of one's end does not delay the next. */
#ifndef XSE_RUNNER_SIM_H
#define XSE_RUNNER_SIM_H

#include "base/loop.h"
#include "leader/runner.h"

struct runner *runner_sim_new(struct loop *loop, uint32_t n_workers, const char *python_version);

#endif
