/* SPDX-License-Identifier: Apache-2.0
 *
 * What a value that a simulated reader got must be, by what only those who watch over it know.
 */
#ifndef SHM_TESTS_MODEL_SIM_VALUES_H
#define SHM_TESTS_MODEL_SIM_VALUES_H

#include "sim.h"

#include "snapshot_fixture.h"

#include <inttypes.h>

struct values_known {
    uint64_t newest;     /* version that was published */
    uint64_t base;       /* that was there at the start */
    const uint32_t *who; /* epoch of the writer that published version `base + i` */
};

static inline bool values_check(const struct values_known *known, const uint64_t *data, ssize_t n,
                                const struct snapshot_value *value, uint64_t least) {
    const uint64_t version = value->version;
    if (n < 0)
        violation("a read gives error %zd", n);
    else if (version < least)
        violation("version %" PRIu64 " is read after %" PRIu64, version, least);
    else if (version > known->newest)
        violation("version %" PRIu64 " is read, and the newest is %" PRIu64, version,
                  known->newest);
    else if (version > known->base &&
             (!value_whole(data, (size_t)n, version) || (size_t)n != VALUE_LEAST + version % 3 * 8))
        violation("version %" PRIu64 " is torn", version);
    else if (data[1] != known->who[version - known->base] || value->epoch != data[1])
        violation("version %" PRIu64 " is by writer %" PRIu64 ", who didn't publish it", version,
                  data[1]);
    return !violated();
}

#endif
