#include "links/libzmq.h"

#include <dlfcn.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FUNCTION(returns, name, arguments) returns(*name) arguments;
LIBZMQ_FUNCTIONS(FUNCTION)
#undef FUNCTION

static int libzmq_take_functions(void *library, struct err *err)
{
#define FUNCTION(returns, name, arguments)                                                                             \
    if (!(*(void **)&name = dlsym(library, #name)))                                                                    \
        return err_set(err, "libzmq 4.3 or later is needed: %s", dlerror());
    LIBZMQ_FUNCTIONS(FUNCTION)
#undef FUNCTION
    return 0;
}

/* pyzmq's wheels carry it in pyzmq.libs, with a digest in the file's name. */
static void *libzmq_open_of_pyzmq(const char *site_packages)
{
    char pattern[4096];
    glob_t found;
    void *library = NULL;
    snprintf(pattern, sizeof pattern, "%s/pyzmq.libs/libzmq*.so*", site_packages);
    if (glob(pattern, 0, NULL, &found) == 0) {
        library = dlopen(found.gl_pathv[0], RTLD_NOW | RTLD_LOCAL);
        globfree(&found);
    }
    return library;
}

/* The site-packages that this executable is installed in: SITE/xse/xse-pool. */
static void *libzmq_open_beside(void)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    path[n > 0 ? n : 0] = 0;
    for (int i = 0; i < 2; i++) {
        char *slash = strrchr(path, '/');
        if (!slash)
            return NULL;
        *slash = 0;
    }
    return libzmq_open_of_pyzmq(path);
}

int libzmq_load(const char *path, struct err *err)
{
    void *library = NULL;
    if (zmq_ctx_new)
        return 0;
    if (*path && !(library = dlopen(path, RTLD_NOW | RTLD_LOCAL)))
        return err_set(err, "cannot load libzmq: %s", dlerror());
    if (!library)
        library = libzmq_open_beside();
    if (!library)
        library = libzmq_open_of_pyzmq(XSE_SITE_PACKAGES);
    if (!library && !(library = dlopen("libzmq.so.5", RTLD_NOW | RTLD_LOCAL)))
        return err_set(
            err,
            "there is no libzmq (%s): install pyzmq into the environment of xse (pip install pyzmq), or name "
            "the library with --libzmq",
            dlerror());
    return libzmq_take_functions(library, err);
}
