/* rank_log.h: where a rank's log lines go: rank 0 writes the block's file, the others send theirs to it. */
#ifndef XSE_RANK_LOG_H
#define XSE_RANK_LOG_H

#include "links/mpx.h"
#include "options.h"

struct rank_log; /* of rank 0; the others have none to close */

/* The file is LOG_DIR/block-BLOCK/POOL/manager.log. NULL: there is none, which is no reason not to work. */
struct rank_log *rank_log_to_file(const struct options *options, const char *block_id, const char *pool_id);
void rank_log_to_manager(const struct options *options, struct mpx *mpx);
void rank_log_close(struct rank_log *log); /* NULL is fine. Later lines are not written */

#endif
