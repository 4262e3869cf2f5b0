/* SPDX-License-Identifier: Apache-2.0
 *
 * Sections at run time: asking the manager for one, and giving it up.  The manager writes it into
 * the directory before it answers, where any process finds it as it finds any other.
 */
#include "client.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PAUSE_NS 5000000

_Static_assert(SHMC_CREATE_EXCLUSIVE == PROTOCOL_CREATE_EXCLUSIVE &&
                   SHMC_CREATE_TRANSIENT == PROTOCOL_CREATE_TRANSIENT &&
                   SHMC_CREATE_PERSIST == PROTOCOL_CREATE_PERSIST &&
                   SHMC_CREATE_SHARED == PROTOCOL_CREATE_SHARED &&
                   SHMC_CREATE_PREGRAB == PROTOCOL_CREATE_PREGRAB &&
                   SHMC_CREATE_CLEAR == PROTOCOL_CREATE_CLEAR &&
                   SHMC_CREATE_CLEAR_RESTART == PROTOCOL_CREATE_RESTART,
               "shmclient.h and the protocol differ");

/* ---- asking */

static int take_answer(shmc *segment, const union protocol_message *message) {
    if (message->head.type == PROTOCOL_DONE && message->head.result == 0)
        return 0;
    if (message->head.type == PROTOCOL_REFUSED)
        return error_set(segment->error,
                         message->head.result < 0 ? message->head.result : -ENOTCONN, "%s",
                         refused_text(&message->refused));
    return error_set(segment->error, -EPROTONOSUPPORT,
                     "the manager answered a request for a section by message %u; restart it",
                     message->head.type);
}

/* *sent: the manager may have done it, whatever comes back. */
static int ask_once(shmc *segment, const struct mapping *mapping,
                    const union protocol_message *question, uint64_t deadline_ns, bool *sent) {
    const struct settings settings = {.key = segment->home.key,
                                      .runtime_dir = segment->home.runtime_dir};
    union protocol_message message = *question;
    struct protocol_hello hello;
    int socket, r = connection_open(&socket, &settings, deadline_ns, &hello, segment->error);
    if (r < 0)
        return r;
    if (hello.segment_id != mapping->directory.header.segment_id)
        r = error_set(segment->error, -EIDRM,
                      "the segment was replaced or destroyed; detach and attach anew");
    if (r == 0)
        r = connection_send(socket, &message, (enum protocol_type)question->head.type,
                            question->head.bytes, deadline_ns, segment->error);
    if (r == 0) {
        *sent = true;
        r = connection_receive(socket, &message, NULL, deadline_ns, segment->error);
    }
    close(socket);
    return r == 0 ? take_answer(segment, &message) : r;
}

/* The manager may be on its way back, or go in the midst of it; to ask again does no harm, as long
 * as `again` says so. */
static int ask(shmc *segment, const struct mapping *mapping, const union protocol_message *question,
               bool again, bool *sent) {
    const uint64_t until_ns = deadline_after(segment->home.timeout_ms);
    const uint64_t least_ns = clock_mono_ns() + CONNECTION_PATIENCE_NS;
    const uint64_t deadline_ns = until_ns > least_ns ? until_ns : least_ns;
    int r;
    while ((r = ask_once(segment, mapping, question, deadline_ns, sent)) == -ENOTCONN &&
           (again || !*sent) && clock_mono_ns() + PAUSE_NS < until_ns)
        nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
    if (r == -EACCES && !standing_holds(mapping) && standing_check(segment, mapping) < 0)
        return -EKEYREVOKED;
    return r;
}

static int check_asker(shmc *segment, const struct mapping *mapping, const char *name) {
    if (name == NULL || name[0] == '\0' || strlen(name) >= SHMC_NAME_BYTES)
        return error_set(segment->error, -EINVAL,
                         "no section can be named '%.80s'; a name has 1 to %d characters",
                         name == NULL ? "" : name, SHMC_NAME_BYTES - 1);
    char who[STANDING_BYTES];
    if (private_is(mapping))
        return error_set(segment->error, -ENOTCONN,
                         "section '%s': a private segment has no manager who could make or drop "
                         "it: its creator calls shmc_private_reload()",
                         name);
    if (mapping->standing.worker[0] == '\0')
        return error_set(segment->error, -EACCES,
                         "section '%s': this process is %s, and workers make and drop sections: "
                         "attach as one (options.worker)",
                         name, standing_text(&mapping->standing, who));
    return standing_holds(mapping) ? 0 : standing_check(segment, mapping);
}

/* ---- create */

static int put_text(char to[SHM_NAME_BYTES], const char *from, const char *option,
                    struct error *error) {
    if (from == NULL)
        return 0;
    if (strlen(from) >= SHM_NAME_BYTES)
        return error_set(error, -EINVAL, "options.%s is '%.80s'; it has at most %d bytes", option,
                         from, SHMC_NAME_BYTES - 1);
    strcpy(to, from);
    return 0;
}

