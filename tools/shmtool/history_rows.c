/* SPDX-License-Identifier: Apache-2.0
 *
 * history --diff: each edit with the rows that it changed in the table.
 */
#include "tool.h"

#include <string.h>

enum paint outcome_paint(const char *outcome) {
    return strcmp(outcome, "applied") == 0    ? GREEN
           : strcmp(outcome, "rejected") == 0 ? RED
                                              : YELLOW;
}

/* One line, whatever stands there. */
static void print_plain(const char *text) {
    for (; *text; text++)
        putchar(is_plain_text(text, 1) && *text != '\n' ? *text : '?');
}

static void print_value(const json_t *value) {
    if (json_is_string(value))
        print_plain(json_string_value(value));
    else if (json_is_integer(value))
        printf("%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else
        fputs(json_is_true(value) ? "1" : json_is_false(value) ? "0" : "NULL", stdout);
}

/* Columns that say nothing are left out of a row that is new. */
static bool says_something(const char *column, const json_t *value) {
    return strcmp(column, "name") != 0 && !json_is_null(value) && !json_is_false(value) &&
           !(json_is_integer(value) && json_integer_value(value) == 0);
}

static void print_new(json_t *to) {
    const char *column, *between = ": ";
    json_t *value;
    json_object_foreach(to, column, value) {
        if (!says_something(column, value))
            continue;
        printf("%s%s ", between, column);
        print_value(value);
        between = ", ";
    }
}

static void print_differences(const json_t *from, json_t *to) {
    const char *column, *between = ": ";
    json_t *value;
    json_object_foreach(to, column, value) {
        printf("%s%s ", between, column);
        print_value(json_object_get(from, column));
        fputs(" -> ", stdout);
        print_value(value);
        between = ", ";
    }
}

static void print_row(const json_t *change) {
    const json_t *from = json_object_get(change, "from");
    json_t *to = json_object_get(change, "to");
    const char *row = field_text(change, NULL, "row");
    const bool is_new = !json_is_object(from), is_gone = !json_is_object(to);
    const enum paint paint = is_new ? GREEN : is_gone ? RED : YELLOW;
    printf("  %s%s%s ", paint_on(paint), is_new ? "+" : is_gone ? "-" : "~", paint_off());
    print_plain(row);
    if (strcmp(row, "segment") != 0) { /* of which there is one */
        fputs(" '", stdout);
        print_plain(field_text(change, NULL, "name"));
        putchar('\'');
    }
    if (is_new)
        print_new(to);
    else if (!is_gone)
        print_differences(from, to);
    putchar('\n');
}

static void print_edit(const json_t *edit) {
    const char *outcome = field_text(edit, NULL, "outcome");
    const char *error = json_string_value(json_object_get(edit, "error"));
    const uint64_t generation = field_number(edit, NULL, "generation");
    const json_t *change;
    size_t i;
    printf("%sedit %lu%s  %s  ", paint_on(BOLD), field_number(edit, NULL, "edit"), paint_off(),
           field_text(edit, NULL, "time"));
    print_plain(field_text(edit, NULL, "who"));
    printf("  %s%s%s", paint_on(outcome_paint(outcome)), outcome, paint_off());
    if (generation > 0)
        printf("  generation %lu", generation);
    fputs(": ", stdout);
    print_plain(error ? error : field_text(edit, NULL, "what"));
    putchar('\n');
    json_array_foreach(json_object_get(edit, "changes"), i, change) {
        print_row(change);
    }
    if (field_true(edit, NULL, "more"))
        puts("  and more: shmtool diff GENERATION GENERATION");
}

void print_history_rows(const json_t *reply) {
    const json_t *edit;
    size_t i;
    json_array_foreach(json_object_get(reply, "edits"), i, edit) {
        print_edit(edit);
    }
}
