/* SPDX-License-Identifier: Apache-2.0
 *
 * Random edits that may be made: of each kind that shm-table(5) tells of.
 */
#include "editor.h"

#include <string.h>
#include <unistd.h>

#define STALE_MS                                                                                   \
    (UINT64_C(100) * 3600000) /* never in this test: who is killed publishes nothing               \
                               */
#define HOT 12u               /* sections in a burst */

static uint64_t any_size(struct editor *editor) {
    const uint64_t largest = editor_choose(editor, 6) == 0 ? LARGEST : 4096;
    return 64 + random_next(&editor->random) % (largest - 64) / 8 * 8;
}

static unsigned any_count(struct editor *editor) {
    return 2 + editor_choose(editor, 7);
}

/* Every second time for at once, whoever holds the section. */
static bool any_force(struct editor *editor) {
    return editor_choose(editor, 2) == 0;
}

static void edit_size(struct editor *editor, unsigned section) {
    if (editor_choose(editor, 3) == 0)
        edit(editor, EITHER, any_force(editor),
             "UPDATE section SET size = min(%llu, size + %u) WHERE id = %u",
             (unsigned long long)LARGEST, 64 + editor_choose(editor, 8192) / 8 * 8, section + 1);
    else
        edit(editor, EITHER, any_force(editor), "UPDATE section SET size = %llu WHERE id = %u",
             (unsigned long long)any_size(editor), section + 1);
}

static void edit_count(struct editor *editor, unsigned section) {
    edit(editor, EITHER, any_force(editor),
         "UPDATE section SET count = %u WHERE id = %u AND kind = 'snapshot'", any_count(editor),
         section + 1);
}

static void edit_pin(struct editor *editor, unsigned section) {
    if (editor_choose(editor, 2) == 0)
        edit(editor, EITHER, any_force(editor), "UPDATE section SET offset = NULL WHERE id = %u",
             section + 1);
    else
        edit(editor, EITHER, any_force(editor), "UPDATE section SET offset = %llu WHERE id = %u",
             (unsigned long long)(SEGMENT / 4096 / 2 +
                                  editor_choose(editor, SEGMENT / 4096 / 2 - 1024)) *
                 4096,
             section + 1);
}

static void edit_manners(struct editor *editor, unsigned section) {
    static const char *const stamps[] = {"precise", "coarse", "none"};
    static const char *const notifies[] = {"demand", "always", "never"};
    const unsigned stamp = editor_choose(editor, 3);
    edit(editor, EITHER, any_force(editor),
         "UPDATE section SET stamp = '%s', notify = '%s', persist = %u, format = 'f/%u',"
         " stale_ms = CASE kind WHEN 'raw' THEN 0 ELSE %llu END WHERE id = %u",
         stamps[stamp], notifies[editor_choose(editor, 3)], editor_choose(editor, 2),
         editor_choose(editor, 10),
         stamp == 2 ? 0 : (unsigned long long)(editor_choose(editor, 3) * STALE_MS), section + 1);
}

static void edit_kind(struct editor *editor, unsigned section) {
    edit(editor, EITHER, any_force(editor),
         "UPDATE section SET kind = CASE kind WHEN 'raw' THEN 'snapshot' ELSE 'raw' END,"
         " count = CASE kind WHEN 'raw' THEN %u END, stale_ms = 0 WHERE id = %u",
         any_count(editor), section + 1);
}

/* Only one backend enforces it. */
static void edit_readers(struct editor *editor, unsigned section) {
    if (!on_memfd())
        return;
    edit(editor, EITHER, any_force(editor),
         "UPDATE section SET read_group = CASE WHEN read_group IS NULL THEN '%u' END WHERE id = %u",
         getgid(), section + 1);
}

static void edit_several(struct editor *editor, unsigned section) {
    const unsigned n = board->sections;
    edit(editor, EITHER, any_force(editor),
         "BEGIN; UPDATE section SET size = %llu WHERE id = %u;"
         "UPDATE section SET size = %llu, count = CASE kind WHEN 'snapshot' THEN %u END"
         " WHERE id = %u; DELETE FROM section WHERE id = %u AND %u; COMMIT;",
         (unsigned long long)any_size(editor), section + 1, (unsigned long long)any_size(editor),
         any_count(editor), (section + 1) % n + 1, (section + 2) % n + 1,
         editor_choose(editor, 4) == 0);
}

static void add(struct editor *editor, unsigned section) {
    char name[16];
    name_section(name, section);
    edit(editor, EITHER, any_force(editor),
         "INSERT INTO section(id, name, owner, size, count) VALUES(%u, '%s', 'w%u', %llu, %u)"
         " ON CONFLICT DO NOTHING",
         section + 1, name, editor_choose(editor, WORKERS), (unsigned long long)any_size(editor),
         any_count(editor));
}

