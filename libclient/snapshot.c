/* SPDX-License-Identifier: Apache-2.0
 *
 * Snapshot sections: publishing, and reading without waiting.  What was read counts when the
 * directory's generation behind the copy is the one that the section is bound by; otherwise the
 * place may have become another section's meanwhile, and it is looked up and read again.
 */
#include "client.h"

#define TRIES 1000 /* tables that may change under one read */

/* ---- publishing */

__attribute__((noinline, cold)) int snapshot_ready(shmc_section *section) {
    int r;
    do {
        r = section_ready_to_write(section, SHMC_SNAPSHOT);
        if (r == 0 && section->writer == NULL)
            r = writer_open(section);
    } while (r == -EAGAIN && (r = section_resolve(section)) == 0);
    if (r == 0 && __atomic_load_n(&section->writer->late, __ATOMIC_RELAXED))
        writer_catch_up(section->segment, section->writer, false);
    return r;
}

static inline int ready_to_publish(shmc_section *section) {
    if (section_is_ours(section, SHMC_SNAPSHOT) && section->writer != NULL &&
        !__atomic_load_n(&section->writer->late, __ATOMIC_RELAXED)) {
        left_pace(section);
        return 0;
    }
    return snapshot_ready(section);
}

static int not_published(shmc_section *section, int code, size_t bytes) {
    if (code == -EMSGSIZE)
        return error_note(section, code, NOTE_TOO_LARGE, bytes, section->snapshot.size);
    if (code == -EBUSY)
        return error_note(section, code, NOTE_BUSY, 0, 0);
    return code;
}

/* It may be larger than the place before takes, where the writer still is. */
__attribute__((noinline, cold)) static int publish_again(shmc_section *section, const void *data,
                                                         size_t bytes) {
    section->insists = true;
    int r = ready_to_publish(section);
    section->insists = false;
    return r < 0 ? r : snapshot_publish(&section->writer->core, data, bytes);
}

/* Did the segment get a successor under the publish, which may have come too late to be copied?  If
 * it did, to publish it once more there is right as well. */
static inline bool came_late(const shmc_section *section) {
    /* Store head, load state here pairs with store state, load head in the manager: it has the full
     * barrier for both, unless this process can't have it so. */
    if (section->writer->core.ordered)
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
    else
        shared_fence_full();
    return __builtin_expect(directory_replaced(&section->mapping->directory), false);
}

int shmc_publish(shmc_section *section, const void *data, size_t bytes) {
    int r = ready_to_publish(section);
    if (r < 0)
        return r;
    r = snapshot_publish(&section->writer->core, data, bytes);
    if (r == -EMSGSIZE && !section_settled(section))
        r = publish_again(section, data, bytes);
    while (r == 0 && came_late(section))
        r = publish_again(section, data, bytes);
    return r == 0 ? 0 : not_published(section, r, bytes);
}

int shmc_begin(shmc_section *section, void **data, size_t *room) {
    int r = ready_to_publish(section);
    if (r < 0)
        return r;
    r = snapshot_begin(&section->writer->core, data, room);
    if (r < 0)
        return not_published(section, r, 0);
    __atomic_add_fetch(&section->writer->references, 1, __ATOMIC_RELAXED);
    section->begun = section->writer;
    section->begun_at = *data;
    mapping_lend(section, &section->begun_in);
    return 0;
}

/* The value is lost: its place is left as it is when it isn't the section's any more. */
static void drop_begun(shmc_section *section) {
    struct writer *begun = section->begun;
    section->begun = NULL;
    if (begun == section->writer)
        snapshot_abort(&begun->core);
    writer_release(section->segment, begun);
}

/* The segment was replaced since, and what was begun stands in the one before. */
static int commit_elsewhere(shmc_section *section, size_t bytes) {
    int r = shmc_publish(section, section->begun_at, bytes);
    if (r != -EMSGSIZE)
        drop_begun(section);
    return r;
}

int shmc_commit(shmc_section *section, size_t bytes) {
    int r = handle_usable(section->segment);
    if (r < 0)
        return r;
    if (section->begun == NULL)
        return error_set(section->segment->error, -EINVAL,
                         "section '%s': nothing was begun; call shmc_begin() first", section->name);
    r = section_ready_to_write(section, SHMC_SNAPSHOT);
    if (r == -EBUSY || r == -ENOTCONN)
        return r;
    if (r == 0 && section->begun_in != section->mapping)
        return commit_elsewhere(section, bytes);
    if (r == 0 && section->begun != section->writer)
        r = error_set(section->segment->error, -EIDRM,
                      "section '%s' was replaced since shmc_begin(); begin again", section->name);
    if (r < 0) {
        drop_begun(section);
        return r;
    }
    /* A value that was begun before the section moved is published in the new place. */
    if (__atomic_load_n(&section->begun->late, __ATOMIC_RELAXED))
        writer_catch_up(section->segment, section->begun, true);
    r = snapshot_commit(&section->begun->core, bytes);
    if (r < 0)
        return not_published(section, r, bytes);
    const bool late = came_late(section);
    writer_release(section->segment, section->begun);
    section->begun = NULL;
    return late ? shmc_publish(section, section->begun_at, bytes) : 0;
}

