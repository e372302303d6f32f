#include <Python.h>

#include "worker/interpreter.h"

#include <string.h>

static PyGILState_STATE around_fork;

int interpreter_start(const char *executable, struct err *err)
{
    PyConfig config;
    wchar_t *const argv[] = {L"xse-pool"};
    PyConfig_InitPythonConfig(&config);
    config.install_signal_handlers = 0; /* ranks and tasks handle their signals themselves */
    config.parse_argv = 0;
    PyStatus status = PyConfig_SetBytesString(&config, &config.executable, executable);
    if (!PyStatus_Exception(status))
        status = PyConfig_SetArgv(&config, 1, argv);
    if (!PyStatus_Exception(status))
        status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    if (PyStatus_Exception(status))
        return err_set(err, "Python (%s) does not start: %s", executable, status.err_msg ? status.err_msg : "unknown");
    PyEval_SaveThread();
    return 0;
}

const char *interpreter_built_for(void)
{
    static char version[16];
    PyOS_snprintf(version, sizeof version, "%d.%d", PY_MAJOR_VERSION, PY_MINOR_VERSION);
    return version;
}

const char *interpreter_version(void)
{
    static char version[32];
    const char *all = Py_GetVersion(); /* "3.11.7 (main, ..." */
    PyOS_snprintf(version, sizeof version, "%.*s", (int)strcspn(all, " "), all);
    return version;
}

void interpreter_before_fork(void)
{
    around_fork = PyGILState_Ensure();
    PyOS_BeforeFork();
}

void interpreter_after_fork_in_parent(void)
{
    PyOS_AfterFork_Parent();
    PyGILState_Release(around_fork);
}

void interpreter_after_fork_in_child(void)
{
    PyOS_AfterFork_Child();
    PyGILState_Release(around_fork);
}
