/* SPDX-License-Identifier: Apache-2.0
 *
 * The files of rows that the command line names (--sections-dir).
 */
#ifndef SHM_DAEMON_INCLUDE_H
#define SHM_DAEMON_INCLUDE_H

#include "config.h"

/* Applies them to the table, before it is first read.  What fails is logged, and stops nothing. */
void include_files(const struct config *config);

#endif
