/* err.h: what went wrong, for people: one sentence that says what, why and what to do. */
#ifndef XSE_ERR_H
#define XSE_ERR_H

struct err {
    char text[1024];
};

/* Both return -1, so that a failing call can say `return err_set(...)`. */
int err_set(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));
int err_set_errno(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3))); /* adds errno's */

#endif
