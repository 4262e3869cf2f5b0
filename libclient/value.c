/* SPDX-License-Identifier: Apache-2.0
 *
 * What is said about a value besides its bytes: how old it is, and whether somebody is there who
 * will publish the next.
 */
#include "client.h"

#include "core/restored.h"

enum shmc_alive alive_worker(const struct mapping *mapping, uint32_t index) {
    uint64_t word = directory_worker_word(&mapping->directory, index);
    if (lease_word_state(word) != SHM_LEASE_LEASED)
        return SHMC_GONE;
    if (private_is(mapping)) /* left.c looks now and then */
        return SHMC_ALIVE;
    /* The record is as good as the manager that keeps it. */
    return directory_manager_alive(&mapping->directory, NULL, NULL) ? SHMC_ALIVE : SHMC_UNKNOWN;
}

void value_clear(struct shmc_value *ret) {
    if (ret != NULL)
        *ret = (struct shmc_value){.age_ns = UINT64_MAX, .writer = SHMC_UNKNOWN};
}

static uint64_t stale_ns(const shmc_section *section) {
    uint64_t ms = section->descriptor.stale_ms;
    return ms > UINT64_MAX / 1000000 ? UINT64_MAX : ms * 1000000;
}

bool stale_by(uint64_t stale_ms, uint64_t age_ns) {
    return stale_ms != 0 && age_ns != UINT64_MAX && age_ns / 1000000 >= stale_ms;
}

void value_fill(const shmc_section *section, const struct snapshot_value *found,
                struct shmc_value *ret) {
    uint64_t age_ns = snapshot_age(found);
    *ret = (struct shmc_value){
        .version = found->version,
        .length = found->length,
        .real_ns = found->real_ns,
        .age_ns = age_ns,
        .writer = alive_worker(section->mapping, section->descriptor.owner_index),
        .stale = stale_by(section->descriptor.stale_ms, age_ns),
        .incarnation = section->descriptor.incarnation,
    };
}

uint64_t value_stale_at(const shmc_section *section) {
    const struct snapshot_value *last = &section->last;
    uint64_t limit_ns = stale_ns(section);
    if (limit_ns == 0 || last->mono_ns == 0 || section->stale_said == last->version)
        return UINT64_MAX;
    if (last->mono_ns == SHM_MONO_EARLIER_BOOT) {
        uint64_t age_ns = snapshot_age(last), now = clock_mono_ns();
        return age_ns >= limit_ns ? now : now + (limit_ns - age_ns);
    }
    return last->mono_ns > UINT64_MAX - limit_ns ? UINT64_MAX : last->mono_ns + limit_ns;
}
