/* SPDX-License-Identifier: Apache-2.0
 *
 * What an edit of the table takes, and what those notice who publish and read meanwhile: a writer
 * and a reader of one section at full speed, each on a core, which that section's moves take along,
 * and edits of it and of others.  The times between two calls of each are noted in two classes:
 * while an edit is under way, and for as long again behind it, while nothing is.
 */
#include "bench.h"

#include <errno.h>
#include <pthread.h>
#include <shmclient.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KINDS       6
#define SECONDS_MAX 120 /* a machine that is busy and slow */

/* What is made of one row in even rounds, and in odd ones, and how it shows: as a value of that
 * section, or by whether there is that section. */
struct edit {
    const char *name;
    const char *sql[2];
    const char *section[2];
    uint64_t (*shows)(const struct shmc_section_info *info);
    uint64_t value[2];
};

static uint64_t show_size(const struct shmc_section_info *info) {
    return info->size;
}

static uint64_t show_count(const struct shmc_section_info *info) {
    return info->count;
}

static uint64_t show_stale(const struct shmc_section_info *info) {
    return info->stale_ms;
}

/* Each round makes one of each. */
static const struct edit edits[KINDS] = {
    {"size",
     {"UPDATE section SET size = 120 WHERE name = 's2'",
      "UPDATE section SET size = 100 WHERE name = 's2'"},
     {"s2", "s2"},
     show_size,
     {120, 100}},
    {"stale",
     {"UPDATE section SET stale_ms = 1000 WHERE name = 's3'",
      "UPDATE section SET stale_ms = 0 WHERE name = 's3'"},
     {"s3", "s3"},
     show_stale,
     {1000, 0}},
    {"rename",
     {"UPDATE section SET name = 'other' WHERE name = 's4'",
      "UPDATE section SET name = 's4' WHERE name = 'other'"},
     {"other", "s4"},
     NULL,
     {1, 1}},
    {"add",
     {"INSERT INTO section(name, owner, size) VALUES('more', 'driver1', 100)",
      "INSERT INTO section(name, owner, size) VALUES('more', 'driver1', 100)"},
     {"more", "more"},
     NULL,
     {1, 1}},
    {"remove",
     {"DELETE FROM section WHERE name = 'more'", "DELETE FROM section WHERE name = 'more'"},
     {"more", "more"},
     NULL,
     {0, 0}},
    {"move",
     {"UPDATE section SET count = 5 WHERE name = 'written'",
      "UPDATE section SET count = 4 WHERE name = 'written'"},
     {"written", "written"},
     show_count,
     {5, 4}},
};

struct editor {
    sqlite3 *table;
    shmc *segment;
    bool automatic; /* the manager finds an edit by itself, and isn't asked to reload */
    unsigned round; /* counted through, as each undoes what the one before did */
    pthread_t asking;
    double asked_ms; /* what that took */
    double effect_ms[KINDS][EDIT_ROUNDS_MAX], all_ms[KINDS * EDIT_ROUNDS_MAX];
    double reload_ms[KINDS * EDIT_ROUNDS_MAX];
    size_t n;
};

static void nap(uint64_t ns) {
    nanosleep(
        &(struct timespec){.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)},
        NULL);
}

static void run_sql(struct editor *e, const char *sql) {
    if (sqlite3_exec(e->table, sql, NULL, NULL, NULL) != SQLITE_OK)
        bench_die("%s: %s", sql, sqlite3_errmsg(e->table));
}

static bool shows(const struct editor *e, const struct edit *edit, unsigned odd) {
    struct shmc_section_info info;
    int r = shmc_inspect(e->segment, edit->section[odd], &info);
    if (r < 0 && r != -ENOENT)
        bench_die("%s: %s", edit->section[odd], shmc_last_error(e->segment));
    if (edit->shows == NULL)
        return (r == 0) == (edit->value[odd] != 0);
    return r == 0 && edit->shows(&info) == edit->value[odd];
}

static void *ask(void *argument) {
    struct editor *e = argument;
    char *reply = NULL;
    const struct shmc_options options = {.size = sizeof options, .timeout_ms = SECONDS_MAX * 1000};
    const uint64_t started = time_ticks();
    int r = shmc_manager(&options, "reload", &reply);
    e->asked_ms = time_span(started) / 1e6;
    if (r < 0)
        bench_die("reload: %s: %s", strerror(-r), reply == NULL ? "" : reply);
    free(reply);
    return NULL;
}

