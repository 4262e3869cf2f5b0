/* SPDX-License-Identifier: Apache-2.0
 *
 * The pair that most cases are about: a writer and a reader of one section in one process.
 */
#ifndef SHM_TESTS_PAIR_H
#define SHM_TESTS_PAIR_H

#include "cases.h"

static shmc *writer, *reader;
static shmc_section *out, *in;
static struct shmc_value value;

static void set_up(const char *name) {
    writer = attach("driver", 0);
    reader = attach(NULL, 0);
    out = open_section(writer, name);
    in = open_section(reader, name);
}

static void tear_down(void) {
    shmc_close(in);
    shmc_close(out);
    shmc_detach(reader);
    shmc_detach(writer);
}

#endif
