/* SPDX-License-Identifier: Apache-2.0
 *
 * One step of state.db's, to be killed in, and the look at what was left.
 *
 *     faults_state PATH prepare        an edit that is done: version 1
 *     faults_state PATH intend         begins the edit to version 2
 *     faults_state PATH done           ends the edit that is open
 *     faults_state PATH settle GEN     as a new manager does
 *     faults_state PATH rejected       writes down a refusal
 *     faults_state PATH look           prints what is in it, in one line; fails when it is damaged
 */
#include "core/plan.h"
#include "state_db.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct state_db *db;

static int say_failed(const char *what, int result) {
    fprintf(stderr, "faults_state: %s: %s\n", what, strerror(-result));
    return 1;
}

static void add(struct table *t, const char *name, const char *owner) {
    struct table_section *row = &t->sections[t->sections_n++];
    *row = (struct table_section){
        .id = t->sections_n, .kind = SHM_KIND_SNAPSHOT, .size = 100, .count = 4};
    snprintf(row->name, sizeof row->name, "%s", name);
    snprintf(row->owner, sizeof row->owner, "%s", owner);
    struct table_worker *worker = &t->workers[t->workers_n++];
    *worker = (struct table_worker){.instances = 1};
    snprintf(worker->name, sizeof worker->name, "%s", owner);
}

static int plan_next(struct layout *layout, const struct table *t) {
    struct plan plan;
    int r = plan_make(&plan, layout, t, &(struct plan_facts){0});
    if (r == 0) {
        layout_clear(layout);
        *layout = plan.next;
        plan.next = (struct layout){0};
    }
    plan_clear(&plan);
    return r;
}

/* Versions differ in a row and in a placement. */
static int intend(int version) {
    static struct table_worker workers[2];
    static struct table_section sections[2];
    struct table t = {.key = 1,
                      .size = 1 << 20,
                      .backend = SHM_BACKEND_SYSV,
                      .mode = 0660,
                      .workers = workers,
                      .sections = sections};
    struct layout layout;
    int64_t edit;
    add(&t, "a", "alpha");
    int r = layout_init(&layout, t.size);
    if (r == 0)
        r = plan_next(&layout, &t);
    if (r == 0 && version == 2) {
        sections[0].stale_ms = 2000;
        add(&t, "b", "beta");
        r = plan_next(&layout, &t);
    }
    if (r == 0)
        r = state_db_intend(db, "test", "something", &layout, &t, &edit);
    if (r == 0 && version == 1)
        r = state_db_done(db, edit);
    layout_clear(&layout);
    return r < 0 ? say_failed("intend", r) : 0;
}

static int64_t open_edit(void) {
    json_t *history = NULL, *row;
    size_t i;
    int64_t edit = 0;
    if (state_db_history(db, 10, &history) < 0)
        return 0;
    json_array_foreach(
        json_object_get(history, "edits"), i,
        row) if (strcmp(json_string_value(json_object_get(row, "outcome")), "intended") == 0) edit =
        json_integer_value(json_object_get(row, "edit"));
    json_decref(history);
    return edit;
}

/* The table as it was, where it was in force. */
static void print_table_at(json_int_t edit) {
    char when[32], error[256];
    json_t *then = NULL, *row;
    size_t i;
    snprintf(when, sizeof when, "edit:%lld", edit);
    if (state_db_table_at(db, when, &then, error, sizeof error) < 0)
        return;
    json_array_foreach(json_object_get(then, "sections"), i, row) {
        printf(" %s %lld", json_string_value(json_object_get(row, "name")),
               json_integer_value(json_object_get(row, "stale_ms")));
    }
    json_decref(then);
}

static int look(void) {
    struct layout layout = {0};
    struct table found = {0};
    json_t *history = NULL, *row;
    size_t i;
    int r = state_db_placement(db, &layout);
    if (r < 0)
        return say_failed("placement", r);
    r = state_db_good_table(db, &found);
    if (r < 0)
        return say_failed("good table", r);
    r = state_db_history(db, 10, &history);
    if (r < 0)
        return say_failed("history", r);
    printf("placement %llu, %u sections; table %zu rows, %llu ms;",
           (unsigned long long)layout.generation, layout.sections_used, found.sections_n,
           (unsigned long long)found.sections[0].stale_ms);
    json_array_foreach(json_object_get(history, "edits"), i, row) {
        printf(" %s", json_string_value(json_object_get(row, "outcome")));
        print_table_at(json_integer_value(json_object_get(row, "edit")));
    }
    printf("\n");
    json_decref(history);
    layout_clear(&layout);
    table_clear(&found);
    return 0;
}

int main(int argc, char **argv) {
    char error[512] = "";
    if (argc < 3) {
        fprintf(stderr, "usage: faults_state PATH prepare|intend|done|settle GEN|rejected|look\n");
        return 2;
    }
    const char *verb = argv[2];
    int r = state_db_open(&db, argv[1], error, sizeof error);
    if (r < 0 || error[0] != '\0') {
        fprintf(stderr, "faults_state: %s\n", error);
        return 1;
    }
    if (strcmp(verb, "prepare") == 0)
        r = intend(1);
    else if (strcmp(verb, "intend") == 0)
        r = intend(2);
    else if (strcmp(verb, "done") == 0)
        r = state_db_done(db, open_edit()) < 0;
    else if (strcmp(verb, "settle") == 0)
        r = state_db_settle(db, strtoull(argc > 3 ? argv[3] : "0", NULL, 10)) < 0;
    else if (strcmp(verb, "rejected") == 0)
        r = state_db_rejected(db, "test", "because") < 0;
    else
        r = look();
    state_db_close(db);
    return r;
}
