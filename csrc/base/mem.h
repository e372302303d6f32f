/* mem.h: memory for our own books: small pieces, never NULL.
 *
 * When there is none left, mem_* print one line and end the process. A rank that cannot keep its books cannot keep its
 * promises; the interchange sees the block go and answers for its tasks. Payloads, whose size a user chooses, are not
 * taken from here but with bytes_new, which may say no. */
#ifndef XSE_MEM_H
#define XSE_MEM_H

#include <stddef.h>

void *mem_new(size_t n); /* zeroed */
void *mem_array(size_t n, size_t size); /* zeroed; n * size may not overflow */
void *mem_grow(void *p, size_t n, size_t size); /* like realloc to n * size; what is new is not zeroed */
char *mem_text(const char *text); /* a copy; NULL stays NULL */
char *mem_text_n(const char *text, size_t n); /* a copy of n bytes, ended with NUL */
void mem_free(void *p);

/* Let malloc keep what is freed, up to some megabytes, for the next payload. Once, before other threads. */
void mem_keep(void);

#endif
