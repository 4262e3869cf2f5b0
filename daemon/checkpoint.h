/* SPDX-License-Identifier: Apache-2.0
 *
 * Checkpoints: which sections are saved, when, and how they come back.  A checkpoint is written in
 * steps, each a small transaction between two rounds of the event loop; the last makes it count.
 * What did not change is neither read (a snapshot's version says so) nor written.
 */
#ifndef SHM_DAEMON_CHECKPOINT_H
#define SHM_DAEMON_CHECKPOINT_H

#include "state_checkpoint.h"

#include <systemd/sd-event.h>

#define CHECKPOINT_REFUSED_MAX 8u /* lines kept about values that could not be restored */

struct client;
struct json_t;
struct manager;
struct segment;
struct slots;

/* What is saved of the section in a slot. */
struct checkpoint_mark {
    uint64_t section_id, incarnation; /* of whom the rest speaks */
    uint64_t version;
    uint32_t data_crc;
    bool known;  /* saved, or restored, with that version and sum */
    bool staged; /* of the run that is under way, with those below */
    uint64_t staged_version;
    uint32_t staged_crc;
};

/* A value in private memory. */
struct checkpoint_value {
    struct saved_value about;
    uint8_t *data; /* NULL: none */
};

struct checkpoint_run {
    bool active;
    struct client *asker; /* NULL: nobody waits for it, or not any more */
    char glob[256];       /* "" = all */
    uint32_t slot;        /* to look at next */
    struct checkpoint_value value;
    int64_t id;  /* of its chunks; 0: none was given out yet */
    uint64_t at; /* bytes of it that are written */
    bool staged; /* something is */
    unsigned saved, unchanged, unread, forgotten;
    uint64_t bytes;
    char error[400]; /* the first of those unread */
};

struct checkpoint {
    bool open;
    uint8_t boot_id[16];
    sd_event_source *timer;
    struct checkpoint_mark *marks; /* by slot of the layout */
    uint32_t slots;
    struct checkpoint_run run;
    uint64_t step_bytes; /* that a transaction writes, by what the last ones took */
    uint64_t pruned_gen; /* generation up to which rows without a section were looked for */
    uint64_t saved_ns;   /* when the checkpoint in force was made; 0: there is none */
    bool dirty;          /* chunks that nothing refers to may be left */
    char error[400];     /* of the last attempt; "" = none */
    unsigned restored, refused;
    char why[CHECKPOINT_REFUSED_MAX][400]; /* of the first refused */
};

/* Is a section of that kind and state saved? */
bool checkpoint_wants(const struct shm_section *section);

/* With the table applied: finds out what is saved, and begins to look for changes. */
int checkpoint_open(struct manager *manager);

/* Saves what changed, and ends. */
void checkpoint_close(struct manager *manager);

/* All sections have other places: a run that is under way begins anew. */
void checkpoint_restart(struct manager *manager);

/* A client asks for one of the sections that match, and is answered when it is done. */
void checkpoint_ask(struct client *client, const char *glob);

/* That client is gone. */
void checkpoint_disown(struct client *client);

/* For the status: {"time_ns": , "error": , "restored": , "not_restored": ["section 'cam': ..."]}.
 */
struct json_t *checkpoint_json(const struct manager *manager);

/* ---- checkpoint_take.c */

/* Copies the section's value when it isn't the one that `mark` knows.  1: here it is; 0: there is
 * nothing to save; or why it can't be read. */
int checkpoint_take(struct manager *manager, const struct shm_section *section,
                    const struct checkpoint_mark *mark, struct checkpoint_value *ret);
void checkpoint_value_clear(struct checkpoint_value *value);

/* A section's slots as they are without anybody who holds any, which is what is saved of them. */
int checkpoint_slots(const struct segment *s, const struct shm_section *section, struct slots *ret,
                     const char **field);

/* ---- checkpoint_prune.c */

/* Forgets saved values whose section is gone, and renames those whose section was.  Within the last
 * transaction of a run (`*open`), or in one that it opens.  A run for some sections leaves the
 * others alone. */
int checkpoint_prune(struct manager *manager, bool *open);

/* ---- checkpoint_restore.c */

/* Slots of the sections that are saved, by id.  -ENOMEM; free(places->at). */
struct checkpoint_places {
    struct checkpoint_place {
        uint64_t section_id;
        uint32_t slot;
    } * at;
    size_t n;
};
int checkpoint_places_sort(struct checkpoint_places *ret, const struct layout *layout);
uint32_t checkpoint_place(const struct checkpoint_places *places, uint64_t section_id);

/* The mark of a slot of that layout, made to speak of its section; NULL: no memory. */
struct checkpoint_mark *checkpoint_mark(struct checkpoint *checkpoint, const struct layout *layout,
                                        uint32_t slot);

/* Into the sections of a segment that is made and not yet published.  What can't be restored is
 * left empty, and is said by checkpoint_open(). */
void checkpoint_restore(struct manager *manager, const struct layout *layout);

#endif
