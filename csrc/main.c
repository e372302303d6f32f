/* xse-pool: one rank of a block. Its parts are put together here and in rank/; what each does, its header says. */
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/title.h"
#include "links/connect.h"
#include "links/mpx_load.h"
#include "links/zlink.h"
#include "options.h"
#include "rank/process.h"
#include "rank/rank.h"
#include "worker/zygote.h"

static int main_fail(const struct err *err)
{
    fprintf(stderr, "xse-pool: %s\n", err->text);
    return 1;
}

static void main_print_versions(void)
{
    printf("xse-pool %s\nmpi %s\nmpicc %s\nzmq %s\n", XSE_VERSION, mpx_library(), mpx_mpicc(), zlink_library(""));
}

/* The command line, after what the connect file has for it. Both outlive the options, whose texts lie in them. */
static int main_read_options(struct options *options, struct connect_file *file, int argc, char **argv, struct err *err)
{
    if (options_parse(options, argc, argv, err))
        return -1;
    if (options->help || options->version)
        return 0;
    if (connect_read(options->connect, false, file, err))
        return -1;
    int n = 1 + file->n_options;
    char **all = mem_array((size_t)(n + argc), sizeof *all);
    all[0] = argv[0];
    memcpy(all + 1, file->options, (size_t)(n - 1) * sizeof *all);
    memcpy(all + n, argv + 1, (size_t)(argc - 1) * sizeof *all);
    int bad = options_parse(options, n + argc - 1, all, err);
    mem_free(all);
    return bad;
}

/* NULL, and no error: the options name a runner without Python. */
static struct zygote *main_start_zygote(const struct options *options, struct err *err)
{
    struct zygote_settings settings = {.python = *options->python ? options->python : XSE_PYTHON,
                                       .python_flags = options->python_flags,
                                       .preload = options->preload,
                                       .path = options->path,
                                       .affinity = options->affinity,
                                       .accelerators = options->accelerators,
                                       .environment = options->environment,
                                       .launcher_variables = options->launcher_variables,
                                       .memory_limit = options->memory_limit,
                                       .working_dir = options->working_dir};
    *err->text = 0;
    return strcmp(options->runner, "fork") == 0 ? zygote_start(&settings, err) : NULL;
}

int main(int argc, char **argv)
{
    static struct options options;
    static struct connect_file file;
    static char host[256];
    struct err err;
    struct loop *loop;
    struct mpx *mpx;
    struct rank_settings settings = {.options = &options, .host = host};
    title_init(argc, argv);
    mem_keep();
    if (main_read_options(&options, &file, argc, argv, &err))
        return main_fail(&err);
    if (options.help) {
        options_help();
        return 0;
    }
    if (options.version) {
        if (mpx_load(&err))
            return main_fail(&err);
        main_print_versions();
        return 0;
    }
    if (gethostname(host, sizeof host - 1) ||
        getrandom(&settings.random, sizeof settings.random, 0) != sizeof settings.random) {
        err_set_errno(&err, "cannot learn the host's name");
        return main_fail(&err);
    }
    /* Before MPI_Init: the zygote, so that nothing of MPI is in it, and the cores. */
    struct zygote *zygote = main_start_zygote(&options, &err);
    if (!zygote && *err.text)
        return main_fail(&err);
    struct process_cores cores = process_cores_read();
    settings.cores = &cores;
    process_raise_descriptors();
    process_catch_signals();
    if (!(loop = loop_new(&err)) || mpx_load(&err) || !(mpx = mpx_open(&argc, &argv, options.ranks, loop, &err)))
        return main_fail(&err);
    struct rank_process *rank = rank_new(&settings, loop, mpx, zygote);
    int ending_fd = process_ending_fd(&err);
    if (ending_fd < 0)
        return main_fail(&err);
    int exit_code = rank_run(rank, ending_fd);
    process_cores_free(&cores);
    loop_free(loop);
    return exit_code;
}
