/* SPDX-License-Identifier: Apache-2.0
 *
 * slots_fill SECTION TEXT: as worker 'holder', puts TEXT-0 into the lowest free slot, which stays,
 * and TEXT-1 into the next one, and ends.
 */
#include "cases.h"

int main(int argc, char **argv) {
    CHECK_IS(argc, 3);
    shmc *segment = attach("holder", 0);
    shmc_section *section = open_section(segment, argv[1]);
    for (int i = 0; i < 2; i++) {
        char text[128];
        const int slot = shmc_slot_grab(section, i == 0 ? SHMC_SLOT_STAYS : 0);
        CHECK(slot >= 0);
        snprintf(text, sizeof text, "%s-%d", argv[2], i);
        CHECK_IS(shmc_slot_put(section, slot, text, strlen(text)), 0);
    }
    shmc_close(section);
    shmc_detach(segment);
}