/* From the commit until anybody who looks finds it. */
static double until_seen(struct editor *e, const struct edit *edit, unsigned odd) {
    const uint64_t started = time_ticks();
    if (!e->automatic && pthread_create(&e->asking, NULL, ask, e) != 0)
        bench_die("can't start a thread");
    while (!shows(e, edit, odd)) {
        if (time_span(started) > SECONDS_MAX * 1e9)
            bench_die("%s: no effect in %d s", edit->sql[odd], SECONDS_MAX);
        nap(50000);
    }
    double ms = time_span(started) / 1e6;
    if (!e->automatic)
        pthread_join(e->asking, NULL);
    return ms;
}

static void make_edit(struct editor *e, const struct edit *edit) {
    const unsigned odd = e->round & 1;
    if (shows(e, edit, odd))
        bench_die("%s: it is so already", edit->sql[odd]);
    run_sql(e, "BEGIN IMMEDIATE");
    run_sql(e, edit->sql[odd]);
    run_sql(e, "COMMIT");
    double ms = until_seen(e, edit, odd);
    e->effect_ms[edit - edits][e->n / KINDS] = ms;
    e->all_ms[e->n] = ms;
    e->reload_ms[e->n++] = e->asked_ms;
}

/* The writer goes along with its next publish, which the manager finds within a second or so. */
static void await_move(const struct editor *e) {
    struct shmc_section_info info;
    uint64_t started = time_ticks();
    while (shmc_inspect(e->segment, "written", &info) == 0 && info.moving) {
        if (time_span(started) > SECONDS_MAX * 1e9)
            bench_die("section 'written' is still moving after %d s", SECONDS_MAX);
        nap(1000000);
    }
}

static void make_round(struct editor *e, bool noted) {
    for (unsigned i = 0; i < KINDS; i++) {
        const uint64_t started = time_ticks();
        if (noted)
            traffic_note(EDITED);
        make_edit(e, &edits[i]);
        if (i == KINDS - 1)
            await_move(e);
        if (!noted)
            continue;
        traffic_note(IDLE);
        nap((uint64_t)time_span(started));
        traffic_note(UNNOTED);
    }
    e->round++;
}

/* "quiet": nobody takes the cores away from the manager. */
static void print_times(struct editor *e, const char *when) {
    const char *how = e->automatic ? "auto" : "effect";
    printf("figure: bench.edit.%s%s %.2f ms\n", when, how, median(e->all_ms, e->n));
    for (unsigned i = 0; i < KINDS; i++)
        printf("figure: bench.edit.%s%s-%s %.2f ms\n", when, how, edits[i].name,
               median(e->effect_ms[i], e->n / KINDS));
    if (!e->automatic)
        printf("figure: bench.edit.%sreload %.2f ms\n", when, median(e->reload_ms, e->n));
    e->n = 0;
}

static void make_rounds(struct editor *e, unsigned rounds, bool noted) {
    for (unsigned i = 0; i < rounds; i++)
        make_round(e, noted);
    print_times(e, noted ? "" : "quiet-");
}

static void let_apply(struct editor *e, bool automatic) {
    run_sql(e,
            automatic ? "UPDATE segment SET auto_apply = 1" : "UPDATE segment SET auto_apply = 0");
    ask(e);
    e->automatic = automatic;
}

void edits_measure(const char *table, unsigned rounds) {
    struct editor *e = calloc(1, sizeof *e);
    if (e == NULL || rounds < 1 || rounds > EDIT_ROUNDS_MAX)
        bench_die("from 1 to %d rounds", EDIT_ROUNDS_MAX);
    if (sqlite3_open_v2(table, &e->table, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK)
        bench_die("%s can't be opened", table);
    sqlite3_busy_timeout(e->table, 10000);
    if (shmc_attach(&e->segment, NULL) < 0)
        bench_die("can't attach");
    let_apply(e, false);
    make_rounds(e, rounds, false);
    let_apply(e, true);
    make_rounds(e, rounds, false);
    traffic_start();
    make_rounds(e, rounds, true);
    let_apply(e, false);
    make_rounds(e, rounds, true);
    traffic_end();
    traffic_print();
    shmc_detach(e->segment);
    sqlite3_close(e->table);
    free(e);
}