/* ---- names: the board has those that run, and whoever is too early finds none or another's */

static bool name_taken(unsigned name) {
    for (unsigned i = 0; i < board->sections; i++)
        if (atomic_load(&board->progress[i].name) == name)
            return true;
    return false;
}

static void edit_name(struct editor *editor, unsigned section) {
    unsigned name = editor_choose(editor, 2 * board->sections);
    char text[16];
    while (name_taken(name))
        name = (name + 1) % (2 * board->sections);
    name_text(text, name);
    if (edit(editor, EITHER, any_force(editor), "UPDATE section SET name = '%s' WHERE id = %u",
             text, section + 1) == 0 &&
        editor->exists[section])
        atomic_store(&board->progress[section].name, name);
}

static void swap_names(struct editor *editor, unsigned section) {
    const unsigned other = editor_existing(editor);
    struct progress *a = &board->progress[section], *b = &board->progress[other];
    const unsigned a_name = atomic_load(&a->name), b_name = atomic_load(&b->name);
    char a_text[16], b_text[16];
    name_section(a_text, section);
    name_section(b_text, other);
    if (section == other || !editor->exists[section] || !editor->exists[other] ||
        edit(editor, EITHER, any_force(editor),
             "BEGIN; UPDATE section SET name = 'other' WHERE id = %u;"
             "UPDATE section SET name = '%s' WHERE id = %u;"
             "UPDATE section SET name = '%s' WHERE id = %u; COMMIT;",
             section + 1, a_text, other + 1, b_text, section + 1) < 0)
        return;
    atomic_store(&a->name, b_name);
    atomic_store(&b->name, a_name);
}

/* ---- what a worker has */

/* Its new owner begins where the holder is, who isn't asked: so not by force. */
static void edit_owner(struct editor *editor, unsigned section) {
    edit(editor, EITHER, false, "UPDATE section SET owner = 'w%u' WHERE id = %u",
         editor_choose(editor, WORKERS), section + 1);
}

static void remove_one(struct editor *editor, unsigned section) {
    edit(editor, EITHER, any_force(editor), "DELETE FROM section WHERE id = %u", section + 1);
}

void edit_at_random(struct editor *editor, bool burst) {
    static const struct {
        void (*make)(struct editor *editor, unsigned section);
        unsigned often;
    } kinds[] = {{edit_size, 10},  {edit_several, 4}, {edit_count, 3}, {edit_pin, 3},
                 {edit_kind, 3},   {edit_name, 2},    {swap_names, 1}, {edit_manners, 3},
                 {add, 3},         {remove_one, 2},   {edit_owner, 1}, {edit_readers, 2},
                 {edit_wrongly, 5}};
    unsigned section = editor_choose(editor, board->sections), all = 0, i = 0;
    if (!burst)
        editor->hot = section;
    else
        section = (editor->hot + section % HOT) % board->sections;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        all += kinds[k].often;
    unsigned what = editor_choose(editor, all);
    for (; what >= kinds[i].often; i++)
        what -= kinds[i].often;
    kinds[i].make(editor, section);
}

static unsigned owned_by(struct editor *editor, unsigned worker) {
    char sql[128];
    snprintf(sql, sizeof sql,
             "SELECT id FROM section WHERE owner = 'w%u' ORDER BY (id * %u) %% 1009 LIMIT 1",
             worker, 1 + editor_choose(editor, 1000));
    return editor_number(editor, sql);
}

void edit_without(struct editor *editor, unsigned worker) {
    const unsigned id = owned_by(editor, worker);
    if (id == 0)
        return;
    if (editor_choose(editor, 3) == 0)
        edit(editor, PATIENT, false, "DELETE FROM section WHERE id = %u", id);
    else
        edit(editor, PATIENT, false, "UPDATE section SET owner = 'w%u', size = %llu WHERE id = %u",
             (worker + 1 + editor_choose(editor, WORKERS - 1)) % WORKERS,
             (unsigned long long)any_size(editor), id);
}

/* Each section gets a place of its own in the new one, which is no move. */
void edit_segment(struct editor *editor) {
    memset(editor->incarnations, 0, sizeof editor->incarnations);
    if (edit(editor, PATIENT, false, "UPDATE segment SET size = %llu",
             (unsigned long long)SEGMENT + editor_choose(editor, 5) * (UINT64_C(8) << 20)) == 0)
        editor->resizes++;
}
