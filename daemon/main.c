/* SPDX-License-Identifier: Apache-2.0
 *
 * shm-manager: one segment, divided as a table says.
 */
#include "config.h"
#include "journal.h"
#include "manager.h"

#include <signal.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    signal(SIGXFSZ, SIG_IGN); /* a write beyond RLIMIT_FSIZE is an error, and no reason to die */
    struct config config;
    int r = config_read(&config, argc, argv);
    if (r != 0)
        return r < 0 ? 2 : EXIT_SUCCESS;
    if (config.check)
        return manager_check(&config);
    struct manager manager;
    if (manager_start(&manager, &config) < 0) {
        journal_settle();
        return EXIT_FAILURE;
    }
    int status = manager_run(&manager);
    manager_stop(&manager);
    return status;
}
