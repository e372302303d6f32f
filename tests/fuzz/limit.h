/* limit.h: how much memory an input may take with bytes_new, which may say no: a length alone can ask for a gigabyte.
 * The program is linked with --wrap=malloc. */
#ifndef XSE_FUZZ_LIMIT_H
#define XSE_FUZZ_LIMIT_H

#include <stdbool.h>
#include <stddef.h>

void limit_begin(size_t n_bytes); /* of an input */
bool limit_end(void); /* was anything refused? */

#endif
