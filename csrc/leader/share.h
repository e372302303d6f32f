/* share.h: how many workers a rank has: what its share of the node allows. Pure. */
#ifndef XSE_SHARE_H
#define XSE_SHARE_H

#include "options.h"

struct share {
    uint32_t n_cores; /* that this rank may run on */
    uint32_t n_sharing_cores; /* ranks that may run on the same, this one included */
    uint32_t n_on_node, index_on_node; /* ranks of this node; this one's place among them */
    double memory_gb; /* of the node, 2^30 bytes */
};

/* What a provider says of the node (PARSL_CORES, PARSL_MEMORY_GB) is taken for true. NULL or nonsense: not said. */
void share_take_provider(struct share *share, const char *cores, const char *memory_gb);
uint32_t share_workers(const struct share *share, const struct options *options); /* 0: not one fits */
void share_explain(const struct share *share, const struct options *options, struct err *err); /* why not one fits */

#endif
