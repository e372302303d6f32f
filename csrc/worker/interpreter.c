#include <Python.h>

#include "worker/interpreter.h"

static PyGILState_STATE around_fork;

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
