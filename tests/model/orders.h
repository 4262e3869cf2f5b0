/* SPDX-License-Identifier: Apache-2.0
 *
 * The memory orders of the protocols under relacy, which checks them against C++'s own definition,
 * and not against this tree's reading of it (sim_memory.c).  A test is a struct whose template
 * parameter says which order or fence is left out; 0 is the protocol as it is.
 */
#ifndef SHM_TESTS_MODEL_ORDERS_H
#define SHM_TESTS_MODEL_ORDERS_H

#include <relacy/relacy.hpp>

#include <cstdio>
#include <ostream>

namespace orders {

constexpr rl::memory_order relaxed = rl::mo_relaxed, acquire = rl::mo_acquire,
                           release = rl::mo_release, seq_cst = rl::mo_seq_cst;
constexpr unsigned iterations = 300000;

/* Does it hold in each execution that was tried? */
template <typename test> bool holds(unsigned long &executions) {
    rl::test_params params;
    std::ostream quiet(nullptr); /* relacy has the heap of its own: nothing may be kept */
    params.iteration_count = iterations;
    params.search_type = rl::sched_random;
    params.output_stream = &quiet;
    params.progress_stream = &quiet;
    const bool ok = rl::simulate<test>(params);
    executions += static_cast<unsigned long>(params.stop_iteration);
    return ok;
}

/* The protocol must hold, and each of its mutants must not. */
struct result {
    unsigned protocols = 0, wrong = 0, mutants = 0, caught = 0;
    unsigned long executions = 0;

    template <typename test> void protocol(const char *name) {
        const bool ok = holds<test>(executions);
        protocols++;
        wrong += !ok;
        std::printf("%s: %s\n", name, ok ? "holds" : "violation: does NOT hold");
    }

    template <typename test> void mutant(const char *name) {
        unsigned long tried = 0;
        const bool ok = holds<test>(tried);
        mutants++;
        caught += !ok;
        std::printf("  without %s: %s, %lu executions\n", name, ok ? "NOT caught" : "caught",
                    tried);
    }

    int end() const {
        std::printf("figure: relacy.executions %lu executions\n", executions);
        std::printf("figure: errors.relacy %u errors\n", wrong);
        std::printf("figure: mutants.relacy_all %u mutants\n", mutants);
        std::printf("figure: mutants.relacy_caught %u mutants\n", caught);
        return wrong == 0 && protocols > 0 && caught == mutants ? 0 : 1;
    }
};

} // namespace orders

#endif
