#include "leader/share.h"

#include <stdlib.h>

void share_take_provider(struct share *share, const char *cores, const char *memory_gb)
{
    char *end;
    long n = cores ? strtol(cores, &end, 10) : 0;
    if (n > 0 && !*end && n <= UINT16_MAX) {
        share->n_cores = (uint32_t)n;
        share->n_sharing_cores = share->n_on_node;
    }
    double gb = memory_gb ? strtod(memory_gb, &end) : 0;
    if (gb > 0 && !*end)
        share->memory_gb = gb;
}

/* This rank's part of n things of the node: the first ranks have the odd ones. */
static uint32_t share_part(const struct share *share, uint32_t n)
{
    return n / share->n_on_node + (share->index_on_node < n % share->n_on_node);
}

static uint32_t share_n_names(const char *list)
{
    uint32_t n = *list != 0;
    for (; *list; list++)
        n += *list == ';';
    return n;
}

static uint32_t share_fit(double available, double each)
{
    double n = available / each + 1e-9; /* 0.3 / 0.1 is three */
    return n > UINT16_MAX ? UINT16_MAX : (uint32_t)n;
}

uint32_t share_workers(const struct share *share, const struct options *options)
{
    if (options->workers_per_rank)
        return (uint32_t)options->workers_per_rank;
    uint32_t n = UINT16_MAX, limit;
    if (options->cores_per_worker > 0) {
        n = share_fit((double)share->n_cores / share->n_sharing_cores, options->cores_per_worker);
        /* More ranks than cores: each has a worker all the same, for the ranks themselves sleep. */
        if (!n && options->cores_per_worker <= 1)
            n = 1;
    }
    if (options->mem_per_worker > 0) {
        limit = share_fit(share->memory_gb / share->n_on_node, options->mem_per_worker);
        n = limit < n ? limit : n;
    }
    if (options->max_workers_per_node) {
        limit = share_part(share, (uint32_t)options->max_workers_per_node);
        n = limit < n ? limit : n;
    }
    if (*options->accelerators) {
        limit = share_part(share, share_n_names(options->accelerators));
        n = limit < n ? limit : n;
    }
    return n;
}

void share_explain(const struct share *share, const struct options *options, struct err *err)
{
    err_set(err,
            "no worker fits on this node: it has %u cores and %.1f GB for %u rank(s) of this block; a worker needs %g "
            "cores (cores_per_worker) and %g GB (mem_per_worker), and the node may have %lld workers "
            "(max_workers_per_node, 0: any) and has %u accelerators listed (0: not counted)",
            share->n_cores, share->memory_gb, share->n_on_node, options->cores_per_worker, options->mem_per_worker,
            (long long)options->max_workers_per_node, share_n_names(options->accelerators));
}
