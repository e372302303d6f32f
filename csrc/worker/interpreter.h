/* interpreter.h: the life of the embedded CPython. Only this file's .c includes Python.h. */
#ifndef XSE_INTERPRETER_H
#define XSE_INTERPRETER_H

#include "base/err.h"

/* Start Python as `executable` would: its prefix, its site-packages. Gives the GIL up. 0, or -1 and err. */
int interpreter_start(const char *executable, struct err *err);
const char *interpreter_built_for(void); /* "3.11": the Python this binary was built with */
const char *interpreter_version(void); /* "3.11.7": the one that runs; the library's */

/* Around a fork, as PyOS_*Fork* ask for; the calling thread must not hold the GIL. */
void interpreter_before_fork(void);
void interpreter_after_fork_in_parent(void);
void interpreter_after_fork_in_child(void);

#endif
