/* SPDX-License-Identifier: Apache-2.0
 *
 * What makes a section table right.  The database's own constraints say most of this at the user's
 * INSERT already, but they can be switched off, so that nothing here relies on them.
 */
#include "table.h"
#include "layout.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define NOBODY 65534u /* the uid that stands for every uid that can't be told */

void table_clear(struct table *table) {
    free(table->workers);
    free(table->sections);
    *table = (struct table){0};
}

/* Not <ctype.h>: what is a letter must not depend on the locale. */
static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_letter(char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool is_word(char c) {
    return is_letter(c) || is_digit(c) || c == '_' || c == '.' || c == '-';
}

/* A number without leading zeros; 0 when it is none or beyond `most`. */
static uint64_t number(const char *text, uint64_t most) {
    uint64_t value = 0;
    if (text[0] == '\0' || text[0] == '0')
        return 0;
    for (; is_digit(*text) && value <= most; text++)
        value = value * 10 + (uint64_t)(*text - '0');
    return *text == '\0' && value <= most ? value : 0;
}

bool table_name_ok(const char *name, bool instance) {
    size_t length = 0;
    if (strnlen(name, SHM_NAME_BYTES) == SHM_NAME_BYTES || !is_letter(name[0]))
        return false;
    while (is_word(name[length]))
        length++;
    if (name[length] == '\0')
        return true;
    return instance && name[length] == '#' && number(name + length + 1, TABLE_INSTANCES_MAX) != 0;
}

static int compare_worker(const void *key, const void *element) {
    const struct table_worker *worker = element;
    return strcmp(key, worker->name);
}

/* The instance that "name#3" names; 0 = "name". */
static uint32_t split_owner(const char *owner, char name[SHM_NAME_BYTES]) {
    size_t length = 0;
    for (; length < SHM_NAME_BYTES - 1 && owner[length] != '\0' && owner[length] != '#'; length++)
        name[length] = owner[length];
    name[length] = '\0';
    return owner[length] == '\0' ? 0 : (uint32_t)number(owner + length + 1, TABLE_INSTANCES_MAX);
}

static const struct table_worker *worker_named(const struct table *table, const char *name) {
    if (table->workers_n == 0)
        return NULL;
    return bsearch(name, table->workers, table->workers_n, sizeof *table->workers, compare_worker);
}

const struct table_worker *table_worker(const struct table *table, const char *owner) {
    char name[SHM_NAME_BYTES];
    if (!table_name_ok(owner, true))
        return NULL;
    const uint32_t instance = split_owner(owner, name);
    const struct table_worker *worker = worker_named(table, name);
    return worker == NULL || instance > worker->instances ? NULL : worker;
}

size_t table_first(const struct table *table, uint64_t id) {
    size_t from = 0, to = table->sections_n;
    while (from < to) {
        const size_t middle = from + (to - from) / 2;
        if (table->sections[middle].id < id)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

const struct table_section *table_section(const struct table *table, uint64_t id) {
    const size_t at = table_first(table, id);
    return at < table->sections_n && table->sections[at].id == id ? &table->sections[at] : NULL;
}

/* ---- the check */

struct check {
    const struct table *table;
    char *error;
    size_t error_bytes;
};

__attribute__((format(printf, 2, 3))) static int wrong(const struct check *check,
                                                       const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(check->error, check->error_bytes, format, args);
    va_end(args);
    return -EINVAL;
}

/* A text that was not yet found to be fit for a terminal. */
static const char *shown(const char *text, char buffer[SHM_NAME_BYTES]) {
    size_t i = 0;
    for (; i < SHM_NAME_BYTES - 1 && text[i] != '\0'; i++)
        buffer[i] = text[i] < ' ' || text[i] > '~' || text[i] == '\'' ? '?' : text[i];
    buffer[i] = '\0';
    return buffer;
}

static bool printable(const char *text) {
    size_t i = 0;
    while (i < SHM_NAME_BYTES && text[i] >= ' ' && text[i] <= '~')
        i++;
    return i < SHM_NAME_BYTES && text[i] == '\0';
}

/* An account's or a group's name, or its number. */
static bool account_ok(const char *text) {
    if (is_digit(text[0]))
        return strcmp(text, "0") == 0 || number(text, UINT32_MAX - 1) != 0;
    return (is_letter(text[0]) || text[0] == '_') && strlen(text) < SHM_NAME_BYTES &&
           text[strspn(
               text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")] == '\0';
}

static int check_segment(const struct check *check) {
    const struct table *t = check->table;
    char buffer[SHM_NAME_BYTES];
    if (t->key == 0)
        return wrong(check, "segment: key is 0, which names no segment (UPDATE segment SET key = "
                            "'0x53484D31')");
    if (t->size % SHM_PAGE != 0 || t->size < TABLE_SEGMENT_MIN || t->size > TABLE_SEGMENT_MAX)
        return wrong(check,
                     "segment: size is %llu; it must be a multiple of %u from %llu to %llu "
                     "(UPDATE segment SET size = 67108864)",
                     (unsigned long long)t->size, SHM_PAGE, (unsigned long long)TABLE_SEGMENT_MIN,
                     (unsigned long long)TABLE_SEGMENT_MAX);
    if (table_word(TABLE_BACKENDS, t->backend) == NULL)
        return wrong(check, "segment: backend must be sysv or memfd (UPDATE segment SET backend = "
                            "'sysv')");
    if (t->mode != 0660 && t->mode != 0664)
        return wrong(check,
                     "segment: mode is %04o; it must be 0660 (only the group attaches) or 0664 "
                     "(others may read) (UPDATE segment SET mode = '0660')",
                     t->mode);
    if (t->group_name[0] != '\0' && !account_ok(t->group_name))
        return wrong(check,
                     "segment: group_name '%s' is neither a group's name nor a number (UPDATE "
                     "segment SET group_name = 'shm-workers')",
                     shown(t->group_name, buffer));
    return 0;
}

static int check_worker(const struct check *check, const struct table_worker *w) {
    char buffer[SHM_NAME_BYTES], user[SHM_NAME_BYTES];
    if (!table_name_ok(w->name, false))
        return wrong(check,
                     "worker '%s': its name is not 1 to 63 of letters, digits, _ . and -, a letter "
                     "first (DELETE the row, and INSERT it with another name)",
                     shown(w->name, buffer));
    if (w->user[0] != '\0' && !account_ok(w->user))
        return wrong(check,
                     "worker '%s': user '%s' is neither an account's name nor a number (UPDATE "
                     "worker SET user = NULL WHERE name = '%s' allows any that may attach)",
                     w->name, shown(w->user, user), w->name);
    if (number(w->user, UINT32_MAX) == NOBODY)
        return wrong(check,
                     "worker '%s': user %u (nobody) stands for every uid that can't be told, and "
                     "never matches (UPDATE worker SET user = NULL WHERE name = '%s' allows any "
                     "that may attach)",
                     w->name, NOBODY, w->name);
    if (w->instances < 1 || w->instances > TABLE_INSTANCES_MAX)
        return wrong(check,
                     "worker '%s': instances is %u; it must be 1 to %u (UPDATE worker SET "
                     "instances = 1 WHERE name = '%s')",
                     w->name, w->instances, TABLE_INSTANCES_MAX, w->name);
    if (w->instances > 1 &&
        snprintf(NULL, 0, "%s#%u", w->name, w->instances) >= (int)SHM_NAME_BYTES)
        return wrong(check,
                     "worker '%s': with '#%u' behind it the name is longer than 63 (DELETE it and "
                     "INSERT one with a shorter name)",
                     w->name, w->instances);
    if (w->may_create > check->table->size)
        return wrong(check,
                     "worker '%s': may_create is %llu, more than the segment's %llu bytes (UPDATE "
                     "worker SET may_create = 0 WHERE name = '%s')",
                     w->name, (unsigned long long)w->may_create,
                     (unsigned long long)check->table->size, w->name);
    return 0;
}

static int check_owner(const struct check *check, const struct table_section *s) {
    char name[SHM_NAME_BYTES], buffer[SHM_NAME_BYTES];
    if (!table_name_ok(s->owner, true))
        return wrong(check,
                     "section '%s': owner '%s' is not a worker's name, nor one with '#1' to '#%u' "
                     "(UPDATE section SET owner = 'worker' WHERE name = '%s')",
                     s->name, shown(s->owner, buffer), TABLE_INSTANCES_MAX, s->name);
    const uint32_t instance = split_owner(s->owner, name);
    const struct table_worker *worker = worker_named(check->table, name);
    if (worker == NULL)
        return wrong(check,
                     "section '%s': its owner '%s' has no row in the worker table (INSERT INTO "
                     "worker(name) VALUES('%s'))",
                     s->name, s->owner, name);
    if (instance > worker->instances)
        return wrong(check,
                     "section '%s': its owner '%s' is beyond the worker's %u instances (UPDATE "
                     "worker SET instances = %u WHERE name = '%s')",
                     s->name, s->owner, worker->instances, instance, name);
    if (instance == 0 && worker->instances > 1 && s->kind != SHM_KIND_QUEUE)
        return wrong(check,
                     "section '%s': its owner '%s' has %u instances, and it must name one (UPDATE "
                     "section SET owner = '%s#1' WHERE name = '%s')",
                     s->name, s->owner, worker->instances, name, s->name);
    if (instance > 0 && worker->instances == 1)
        return wrong(check,
                     "section '%s': worker '%s' has one instance, which goes by its bare name "
                     "(UPDATE section SET owner = '%s' WHERE name = '%s')",
                     s->name, name, name, s->name);
    return 0;
}

static int check_count(const struct check *check, const struct table_section *s) {
    static const char *const needs[] = {[SHM_KIND_SNAPSHOT] = "a snapshot needs 2 to 256 buffers",
                                        [SHM_KIND_SLOTS] = "slots need 1 to 65536 items",
                                        [SHM_KIND_QUEUE] = "a queue needs 1 to 16383 lanes"};
    if (table_count_ok(s->kind, s->count))
        return 0;
    if (s->kind == SHM_KIND_RAW)
        return wrong(check,
                     "section '%s': count is %u; a raw section has none (UPDATE section SET "
                     "count = NULL WHERE name = '%s')",
                     s->name, s->count, s->name);
    return wrong(check,
                 "section '%s': count is %u; %s (UPDATE section SET count = %u WHERE "
                 "name = '%s')",
                 s->name, s->count, needs[s->kind], table_count(SHM_KIND_SNAPSHOT), s->name);
}

/* What the section takes of the segment. */
static uint64_t bytes_of(const struct table_section *s) {
    const uint64_t bytes = layout_section_bytes(s->kind, s->size, s->count, s->shared);
    if (bytes == 0 || bytes > TABLE_SEGMENT_MAX)
        return UINT64_MAX;
    return layout_of_many(s->kind, s->shared) ? layout_round(bytes, SHM_PAGE) : bytes;
}

static int check_extent(const struct check *check, const struct table_section *s) {
    const uint64_t segment = check->table->size;
    if (s->size == 0)
        return wrong(check,
                     "section '%s': size is 0; it must be 1 byte at least (UPDATE section SET size "
                     "= 4096 WHERE name = '%s')",
                     s->name, s->name);
    const uint64_t bytes = bytes_of(s);
    if (bytes > segment)
        return wrong(
            check,
            "section '%s': size %llu with count %u takes more than the segment's %llu "
            "bytes (lower them, or make the segment larger: UPDATE segment SET size = ...)",
            s->name, (unsigned long long)s->size, s->count, (unsigned long long)segment);
    if (!s->pinned)
        return 0;
    if (s->offset % SHM_PAGE != 0)
        return wrong(check,
                     "section '%s': offset %llu is no multiple of %u (UPDATE section SET offset = "
                     "NULL WHERE name = '%s' leaves the place to the manager)",
                     s->name, (unsigned long long)s->offset, SHM_PAGE, s->name);
    if (s->offset > segment - bytes)
        return wrong(check,
                     "section '%s': from offset %llu its %llu bytes reach beyond the segment's "
                     "%llu (UPDATE section SET offset = NULL WHERE name = '%s' leaves the place "
                     "to the manager)",
                     s->name, (unsigned long long)s->offset, (unsigned long long)bytes,
                     (unsigned long long)segment, s->name);
    return 0;
}

static int check_times(const struct check *check, const struct table_section *s) {
    if (s->stale_ms > TABLE_STALE_MS_MAX)
        return wrong(check,
                     "section '%s': stale_ms is %llu; it must be at most %llu, or 0 for never "
                     "(UPDATE section SET stale_ms = 0 WHERE name = '%s')",
                     s->name, (unsigned long long)s->stale_ms,
                     (unsigned long long)TABLE_STALE_MS_MAX, s->name);
    if (table_word(TABLE_STAMPS, s->stamp) == NULL || table_word(TABLE_NOTIFIES, s->notify) == NULL)
        return wrong(check,
                     "section '%s': stamp must be precise, coarse or none, and notify demand, "
                     "always or never (UPDATE section SET stamp = 'precise', notify = 'demand' "
                     "WHERE name = '%s')",
                     s->name, s->name);
    const char *untimed = s->kind == SHM_KIND_RAW        ? "a raw section"
                          : s->kind == SHM_KIND_QUEUE    ? "a queue"
                          : s->stamp == TABLE_STAMP_NONE ? "stamp 'none'"
                                                         : NULL;
    if (s->stale_ms > 0 && untimed != NULL)
        return wrong(check,
                     "section '%s': stale_ms is %llu, but %s has no times to tell by (UPDATE "
                     "section SET stale_ms = 0 WHERE name = '%s')",
                     s->name, (unsigned long long)s->stale_ms, untimed, s->name);
    return 0;
}

static int check_access(const struct check *check, const struct table_section *s) {
    const bool many = layout_of_many(s->kind, s->shared);
    if ((s->read_group[0] != '\0' && !account_ok(s->read_group)) ||
        (s->write_group[0] != '\0' && !account_ok(s->write_group)))
        return wrong(check,
                     "section '%s': read_group and write_group are a group's name or number, or "
                     "NULL (UPDATE section SET read_group = NULL, write_group = NULL WHERE name = "
                     "'%s')",
                     s->name, s->name);
    if (s->read_group[0] != '\0' && check->table->backend == SHM_BACKEND_SYSV)
        return wrong(check,
                     "section '%s': read_group is '%s', which backend sysv can't enforce: whoever "
                     "may attach may read (UPDATE section SET read_group = NULL WHERE name = '%s')",
                     s->name, s->read_group, s->name);
    if (s->write_group[0] != '\0' && !many)
        return wrong(check,
                     "section '%s': write_group is '%s', but only its owner writes a %s section "
                     "%s(UPDATE section SET write_group = NULL WHERE name = '%s')",
                     s->name, s->write_group, table_word(TABLE_KINDS, s->kind),
                     s->kind == SHM_KIND_RAW ? "that isn't shared " : "", s->name);
    if (s->shared && s->kind != SHM_KIND_RAW && s->kind != SHM_KIND_SLOTS)
        return wrong(check,
                     "section '%s': shared is for raw and slots, not for a %s (UPDATE section SET "
                     "shared = 0 WHERE name = '%s')",
                     s->name, table_word(TABLE_KINDS, s->kind), s->name);
    if (s->persist && s->kind == SHM_KIND_QUEUE)
        return wrong(check,
                     "section '%s': persist is for values, and a queue's messages would come twice "
                     "(UPDATE section SET persist = 0 WHERE name = '%s')",
                     s->name, s->name);
    return 0;
}

static int check_slots(const struct check *check, const struct table_section *s) {
    if (table_word(TABLE_CLEARS, s->clear) == NULL)
        return wrong(check,
                     "section '%s': clear must be never, free or restart (UPDATE section SET clear "
                     "= 'never' WHERE name = '%s')",
                     s->name, s->name);
    if (s->kind == SHM_KIND_SLOTS || (!s->pregrab && s->clear == TABLE_CLEAR_NEVER))
        return 0;
    return wrong(check,
                 "section '%s': %s is for slots, not for a %s (UPDATE section SET pregrab = 0, "
                 "clear = 'never' WHERE name = '%s')",
                 s->name, s->pregrab ? "pregrab" : "clear", table_word(TABLE_KINDS, s->kind),
                 s->name);
}

static int check_section(const struct check *check, const struct table_section *s) {
    char buffer[SHM_NAME_BYTES];
    if (!table_name_ok(s->name, false))
        return wrong(check,
                     "section %llu: name '%s' is not 1 to 63 of letters, digits, _ . and -, a "
                     "letter first (UPDATE section SET name = 'other' WHERE id = %llu)",
                     (unsigned long long)s->id, shown(s->name, buffer), (unsigned long long)s->id);
    if (table_word(TABLE_KINDS, s->kind) == NULL)
        return wrong(check,
                     "section '%s': kind must be raw, snapshot, slots or queue (UPDATE section SET "
                     "kind = 'snapshot' WHERE name = '%s')",
                     s->name, s->name);
    if (!printable(s->format))
        return wrong(check,
                     "section '%s': format '%s' is not at most 63 printable ASCII characters "
                     "(UPDATE section SET format = NULL WHERE name = '%s')",
                     s->name, shown(s->format, buffer), s->name);
    int r = check_owner(check, s);
    if (r == 0)
        r = check_count(check, s);
    if (r == 0)
        r = check_extent(check, s);
    if (r == 0)
        r = check_times(check, s);
    if (r == 0)
        r = check_slots(check, s);
    return r < 0 ? r : check_access(check, s);
}

/* ---- rows beside one another */

static int by_name(const void *a, const void *b) {
    const char *const *x = a, *const *y = b;
    const int order = strcasecmp(*x, *y);
    return order != 0 ? order : strcmp(*x, *y);
}

static int check_apart(const struct check *check, const char *row, const char **names, size_t n) {
    qsort(names, n, sizeof *names, by_name);
    for (size_t i = 1; i < n; i++)
        if (strcasecmp(names[i - 1], names[i]) == 0)
            return wrong(check,
                         "%s '%s': there is a %s '%s' too, and names that differ only in case are "
                         "one name (rename or delete one of them)",
                         row, names[i - 1], row, names[i]);
    return 0;
}

static int check_names(const struct check *check) {
    const struct table *t = check->table;
    const size_t most = t->workers_n > t->sections_n ? t->workers_n : t->sections_n;
    const char **names = calloc(most + 1, sizeof *names);
    if (names == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < t->workers_n; i++)
        names[i] = t->workers[i].name;
    int r = check_apart(check, "worker", names, t->workers_n);
    for (size_t i = 0; r == 0 && i < t->sections_n; i++)
        names[i] = t->sections[i].name;
    if (r == 0)
        r = check_apart(check, "section", names, t->sections_n);
    free(names);
    return r;
}

static int check_order(const struct check *check) {
    const struct table *t = check->table;
    char buffer[SHM_NAME_BYTES];
    for (size_t i = 1; i < t->workers_n; i++)
        if (strcmp(t->workers[i - 1].name, t->workers[i].name) > 0)
            return wrong(check, "worker '%s': the rows don't come sorted by name",
                         shown(t->workers[i].name, buffer));
    for (size_t i = 0; i < t->sections_n; i++)
        if (t->sections[i].id == 0 || (i > 0 && t->sections[i - 1].id >= t->sections[i].id))
            return wrong(check, "section '%s': its id %llu is not above 0 and its predecessor's",
                         shown(t->sections[i].name, buffer), (unsigned long long)t->sections[i].id);
    return 0;
}

int table_check(const struct table *table, char *error, size_t error_bytes) {
    const struct check check = {table, error, error_bytes};
    int r = check_segment(&check);
    for (size_t i = 0; r == 0 && i < table->workers_n; i++)
        r = check_worker(&check, &table->workers[i]);
    if (r == 0)
        r = check_order(&check); /* the sections' owners are looked up by it */
    for (size_t i = 0; r == 0 && i < table->sections_n; i++)
        r = check_section(&check, &table->sections[i]);
    return r < 0 ? r : check_names(&check);
}
