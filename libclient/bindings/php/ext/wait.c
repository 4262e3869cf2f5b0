/* SPDX-License-Identifier: Apache-2.0
 *
 * The library's waits go on behind a signal; a script that handles signals, or has a time limit,
 * is to get its turn.  So they are made of short ones.
 */
#include "php_shmclient.h"

#include <time.h>

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void next_slice(struct wait *wait) {
    const int64_t left = wait->endless ? wait->most : wait->end_ms - now_ms();
    wait->slice = left > wait->most ? wait->most : left < 0 ? 0 : (int)left;
}

bool wait_begin(struct wait *wait, zend_long timeout, int most, uint32_t n) {
    int checked;
    if (!int_within(timeout, -1, INT_MAX, n, &checked))
        return false;
    *wait = (struct wait){.most = most, .endless = checked == -1};
    if (!wait->endless)
        wait->end_ms = now_ms() + checked;
    next_slice(wait);
    return true;
}

/* As the engine does behind a call, but before there is an exception, with which it runs no signal
 * handler.  They may close what is waited for. */
static void interrupt(void) {
    zend_atomic_bool_store(&EG(vm_interrupt), false);
    if (zend_atomic_bool_load(&EG(timed_out)))
        zend_timeout();
    if (zend_interrupt_function != NULL)
        zend_interrupt_function(EG(current_execute_data));
}

bool wait_again(struct wait *wait, ssize_t *result) {
    if (*result != -ETIMEDOUT && *result != -EINTR)
        return false;
    if (zend_atomic_bool_load(&EG(vm_interrupt))) {
        interrupt();
        *result = -EINTR;
        return false;
    }
    next_slice(wait);
    return wait->slice > 0;
}

bool wait_empty(const struct wait *wait, ssize_t result) {
    return result == -ETIMEDOUT || (result == -EAGAIN && wait->slice == 0);
}
