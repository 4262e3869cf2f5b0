/* SPDX-License-Identifier: Apache-2.0
 *
 * The section table as text: for git, for an editor, and to be compared.
 */
#include "whole.h"

#include <stdlib.h>
#include <string.h>

/* A statement that grows by columns: "name = value, ..." or "(names) VALUES(values)". */
struct statement {
    FILE *names, *values;
    char *names_text, *values_text;
    size_t names_bytes, values_bytes;
    unsigned n;
};

static bool statement_start(struct statement *s) {
    *s = (struct statement){0};
    s->names = open_memstream(&s->names_text, &s->names_bytes);
    s->values = open_memstream(&s->values_text, &s->values_bytes);
    return s->names && s->values;
}

static void statement_end(struct statement *s) {
    if (s->names)
        fclose(s->names);
    if (s->values)
        fclose(s->values);
}

static void statement_free(struct statement *s) {
    free(s->names_text);
    free(s->values_text);
}

static void column_name(struct statement *s, const char *name) {
    fprintf(s->names, "%s%s", s->n ? ", " : "", name);
    if (s->n++)
        fputs(", ", s->values);
}

static void text_column(struct statement *s, const char *name, const char *value) {
    column_name(s, name);
    putc('\'', s->values);
    for (; *value; value++) {
        if (*value == '\'')
            putc('\'', s->values);
        putc(*value, s->values);
    }
    putc('\'', s->values);
}

/* Columns which are "" or zero by default. */
static void text_if_any(struct statement *s, const char *name, const char *value) {
    if (*value)
        text_column(s, name, value);
}

static void number_column(struct statement *s, const char *name, uint64_t value) {
    column_name(s, name);
    fprintf(s->values, "%lu", value);
}

static void number_unless(struct statement *s, const char *name, uint64_t value,
                          uint64_t by_default) {
    if (value != by_default)
        number_column(s, name, value);
}

static void word_unless(struct statement *s, const char *name, enum table_words words,
                        unsigned value, unsigned by_default) {
    if (value != by_default)
        text_column(s, name, table_word(words, value));
}

static char *insert_text(struct statement *s, const char *table) {
    char *text = NULL;
    statement_end(s);
    if (s->names_text && s->values_text &&
        asprintf(&text, "INSERT INTO %s(%s) VALUES(%s);", table, s->names_text, s->values_text) < 0)
        text = NULL;
    statement_free(s);
    return text;
}

static char *section_text(const struct table_section *row) {
    struct statement s;
    if (statement_start(&s)) {
        text_column(&s, "name", row->name);
        text_column(&s, "owner", row->owner);
        word_unless(&s, "kind", TABLE_KINDS, row->kind, SHM_KIND_SNAPSHOT);
        number_column(&s, "size", row->size);
        number_unless(&s, "count", row->count, table_count(row->kind));
        if (row->pinned)
            number_column(&s, "offset", row->offset);
        text_if_any(&s, "read_group", row->read_group);
        text_if_any(&s, "write_group", row->write_group);
        number_unless(&s, "shared", row->shared, 0);
        number_unless(&s, "persist", row->persist, 0);
        number_unless(&s, "stale_ms", row->stale_ms, 0);
        text_if_any(&s, "format", row->format);
        word_unless(&s, "stamp", TABLE_STAMPS, row->stamp, TABLE_STAMP_PRECISE);
        word_unless(&s, "notify", TABLE_NOTIFIES, row->notify, TABLE_NOTIFY_DEMAND);
        number_unless(&s, "pregrab", row->pregrab, 0);
        word_unless(&s, "clear", TABLE_CLEARS, row->clear, TABLE_CLEAR_NEVER);
    }
    return insert_text(&s, "section");
}

static char *worker_text(const struct table_worker *row) {
    struct statement s;
    if (statement_start(&s)) {
        text_column(&s, "name", row->name);
        text_if_any(&s, "user", row->user);
        number_unless(&s, "instances", row->instances, 1);
        number_unless(&s, "may_create", row->may_create, 0);
    }
    return insert_text(&s, "worker");
}

static char *segment_text(const struct table *table) {
    char *text = NULL;
    size_t bytes, n = 0;
    FILE *to = open_memstream(&text, &bytes);
    if (!to)
        return NULL;
    fputs("UPDATE segment SET ", to);
    if (table->key != SHM_DEFAULT_KEY)
        fprintf(to, "%skey = '0x%08X'", n++ ? ", " : "", table->key);
    if (table->size != UINT64_C(64) << 20)
        fprintf(to, "%ssize = %lu", n++ ? ", " : "", table->size);
    if (table->backend != SHM_BACKEND_SYSV)
        fprintf(to, "%sbackend = '%s'", n++ ? ", " : "",
                table_word(TABLE_BACKENDS, table->backend));
    if (table->mode != 0660)
        fprintf(to, "%smode = '%04o'", n++ ? ", " : "", table->mode);
    if (strcmp(table->group_name, "shm-workers") != 0)
        fprintf(to, "%sgroup_name = '%s'", n++ ? ", " : "", table->group_name);
    if (table->lock_memory)
        fprintf(to, "%slock_memory = 1", n++ ? ", " : "");
    if (!table->auto_apply)
        fprintf(to, "%sauto_apply = 0", n++ ? ", " : "");
    putc(';', to);
    fclose(to);
    if (text && n == 0) /* all as by default */
        *text = '\0';
    return text;
}