static int fill_create(const shmc *segment, const struct mapping *mapping, const char *name,
                       const struct shmc_create_options *options, struct protocol_create *ret) {
    const struct standing *standing = &mapping->standing;
    if (options->reserved != 0)
        return error_set(segment->error, -EINVAL, "options.reserved is %u; set it to 0",
                         options->reserved);
    *ret = (struct protocol_create){.size = options->bytes,
                                    .stale_ms = options->stale_ms,
                                    .kind = options->kind == 0 ? SHMC_SNAPSHOT
                                                               : (uint32_t)options->kind,
                                    .count = options->count,
                                    .stamp = (uint32_t)options->stamp,
                                    .notify = (uint32_t)options->notify,
                                    .flags = options->flags,
                                    .attachment = standing->attachment,
                                    .attachment_epoch = standing->attachment_epoch};
    strcpy(ret->name, name); /* its length was checked */
    protocol_fill(&ret->head, PROTOCOL_CREATE, sizeof *ret, 0);
    int r = put_text(ret->format, options->format, "format", segment->error);
    if (r == 0)
        r = put_text(ret->read_group, options->read_group, "read_group", segment->error);
    return r < 0 ? r
                 : put_text(ret->write_group, options->write_group, "write_group", segment->error);
}

static int create(shmc *segment, const struct mapping *mapping, const char *name,
                  const struct shmc_create_options *options) {
    struct shmc_create_options copy = {0};
    union protocol_message message;
    bool sent = false;
    int r = check_asker(segment, mapping, name);
    if (r == 0 && options == NULL)
        r = error_set(segment->error, -EINVAL, "section '%s': no options were given", name);
    if (r == 0)
        r = options_copy(&copy, sizeof copy, options, "options", "shmc_create_options",
                         segment->error);
    if (r == 0)
        r = fill_create(segment, mapping, name, &copy, &message.create);
    if (r < 0)
        return r;
    return ask(segment, mapping, &message, (copy.flags & SHMC_CREATE_EXCLUSIVE) == 0, &sent);
}

int shmc_create(shmc *segment, const char *name, const struct shmc_create_options *options) {
    struct mapping *mapping;
    int r = mapping_borrow(segment, &mapping);
    if (r < 0)
        return r;
    r = create(segment, mapping, name, options);
    mapping_return(segment, mapping);
    return r;
}

/* ---- drop */

/* Nobody may be publishing where other values will stand soon: whoever would, in any thread, finds
 * the writer busy from here on.  NULL: there is none to stop. */
static int stop_writer(shmc_section *section, struct writer **ret) {
    *ret = NULL;
    if (!section->own || section->descriptor.kind != SHM_KIND_SNAPSHOT)
        return 0;
    int r = snapshot_ready(section);
    if (r == -EBUSY)
        return r;
    if (r < 0) /* what is damaged can't be published either */
        return 0;
    if (__atomic_exchange_n(&section->writer->core.busy, 1, __ATOMIC_ACQUIRE) != 0)
        return error_set(section->segment->error, -EBUSY,
                         "section '%s' is being published, or a value is begun: commit or abort it "
                         "first",
                         section->name);
    *ret = section->writer;
    return 0;
}

static int ask_drop(shmc *segment, const struct mapping *mapping, const char *name) {
    const struct standing *standing = &mapping->standing;
    union protocol_message message = {.drop = {.attachment = standing->attachment,
                                               .attachment_epoch = standing->attachment_epoch}};
    bool sent = false;
    strcpy(message.drop.name, name); /* its length was checked */
    protocol_fill(&message.head, PROTOCOL_DROP, sizeof message.drop, 0);
    int r = ask(segment, mapping, &message, false, &sent);
    /* It was there when it was asked for, and the manager that did it had no time to say so. */
    if (r == -ENOTCONN && sent && (r = ask(segment, mapping, &message, true, &sent)) == -ENOENT)
        return 0;
    return r;
}

static int drop(shmc *segment, const struct mapping *mapping, const char *name) {
    shmc_section *section;
    struct writer *writer;
    int r = check_asker(segment, mapping, name);
    if (r == 0)
        r = shmc_open(&section, segment, name, NULL);
    if (r < 0)
        return r;
    r = stop_writer(section, &writer);
    if (r == 0)
        r = ask_drop(segment, mapping, name);
    if (r < 0 && writer != NULL)
        __atomic_store_n(&writer->core.busy, 0, __ATOMIC_RELEASE);
    shmc_close(section);
    return r;
}

int shmc_drop(shmc *segment, const char *name) {
    struct mapping *mapping;
    int r = mapping_borrow(segment, &mapping);
    if (r < 0)
        return r;
    r = drop(segment, mapping, name);
    mapping_return(segment, mapping);
    return r;
}
