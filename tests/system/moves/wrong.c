/* SPDX-License-Identifier: Apache-2.0
 *
 * Edits that nobody may make: some are refused by the table's own rules, and the manager refuses
 * them where an editor has switched those off.
 */
#include "editor.h"

/* @ is a row's id and & another's, both of which exist, and ^ a page somewhere. */
static const struct {
    enum expected expected;
    const char *sql;
} edits[] = {
    /* what no section can be */
    {REFUSED, "UPDATE section SET size = 0 WHERE id = @"},
    {REFUSED, "UPDATE section SET size = -1 WHERE id = @"},
    {REFUSED, "UPDATE section SET size = 70368744177664 WHERE id = @"},
    {REFUSED, "UPDATE section SET count = 1, kind = 'snapshot' WHERE id = @"},
    {REFUSED, "UPDATE section SET count = 300, kind = 'snapshot', size = 64 WHERE id = @"},
    {REFUSED, "UPDATE section SET count = 3, kind = 'raw', stale_ms = 0 WHERE id = @"},
    {REFUSED, "UPDATE section SET kind = 'pile' WHERE id = @"},
    {REFUSED,
     "UPDATE section SET kind = 'queue', count = 3, stale_ms = 0, persist = 1 WHERE id = @"},
    {REFUSED, "UPDATE section SET kind = 'slots', count = 0 WHERE id = @"},
    {REFUSED, "UPDATE section SET stamp = 'odd' WHERE id = @"},
    {REFUSED, "UPDATE section SET notify = 'odd' WHERE id = @"},
    {REFUSED, "UPDATE section SET stamp = 'none', stale_ms = 5 WHERE id = @"},
    {REFUSED, "UPDATE section SET stale_ms = -5 WHERE id = @"},
    {REFUSED, "UPDATE section SET shared = 1, kind = 'snapshot', count = 4 WHERE id = @"},
    {REFUSED, "UPDATE section SET write_group = 'root' WHERE id = @"},
    {REFUSED, "UPDATE section SET read_group = 'there is none' WHERE id = @"},
    {REFUSED, "UPDATE section SET format = char(7) WHERE id = @"},
    {REFUSED, "UPDATE section SET name = '9 lives' WHERE id = @"},
    {REFUSED, "UPDATE section SET name = (SELECT upper(name) FROM section WHERE id = &)"
              " WHERE id = @ AND id <> &"},
    {REFUSED, "UPDATE section SET owner = '' WHERE id = @"},
    {REFUSED, "UPDATE section SET owner = 'no one' WHERE id = @"},
    {REFUSED, "UPDATE section SET owner = 'w0#3' WHERE id = @"},
    {REFUSED, "UPDATE section SET id = 5000 WHERE id = @"},
    {REFUSED, "DELETE FROM worker WHERE name = (SELECT owner FROM section WHERE id = @)"},
    {REFUSED, "INSERT INTO worker(name, instances) VALUES('many', 0)"},
    {REFUSED, "INSERT INTO worker(name, user) VALUES('whose', 'no such account')"},
    {REFUSED, "UPDATE segment SET mode = '0777'"},
    {REFUSED, "UPDATE segment SET group_name = 'no group'"},
    {REFUSED, "UPDATE segment SET backend = CASE backend WHEN 'sysv' THEN 'memfd' ELSE 'sysv' END"},
    /* where no section can be */
    {REFUSED, "UPDATE section SET offset = 0 WHERE id = @"},
    {REFUSED, "UPDATE section SET offset = 4097 WHERE id = @"},
    {REFUSED, "UPDATE section SET offset = -4096 WHERE id = @"},
    {REFUSED, "UPDATE section SET offset = 70368744177664 WHERE id = @"},
    {REFUSED, "UPDATE section SET offset = ^ WHERE id IN (@, &) AND @ <> &"},
    /* there is no room for five of them */
    {REFUSED, "UPDATE section SET size = 16000000, count = CASE kind WHEN 'snapshot' THEN 2 END"},
    /* to each other's places, and to its own */
    {EITHER, "UPDATE section SET offset = CASE id"
             " WHEN @ THEN (SELECT offset FROM section WHERE id = &)"
             " ELSE (SELECT offset FROM section WHERE id = @) END WHERE id IN (@, &)"},
    {EITHER, "UPDATE section SET size = size + 4096 WHERE id = @ AND offset IS NOT NULL"},
    /* one wrong row is enough */
    {REFUSED, "BEGIN; UPDATE section SET size = size + 64 WHERE id <> @;"
              "UPDATE section SET offset = 0 WHERE id = @; COMMIT;"},
    {REFUSED, "BEGIN; DELETE FROM section WHERE id = &;"
              "INSERT INTO section(name, owner, size) VALUES('more', 'w0', 0); COMMIT;"},
};

void edit_wrongly(struct editor *editor, unsigned section) {
    const unsigned which = editor_choose(editor, sizeof edits / sizeof *edits);
    const unsigned page = SEGMENT / 4096 / 2 + editor_choose(editor, SEGMENT / 4096 / 4);
    char sql[512];
    size_t at = 0;
    if (!editor->exists[section])
        section = editor_existing(editor);
    const unsigned other = editor_existing(editor);
    for (const char *c = edits[which].sql; *c != '\0' && at < sizeof sql; c++)
        at += (size_t)(*c == '@'   ? snprintf(sql + at, sizeof sql - at, "%u", section + 1)
                       : *c == '&' ? snprintf(sql + at, sizeof sql - at, "%u", other + 1)
                       : *c == '^' ? snprintf(sql + at, sizeof sql - at, "%u", page * 4096)
                                   : snprintf(sql + at, sizeof sql - at, "%c", *c));
    editor_rules(editor, editor_choose(editor, 2) == 0);
    edit(editor, edits[which].expected, editor_choose(editor, 2) == 0, "%s", sql);
    editor_rules(editor, true);
}
