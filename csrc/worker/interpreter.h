/* interpreter.h: what forks need of the Python they happen in. Only this file's .c includes Python.h. */
#ifndef XSE_INTERPRETER_H
#define XSE_INTERPRETER_H

/* Around a fork, as PyOS_*Fork* ask for; the calling thread must not hold the GIL. */
void interpreter_before_fork(void);
void interpreter_after_fork_in_parent(void);
void interpreter_after_fork_in_child(void);

#endif
