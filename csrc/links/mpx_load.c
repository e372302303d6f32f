#include "links/mpx_load.h"

#include <assert.h>
#include <dlfcn.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FLAGS                                                                                                          \
    (RTLD_NOW | RTLD_GLOBAL) /* global: a module, and what some MPIs load themselves, look for symbols there */

static const struct mpx_functions *functions;
static char mpicc[PATH_MAX] = XSE_MPICC;

#define FUNCTION(returns, name, parameters, arguments)                                                                 \
    returns mpx_##name parameters                                                                                      \
    {                                                                                                                  \
        assert(functions);                                                                                             \
        return functions->name arguments;                                                                              \
    }
MPX_FUNCTIONS(FUNCTION)
#undef FUNCTION

const char *mpx_mpicc(void)
{
    return mpicc;
}

enum family { ANY, MPICH, OPENMPI };

static const struct abi {
    enum family family; /* whose launchers start it */
    const char *module, *library;
} abis[] = {
    {MPICH, "mpich", "libmpi.so.12"}, /* MPICH 3 to 5, Intel MPI, MVAPICH, Cray */
    {MPICH, "mpich", "libmpich.so.12"}, /* the same, by Debian's name */
    {OPENMPI, "openmpi", "libmpi.so.40"}, /* Open MPI 4 and 5 */
    {MPICH, "abi", "libmpi_abi.so.1"}, /* the MPI standard's own */
};

#define N_ABIS (sizeof abis / sizeof abis[0])

/* ---- paths ------------------------------------------------------------------------------------------------------ */

/* The directory of this executable. */
static void load_own_directory(char *path)
{
    ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 1);
    path[n > 0 ? n : 0] = 0;
    char *slash = strrchr(path, '/');
    if (slash)
        *slash = 0;
}

static int load_module(const char *name, struct err *err)
{
    char directory[PATH_MAX], path[PATH_MAX + 64];
    load_own_directory(directory);
    snprintf(path, sizeof path, "%s/mpx-%s.so", directory, name);
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    functions = module ? dlsym(module, "mpx_functions") : NULL;
    if (!functions)
        return err_set(err, "cannot load the part for MPI: %s", dlerror());
    functions->set_up(log_line, mpicc);
    return 0;
}

static bool load_has_module(const char *name)
{
    char directory[PATH_MAX], path[PATH_MAX + 64];
    load_own_directory(directory);
    snprintf(path, sizeof path, "%s/mpx-%s.so", directory, name);
    return access(path, R_OK) == 0;
}

/* ---- a wheel's choice ------------------------------------------------------------------------------------------- */

/* Who has started this process, as far as the environment tells. */
static enum family load_launcher(void)
{
    if (getenv("OMPI_COMM_WORLD_SIZE") || (getenv("PMIX_RANK") && !getenv("PMI_SIZE")))
        return OPENMPI;
    return getenv("PMI_SIZE") || getenv("PMI_RANK") || getenv("PALS_SIZE") ? MPICH : ANY;
}

static enum family load_family_of(const char *mpiexec)
{
    char real[PATH_MAX];
    if (!realpath(mpiexec, real))
        return ANY;
    const char *name = basename(real);
    if (strstr(name, "orterun") || strstr(name, "prte") || strstr(name, "openmpi"))
        return OPENMPI;
    return strstr(name, "hydra") || strstr(name, "mpich") ? MPICH : ANY;
}

/* directory: "" for where the system's loader looks. True: the library is loaded, and its module. */
static bool load_from(const char *directory, enum family family, struct err *err)
{
    for (size_t i = 0; i < N_ABIS; i++) {
        char path[PATH_MAX + 64], real[PATH_MAX];
        if ((family && abis[i].family != family) || !load_has_module(abis[i].module))
            continue;
        snprintf(path, sizeof path, "%s%s%s", directory, *directory ? "/" : "", abis[i].library);
        if (*directory && access(path, R_OK))
            continue;
        if (!dlopen(path, FLAGS)) {
            err_set(err, "cannot load %s: %s", path, dlerror());
            continue;
        }
        if (load_module(abis[i].module, err))
            continue;
        if (*directory && realpath(directory, real) && strlen(real) + sizeof "/../bin/mpicc" < sizeof mpicc)
            strcat(strcat(strcpy(mpicc, dirname(real)), "/bin/"), "mpicc");
        return true;
    }
    return false;
}

/* Each mpiexec on PATH: in the lib beside its bin; else where the system's loader looks. */
static bool load_of_path(enum family family, struct err *err)
{
    static const char *const libraries[] = {"lib", "lib64", "lib/release"};
    char *path = strdup(getenv("PATH") ? getenv("PATH") : ""), *rest = path, *bin;
    bool found = false;
    while (!found && (bin = strsep(&rest, ":"))) {
        char mpiexec[PATH_MAX], directory[PATH_MAX];
        snprintf(mpiexec, sizeof mpiexec, "%s/mpiexec", bin);
        if (*bin != '/' || access(mpiexec, X_OK))
            continue;
        enum family its = load_family_of(mpiexec);
        if (family && its && its != family)
            continue;
        for (size_t i = 0; i < sizeof libraries / sizeof libraries[0] && !found; i++) {
            snprintf(directory, sizeof directory, "%s/../%s", bin, libraries[i]);
            found = load_from(directory, family, err);
        }
        found = found || (its && load_from("", its, err));
    }
    free(path);
    return found;
}

static bool load_of_environment(enum family family, struct err *err)
{
    char directory[PATH_MAX], lib[PATH_MAX + 16];
    load_own_directory(directory);
    snprintf(lib, sizeof lib, "%s/../../..", directory); /* lib/python3.x/site-packages/xse */
    return load_from(lib, family, err);
}

static int load_named(const char *file, struct err *err)
{
    const char *name = strrchr(file, '/') ? strrchr(file, '/') + 1 : file;
    const char *module = strstr(name, "_abi") ? "abi" : strstr(name, ".so.40") ? "openmpi" : "mpich";
    if (!dlopen(file, FLAGS))
        return err_set(err, "cannot load the MPI library that XSE_MPI_LIBRARY names: %s", dlerror());
    return load_module(module, err);
}

int mpx_load(struct err *err)
{
    const char *named = getenv("XSE_MPI_LIBRARY");
    enum family family = load_launcher();
    struct err tried = {.text = ""};
    if (load_has_module("site"))
        return load_module("site", err);
    if (named && *named)
        return load_named(named, err);
    if (load_of_environment(family, &tried) || load_of_path(family, &tried) || load_from("", family, &tried))
        return 0;
    return err_set(
        err,
        "there is no MPI library%s: load the module of an MPI, or install one into this environment (pip install "
        "mpich), or name its libmpi.so with XSE_MPI_LIBRARY%s%s",
        family == OPENMPI ? " for this launcher, which is Open MPI's"
        : family          ? " for this launcher, which is MPICH's or one like it"
                          : "",
        *tried.text ? "; " : "", tried.text);
}