void shmc_abort(shmc_section *section) {
    struct writer *begun = section->begun;
    if (begun == NULL)
        return;
    if (handle_usable(section->segment) == 0) {
        section_ready(section, SHMC_SNAPSHOT); /* so as to know whether the place is still ours */
        drop_begun(section);
        return;
    }
    section->begun = NULL;
    writer_release(section->segment, begun);
}

/* ---- reading */

static int damaged(shmc_section *section) {
    return error_set(section->segment->error, -EBADMSG,
                     "section '%s': its head or the newest buffer is damaged; its owner's next "
                     "publish mends it",
                     section->name);
}

static ssize_t explain(shmc_section *section, ssize_t n, const struct snapshot_value *found,
                       size_t bytes) {
    switch (n) {
    case -ENODATA:
        return error_note(section, -ENODATA, NOTE_NO_DATA, 0, 0);
    case -EMSGSIZE:
        return error_note(section, -EMSGSIZE, NOTE_BUFFER_SMALL, found->length, bytes);
    case -EAGAIN:
        return error_note(section, -EAGAIN, NOTE_LAPPED, SNAPSHOT_LAPS_MAX,
                          section->descriptor.count);
    case -EBADMSG:
        return damaged(section);
    default:
        return n;
    }
}

static uint64_t missed(const shmc_section *section, uint64_t version) {
    return section->returned && version > section->last.version
               ? version - section->last.version - 1
               : 0;
}

/* -ESTALE: that version isn't there any more. */
static ssize_t settle(shmc_section *section, ssize_t n, const struct snapshot_value *found,
                      size_t bytes, struct shmc_value *value) {
    if (n == -ESTALE)
        return n;
    if (value != NULL) {
        value_fill(section, found, value);
        value->missed = missed(section, found->version);
    }
    if (n < 0)
        return explain(section, n, found, bytes);
    section->last = *found;
    section->returned = true;
    return n;
}

ssize_t snapshot_take(shmc_section *section, uint64_t version, void *buffer, size_t bytes,
                      struct shmc_value *value) {
    for (int try = 0; try < TRIES; try++) {
        int r = section_ready(section, SHMC_SNAPSHOT);
        if (r < 0)
            return r;
        struct snapshot_value found;
        ssize_t n = version == 0
                        ? snapshot_read(&section->reader, buffer, bytes, &found)
                        : snapshot_read_version(&section->reader, version, buffer, bytes, &found);
        shared_fence_acquire(); /* the copy was made before the generation is looked at */
        if (section_settled(section))
            return settle(section, n, &found, bytes, value);
    }
    return error_note(section, -EAGAIN, NOTE_LAPPED, TRIES, section->descriptor.count);
}

ssize_t shmc_read(shmc_section *section, void *buffer, size_t bytes, struct shmc_value *value) {
    value_clear(value);
    return snapshot_take(section, 0, buffer, bytes, value);
}

int shmc_view(shmc_section *section, const void **data, size_t *bytes, struct shmc_value *value) {
    value_clear(value);
    section->view_generation = 0;
    for (int try = 0; try < TRIES; try++) {
        int r = section_ready(section, SHMC_SNAPSHOT);
        if (r < 0)
            return r;
        struct snapshot_value found;
        const void *at;
        r = snapshot_view(&section->reader, &at, &found);
        shared_fence_acquire(); /* as in snapshot_take() */
        if (!section_settled(section))
            continue;
        r = (int)settle(section, r, &found, 0, value);
        if (r < 0)
            return r;
        section->view = found;
        section->view_generation = section->generation;
        mapping_lend(section, &section->lent);
        *data = at;
        *bytes = found.length;
        return 0;
    }
    return error_note(section, -EAGAIN, NOTE_LAPPED, TRIES, section->descriptor.count);
}

int shmc_valid(shmc_section *section) {
    int r = handle_usable(section->segment);
    if (r < 0)
        return r;
    if (section->view_generation == 0 || section->view_generation != section->generation ||
        !section->bound || !snapshot_valid(&section->reader, &section->view))
        return 0;
    return section_settled(section);
}
