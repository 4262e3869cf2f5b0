/* SPDX-License-Identifier: Apache-2.0
 *
 * state.db with any bytes, or with any journal to play back: it opens, or a new one takes its
 * place, or one line says why not; what it gives holds together, and it takes an edit and a
 * checkpoint afterwards.
 */
#include "core/crc32c.h"
#include "core/layout.h"
#include "core/plan.h"
#include "fuzz_file.h"
#include "fuzz_segment.h"
#include "state_checkpoint.h"
#include "table_json.h"

#include <dirent.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct fuzz_file file;
static struct table table;

/* A value of two chunks. */
static int save(struct state_db *db) {
    static const char text[] = "a value that is kept";
    const struct saved_value value = {.section_id = 1,
                                      .name = "temps",
                                      .kind = SHM_KIND_SNAPSHOT,
                                      .bytes = sizeof text,
                                      .data_crc = crc32c(text, sizeof text)};
    int r = state_save_begin(db);
    int64_t id = r < 0 ? r : state_save_id(db);
    r = id < 0 ? (int)id : state_save_chunk(db, id, 0, text, 7);
    if (r == 0)
        r = state_save_chunk(db, id, 1, text + 7, sizeof text - 7);
    if (r == 0)
        r = state_save_value(db, id, &value);
    if (r == 0)
        r = state_save_flip(db, 5);
    if (r == 0)
        r = state_save_sweep(db, 100000);
    return state_save_end(db, r < 0 ? r : 0);
}

/* Damaged or not, it stays within the room that it says it needs. */
static int take_saved(const struct saved_value *value, int64_t id, bool intact, void *where) {
    uint8_t *room = value->bytes > FILE_MAX ? NULL : malloc(value->bytes + 1);
    if (room != NULL && state_saved_data(where, id, value, room) == 0 && intact)
        MUST(crc32c(room, value->bytes) == value->data_crc);
    free(room);
    return 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    struct state_db *db;
    char error[512];
    int64_t edit;
    segment_make();
    segment_table(&table);
    file_name(&file, "state.db", "-journal");
    MUST(state_db_open(&db, file.path, error, sizeof error) == 0);
    MUST(state_db_intend(db, "uid 0", "everything", &segment_layout, &table, &edit) == 0);
    MUST(state_db_done(db, edit) == 0);
    MUST(state_db_remember(db, "shmid", 5) == 0);
    MUST(save(db) == 0);
    table.sections[0].stale_ms = 100;
    MUST(state_db_intend(db, "uid 0", "more", &segment_layout, &table, &edit) == 0);
    state_db_close(db);
    file_keep(&file);
    return 0;
}

/* Everything beside the database: journals, and what was set aside. */
static void clean(void) {
    DIR *dir = opendir(fuzz_directory());
    for (const struct dirent *e; (e = readdir(dir)) != NULL;)
        if (e->d_name[0] != '.')
            unlinkat(dirfd(dir), e->d_name, 0);
    closedir(dir);
}

static void use_past(struct state_db *db, unsigned edit) {
    char when[16], error[512] = "";
    json_t *then = NULL;
    struct table found;
    snprintf(when, sizeof when, "%s%u", edit % 2 ? "edit:" : "", edit);
    int r = state_db_table_at(db, when, &then, error, sizeof error);
    MUST(one_line(error) && (r == 0 || error[0] != '\0'));
    if (r == 0) {
        MUST(table_json_read(&found, then) == 0);
        table_clear(&found);
        json_decref(then);
    }
}

static void use(struct state_db *db, struct input *input) {
    struct layout layout;
    struct table found;
    char error[512];
    json_t *history = NULL;
    int64_t edit;
    state_db_settle(db, take(input, 1) % 4);
    if (state_db_placement(db, &layout) == 0) {
        MUST(layout_check(&layout, error, sizeof error) == 0);
        layout_clear(&layout);
    }
    if (state_db_good_table(db, &found) == 0) {
        MUST(table_check(&found, error, sizeof error) == 0);
        table_clear(&found);
    }
    if (state_db_history(db, 10, &history) == 0)
        json_decref(history);
    use_past(db, take(input, 1) % 4);
    state_saved_each(db, take_saved, db);
    state_db_generation(db);
    state_db_recall(db, "shmid", -1);
    if (state_db_intend(db, "uid 0", "again", &segment_layout, &table, &edit) == 0)
        state_db_done(db, edit);
    state_db_rejected(db, "uid 0", "because");
    if (save(db) == 0)
        MUST(state_saved_when(db) == 5);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    struct input input = {data, data + bytes};
    struct state_db *db = NULL;
    char error[512] = "";
    if (take_below(&input, 4) == 0)
        file_any(&file, &input);
    else
        file_damaged(&file, &input);
    int r = state_db_open(&db, file.path, error, sizeof error);
    MUST(one_line(error));
    MUST(r == 0 || error[0] != '\0');
    if (r == 0) {
        use(db, &input);
        state_db_close(db);
    }
    clean();
    return 0;
}
