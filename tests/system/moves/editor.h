/* SPDX-License-Identifier: Apache-2.0
 *
 * The editor: changes the table at random, has it applied, and looks what became of the sections.
 * What is refused has to say why, in the answer and in the history, and is taken back.
 */
#ifndef SHM_TESTS_MOVES_EDITOR_H
#define SHM_TESTS_MOVES_EDITOR_H

#include "moves.h"

#define SEGMENT (UINT64_C(64) << 20) /* at least */
#define WHY     512u

struct sqlite3;
struct editor {
    struct sqlite3 *table;
    uint64_t random;
    shmc *segment; /* to see what became of it */
    void (*revive)(void *reviver);
    void *reviver;  /* who starts a manager that isn't there */
    unsigned hot;   /* row that a burst of edits is about */
    bool by_itself; /* the manager applies what is committed */
    unsigned long long edits, moves, held, resizes;
    unsigned long long rejected, at_once; /* by the manager; by the table's own rules */
    unsigned long long found;             /* by the manager itself */
    unsigned long long pending, untried;  /* of these */
    bool exists[SECTIONS_MAX];
    uint64_t offsets[SECTIONS_MAX], incarnations[SECTIONS_MAX];
    struct space {
        uint64_t bytes;   /* in arenas */
        unsigned objects; /* of memory, that the manager holds */
    } space;              /* of no sections */
    char last[1024];      /* edit */
};

/* What an edit has to come to. */
enum expected {
    EITHER,
    REFUSED,
    PATIENT, /* either; it may take the manager a moment to see that a worker has ended */
    APPLIED, /* with the same patience */
};

/* `random`, `segment`, `revive` and `reviver` are set; makes the sections. */
void editor_open(struct editor *editor, const char *table);
void editor_close(struct editor *editor);

/* A random edit that any time is good for; in a burst the sections are few. */
void edit_at_random(struct editor *editor, bool burst);

/* One that takes something from a worker, who isn't there. */
void edit_without(struct editor *editor, unsigned worker);

/* Gives the segment another size, at a time when there is no worker. */
void edit_segment(struct editor *editor);

/* One that nobody may make (wrong.c). */
void edit_wrongly(struct editor *editor, unsigned section);

/* From here on edits are applied as they are committed, or when `reload` is asked for. */
void edit_by_itself(struct editor *editor, bool by_itself);

/* Removes everything: none of the space may be left. */
void editor_empty(struct editor *editor);

/* ---- among them */

unsigned editor_choose(struct editor *editor, unsigned n);
/* The number that a query gives; 0: none. */
unsigned editor_number(struct editor *editor, const char *sql);
/* The table's own checks, which an editor may switch off. */
void editor_rules(struct editor *editor, bool on);
/* One that exists, or any. */
unsigned editor_existing(struct editor *editor);

/* Changes the table and has it applied; 0, or it was refused and is taken back. */
__attribute__((format(printf, 4, 5))) int edit(struct editor *editor, enum expected expected,
                                               bool force, const char *format, ...);

/* Is what runs what the rows of that table say, and does nothing overlap (look.c)? */
void editor_look(struct editor *editor, const char *rows);

#endif
