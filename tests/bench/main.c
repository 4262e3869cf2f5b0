/* SPDX-License-Identifier: Apache-2.0
 *
 * Usage: bench [--json] [--quick | --smoke] [--peers | --queues | --slots | --private] [--only
 * NAME] bench --open PREFIX HOW-MANY bench --edits TABLE ROUNDS
 *
 * The environment says which segment (SHMC_KEY, SHMC_RUNTIME_DIR); run.sh beside this makes one.
 */
#include "bench.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct plan {
    unsigned rounds;
    double effort;
    bool json, peers;
    const struct measure *measures;
    unsigned sizes;
    const char *only;
};

static int usage(void) {
    fputs("usage: bench [--json] [--quick | --smoke] [--peers | --queues | --slots | --private] "
          "[--only NAME]\n",
          stderr);
    return 2;
}

static int read_arguments(struct plan *ret, int argc, char **argv) {
    *ret = (struct plan){.rounds = 11, .effort = 1, .measures = library_measures, .sizes = SIZES};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            ret->json = true;
        else if (strcmp(argv[i], "--quick") == 0)
            ret->rounds = 3, ret->effort = 0.3;
        else if (strcmp(argv[i], "--smoke") == 0)
            ret->rounds = 1, ret->effort = 0.002;
        else if (strcmp(argv[i], "--peers") == 0)
            ret->peers = true;
        else if (strcmp(argv[i], "--queues") == 0)
            ret->measures = queue_measures, ret->sizes = MESSAGE_SIZES;
        else if (strcmp(argv[i], "--slots") == 0)
            ret->measures = slot_measures, ret->sizes = MESSAGE_SIZES;
        else if (strcmp(argv[i], "--private") == 0)
            ret->measures = private_measures, ret->sizes = 1;
        else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc)
            ret->only = argv[++i];
        else
            return usage();
    }
    return 0;
}

/* One measure in both processes.  Where a channel can't be opened, nothing is added. */
static void measure_once(const struct bench *bench, const struct measure *m, unsigned size,
                         unsigned round) {
    const struct channel *channel = m->channel;
    bool opened = true;
    pair_restart();
    if (channel != NULL) {
        pair_give(channel->open(bench));
        pair_meet();
        opened = pair_given(LEFT) != 0 && pair_given(RIGHT) != 0;
        pair_meet();
    }
    double result = 0;
    if (opened && m->run[bench->side] != NULL)
        result = m->run[bench->side](bench, channel);
    pair_give(result);
    pair_meet();
    if (channel != NULL)
        channel->close();
    double value = pair_given(LEFT) + pair_given(RIGHT);
    if (opened && bench->side == LEFT)
        results_add(m, size, round, value);
    pair_meet();
}

static bool wanted(const struct plan *plan, const struct measure *m, unsigned size) {
    return (plan->only == NULL || strstr(m->name, plan->only) != NULL) && (!m->once || size == 0);
}

static void round_of(const struct plan *plan, struct bench *bench, unsigned size, unsigned round) {
    const struct measure *const lists[] = {limit_measures, plan->measures,
                                           plan->peers ? peer_measures : NULL};
    bench->bytes = bench_sizes[size];
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        for (const struct measure *m = lists[i]; m != NULL && m->name != NULL; m++)
            if (wanted(plan, m, size) || (i == 0 && !m->once)) /* what the ratios are to */
                measure_once(bench, m, size, round);
}

int main(int argc, char **argv) {
    struct plan plan;
    struct bench bench = {0};
    cpu_set_t cpus;
    if (argc == 4 && strcmp(argv[1], "--open") == 0) {
        time_calibrate();
        open_all(argv[2], (unsigned)strtoul(argv[3], NULL, 10));
        return 0;
    }
    if (argc == 4 && strcmp(argv[1], "--edits") == 0) {
        time_calibrate();
        edits_measure(argv[2], (unsigned)strtoul(argv[3], NULL, 10));
        return 0;
    }
    int r = read_arguments(&plan, argc, argv);
    if (r != 0)
        return r;
    if (sched_getaffinity(0, sizeof cpus, &cpus) < 0 || CPU_COUNT(&cpus) < 2) {
        puts("bench: this takes two cores");
        return 77;
    }
    bench.effort = plan.effort;
    time_calibrate();
    peers_prepare();
    pair_start(&bench);
    library_start(bench.side);
    for (unsigned size = 0; size < plan.sizes; size++)
        for (unsigned round = 0; round < plan.rounds; round++)
            round_of(&plan, &bench, size, round);
    library_end();
    peers_end();
    pair_end();
    results_print(plan.json);
    return 0;
}
