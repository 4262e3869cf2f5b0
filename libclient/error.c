/* SPDX-License-Identifier: Apache-2.0
 *
 * What went wrong last.  Cold paths write a line; hot paths leave a note of a few words in their
 * section object, which is put into words when somebody asks.
 */
#include "client.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void forget_note(struct error *error) {
    __atomic_store_n(&error->noted, NULL, __ATOMIC_RELAXED);
}

int error_set(struct error *error, int code, const char *format, ...) {
    /* In a signal handler that interrupted this very function, the older text wins. */
    if (lock_take(&error->lock) < 0)
        return code;
    va_list args;
    va_start(args, format);
    vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    forget_note(error);
    lock_release(&error->lock);
    return code;
}

int error_note(shmc_section *section, int code, enum note_kind kind, uint64_t first,
               uint64_t second) {
    __atomic_store_n(&section->note.kind, (uint32_t)kind, __ATOMIC_RELAXED);
    __atomic_store_n(&section->note.first, first, __ATOMIC_RELAXED);
    __atomic_store_n(&section->note.second, second, __ATOMIC_RELAXED);
    __atomic_store_n(&section->segment->error->noted, section, __ATOMIC_RELEASE);
    return code;
}

static void put_into_words(struct error *error, const shmc_section *section) {
    const char *name = section->name;
    unsigned long long first = __atomic_load_n(&section->note.first, __ATOMIC_RELAXED);
    unsigned long long second = __atomic_load_n(&section->note.second, __ATOMIC_RELAXED);
    char *to = error->text;
    size_t room = sizeof error->text;
    switch ((enum note_kind)__atomic_load_n(&section->note.kind, __ATOMIC_RELAXED)) {
    case NOTE_NO_DATA:
        snprintf(to, room, "section '%s': nothing was published yet; start its owner", name);
        break;
    case NOTE_NOTHING_NEW:
        snprintf(to, room, "section '%s': nothing newer than version %llu; wait with a timeout",
                 name, first);
        break;
    case NOTE_TIMED_OUT:
        snprintf(to, room,
                 "section '%s': nothing newer than version %llu came in %llu ms; does its owner "
                 "run?",
                 name, first, second);
        break;
    case NOTE_STALE:
        snprintf(to, room,
                 "section '%s': version %llu is older than the %llu ms of its stale_ms; does its "
                 "owner run?",
                 name, first, second);
        break;
    case NOTE_TOO_LARGE:
        snprintf(to, room,
                 "section '%s': a value of %llu bytes, and its size is %llu: raise the size in "
                 "the table",
                 name, first, second);
        break;
    case NOTE_BUFFER_SMALL:
        snprintf(to, room, "section '%s': the value has %llu bytes, the buffer given %llu", name,
                 first, second);
        break;
    case NOTE_BUSY:
        snprintf(to, room,
                 "section '%s': another publish of it is under way in this process; commit or "
                 "abort that first",
                 name);
        break;
    case NOTE_NO_MESSAGE:
        snprintf(to, room, "section '%s': no such message is there; wait with a timeout", name);
        break;
    case NOTE_NO_MESSAGE_CAME:
        snprintf(to, room, "section '%s': no such message came in %llu ms; does anybody send?",
                 name, first);
        break;
    case NOTE_LANE_FULL:
        snprintf(
            to, room,
            "section '%s': its lane is full, without room for %llu bytes; wait with a timeout, "
            "or raise its size (now %llu) in the table",
            name, first, second);
        break;
    case NOTE_LANE_STAYED_FULL:
        snprintf(to, room,
                 "section '%s': its lane is full, without room for %llu bytes in %llu ms; does its "
                 "owner receive?",
                 name, first, second);
        break;
    case NOTE_MESSAGE_LONG:
        snprintf(to, room,
                 "section '%s': a message of %llu bytes, and it takes %llu, half its size: raise "
                 "the size in the table",
                 name, first, second);
        break;
    case NOTE_MESSAGE_LONGER:
        snprintf(to, room,
                 "section '%s': the message has %llu bytes, the buffer given %llu; it stays in the "
                 "queue",
                 name, first, second);
        break;
    case NOTE_LANE_BUSY:
        snprintf(to, room,
                 "section '%s': a message is reserved in this process's lane, or being sent; "
                 "commit or cancel it first",
                 name);
        break;
    case NOTE_PEEKED:
        snprintf(to, room,
                 "section '%s': a message is peeked with this section object; acknowledge or "
                 "abandon it first",
                 name);
        break;
    case NOTE_INTERRUPTED:
        snprintf(to, room, "section '%s': a signal ended the wait", name);
        break;
    case NOTE_LAPPED:
        snprintf(to, room,
                 "section '%s': its writer overtook this reader %llu times in one read; raise its "
                 "count (now %llu) in the table",
                 name, first, second);
        break;
    case NOTE_SLOT_NO_DATA:
        snprintf(to, room, "section '%s': nothing was put into slot %llu since it was grabbed",
                 name, first);
        break;
    case NOTE_SLOT_FREE:
        snprintf(to, room, "section '%s': slot %llu isn't in use; grab it first", name, first);
        break;
    case NOTE_SLOT_BUSY:
        snprintf(
            to, room,
            "section '%s': another thread of this process is at slot %llu in this moment; give "
            "each thread slots of its own",
            name, first);
        break;
    case NOTE_SLOT_LAPPED:
        snprintf(to, room,
                 "section '%s': slot %llu was put to %llu times while it was read; try again", name,
                 first, second);
        break;
    }
}

static void settle(struct error *error, const shmc_section *only) {
    if (lock_take(&error->lock) < 0)
        return;
    /* Acquire pairs with error_note(): the note's words are there. */
    const shmc_section *noted = __atomic_load_n(&error->noted, __ATOMIC_ACQUIRE);
    if (noted != NULL && (only == NULL || only == noted)) {
        put_into_words(error, noted);
        forget_note(error);
    }
    lock_release(&error->lock);
}

void error_keep(struct error *error, const shmc_section *section) {
    settle(error, section);
}

const char *shmc_last_error(const shmc *segment) {
    switch (handle_state(segment)) {
    case HANDLE_FORKED:
        return "this attachment is the parent process's; a child attaches for itself";
    case HANDLE_DETACHED:
        return "this attachment was detached; attach anew";
    case HANDLE_LEFT:
        return "the segment was removed or replaced while no manager served it; detach and attach "
               "anew";
    default:
        settle(segment->error, NULL);
        return segment->error->text;
    }
}
