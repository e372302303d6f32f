/* title.h: what ps and top show of a process. */
#ifndef XSE_TITLE_H
#define XSE_TITLE_H

void title_init(int argc, char **argv); /* of main */
void title_find(void); /* the same, in a library of a program whose main is another's */
void title_set(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
