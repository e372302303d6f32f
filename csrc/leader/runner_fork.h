/* runner_fork.h: the runner whose workers are processes, forked from a zygote that holds Python. */
#ifndef XSE_RUNNER_FORK_H
#define XSE_RUNNER_FORK_H

#include "base/loop.h"
#include "leader/runner.h"
#include "worker/zygote.h"

/* Takes the zygote. Events come from the loop; `stands` or `failed` first. pong_timeout_us: a zygote that does not
 * answer for so long is given up; 0: never. */
struct runner *runner_fork_new(struct loop *loop, struct zygote *zygote, uint32_t n_workers);
/* From now on ask the zygote every period_us whether it lives; silent for threshold_us: failed. */
void runner_fork_watch_zygote(struct runner *runner, int64_t period_us, int64_t threshold_us);

#endif
