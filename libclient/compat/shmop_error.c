/* SPDX-License-Identifier: Apache-2.0
 *
 * The text of shmop's errors: a thread's, as an open that fails leaves no handle to keep it.
 */
#include "shmop_block.h"

#include <errno.h>
#include <stdio.h>

#define TEXT_BYTES 768 /* a line of libshmclient's, and what is said before it */

static _Thread_local char text[TEXT_BYTES];

int shmop_fail(int error, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    errno = error;
    return -1;
}

const char *shmop_last_error(void) {
    return text;
}