/* The rows of a table as texts, by kind and name. */
struct lines {
    struct line {
        const char *row, *name;
        char *text;
    } * first;
    size_t n;
};

static int by_name(const void *a, const void *b) {
    const struct line *x = a, *y = b;
    int order = strcmp(y->row, x->row); /* worker before section */
    return order ? order : strcmp(x->name, y->name);
}

static void lines_of(const struct table *table, struct lines *ret) {
    ret->first = calloc(1 + table->workers_n + table->sections_n, sizeof *ret->first);
    ret->n = 0;
    if (!ret->first)
        return;
    ret->first[ret->n++] = (struct line){"segment", "", segment_text(table)};
    for (size_t i = 0; i < table->workers_n; i++)
        ret->first[ret->n++] =
            (struct line){"worker", table->workers[i].name, worker_text(&table->workers[i])};
    for (size_t i = 0; i < table->sections_n; i++)
        ret->first[ret->n++] =
            (struct line){"section", table->sections[i].name, section_text(&table->sections[i])};
    qsort(ret->first + 1, ret->n - 1, sizeof *ret->first, by_name);
    for (size_t i = 0; i < ret->n; i++)
        if (!ret->first[i].text) {
            fputs("shmtool: out of memory\n", stderr);
            exit(TOOL_NO);
        }
}

static void lines_free(struct lines *lines) {
    for (size_t i = 0; i < lines->n; i++)
        free(lines->first[i].text);
    free(lines->first);
}

void table_dump(FILE *to, const struct table *table) {
    struct lines lines;
    lines_of(table, &lines);
    fputs("-- the section table of a shm-manager; shmtool table load FILE puts it in force\n", to);
    for (size_t i = 0; i < lines.n; i++)
        if (*lines.first[i].text)
            fprintf(to, "%s\n", lines.first[i].text);
    lines_free(&lines);
}

char *table_dump_text(const struct table *table) {
    char *text = NULL;
    size_t bytes;
    FILE *to = open_memstream(&text, &bytes);
    if (!to)
        return NULL;
    table_dump(to, table);
    fclose(to);
    return text;
}

/* Goes through both, side by side; NULL stands for a row that one hasn't got. */
static size_t merge(const struct lines *from, const struct lines *to,
                    void (*tell)(const struct line *, const struct line *, void *), void *where) {
    size_t i = 0, j = 0, n = 0;
    while (i < from->n || j < to->n) {
        int order = i == from->n ? 1 : j == to->n ? -1 : 0;
        if (order == 0 && i > 0 && j > 0) /* the segment's row comes first in both */
            order = by_name(&from->first[i], &to->first[j]);
        const struct line *old = order <= 0 ? &from->first[i++] : NULL;
        const struct line *new = order >= 0 ? &to->first[j++] : NULL;
        if (old && new &&strcmp(old->text, new->text) == 0)
            continue;
        n++;
        tell(old, new, where);
    }
    return n;
}

/* The segment's row has no text when it is as by default. */
static const char *shown(const struct line *line) {
    return *line->text ? line->text : "-- segment: all as by default";
}

static void tell_text(const struct line *old, const struct line *new, void *where) {
    bool print = *(bool *)where;
    if (print && old)
        printf("%s- %s%s\n", paint_on(RED), shown(old), paint_off());
    if (print && new)
        printf("%s+ %s%s\n", paint_on(GREEN), shown(new), paint_off());
}

static void add_side(json_t *object, const char *side, const struct line *line) {
    json_object_set_new(object, "row", json_string(line->row));
    json_object_set_new(object, "name", json_text(line->name));
    json_object_set_new(object, side, json_text(line->text));
}

static void tell_json(const struct line *old, const struct line *new, void *where) {
    json_t *object = json_pack("{s:n, s:n}", "from", "to");
    if (old)
        add_side(object, "from", old);
    if (new)
        add_side(object, "to", new);
    json_array_append_new(where, object);
}

static size_t compare(const struct table *from, const struct table *to,
                      void (*tell)(const struct line *, const struct line *, void *), void *where) {
    struct lines a, b;
    lines_of(from, &a);
    lines_of(to, &b);
    size_t n = merge(&a, &b, tell, where);
    lines_free(&a);
    lines_free(&b);
    return n;
}

size_t table_compare(const struct table *from, const struct table *to, bool print) {
    return compare(from, to, tell_text, &print);
}

json_t *table_compare_json(const struct table *from, const struct table *to) {
    json_t *rows = json_array();
    compare(from, to, tell_json, rows);
    return rows;
}
