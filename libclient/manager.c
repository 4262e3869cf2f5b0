/* SPDX-License-Identifier: Apache-2.0
 *
 * Asking the manager, without an attachment.
 */
#include "client.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct text {
    char *at;
    size_t bytes, room;
};

static int append(struct text *text, const char *piece, size_t bytes) {
    if (bytes > PROTOCOL_REPLY_MAX - text->bytes)
        return -EMSGSIZE;
    if (text->bytes + bytes + 1 > text->room) {
        size_t room = 2 * (text->bytes + bytes + 1);
        char *at = realloc(text->at, room);
        if (at == NULL)
            return -ENOMEM;
        text->at = at;
        text->room = room;
    }
    memcpy(text->at + text->bytes, piece, bytes);
    text->bytes += bytes;
    text->at[text->bytes] = '\0';
    return 0;
}

/* 1: another piece came; else the outcome. */
static int take_message(const union protocol_message *message, struct text *text,
                        struct error *error) {
    int r;
    switch (message->head.type) {
    case PROTOCOL_REPLY:
        r = append(text, message->piece.text, message->head.bytes - sizeof message->head);
        return r == 0 ? 1
                      : error_set(error, r, "the manager's reply can't be taken: %s", strerror(-r));
    case PROTOCOL_DONE:
        if (message->head.result < 0)
            error_set(error, message->head.result, "the manager refused: %s",
                      strerror(-message->head.result));
        return message->head.result;
    case PROTOCOL_REFUSED:
        return error_set(error, message->head.result < 0 ? message->head.result : -ENOTCONN, "%s",
                         refused_text(&message->refused));
    default:
        return error_set(error, -EPROTONOSUPPORT,
                         "the manager answered a request by message %u; restart it",
                         message->head.type);
    }
}

static int ask(int socket, const char *request, uint64_t deadline_ns, struct text *text,
               struct error *error) {
    union protocol_message message = {.request = {.text = {0}}};
    memcpy(message.request.text, request, strlen(request));
    int r = connection_send(socket, &message, PROTOCOL_REQUEST, sizeof message.request, deadline_ns,
                            error);
    while (r == 0) {
        r = connection_receive(socket, &message, NULL, deadline_ns, error);
        if (r < 0)
            return r;
        r = take_message(&message, text, error);
        if (r <= 0)
            return r;
        r = 0;
    }
    return r;
}

static int converse(const struct settings *settings, const char *request, struct text *text,
                    struct error *error) {
    struct protocol_hello hello;
    uint64_t deadline_ns = settings->deadline_ns;
    int socket;
    if (deadline_ns == 0)
        deadline_ns = clock_mono_ns() + CONNECTION_PATIENCE_NS;
    if (strlen(request) >= PROTOCOL_REQUEST_BYTES)
        return error_set(error, -EINVAL, "a request has at most %u characters",
                         PROTOCOL_REQUEST_BYTES - 1);
    int r = connection_open(&socket, settings, deadline_ns, &hello, error);
    if (r < 0)
        return r;
    r = ask(socket, request, deadline_ns, text, error);
    close(socket);
    return r;
}

int shmc_manager(const struct shmc_options *options, const char *request, char **reply) {
    struct error error = {0};
    struct settings settings = {0};
    struct shmc_options copy;
    struct text text = {0};
    int r = settings_read(&settings, options, &copy, &error);
    if (r == 0)
        r = request == NULL ? error_set(&error, -EINVAL, "no request was given")
                            : converse(&settings, request, &text, &error);
    if (r < 0)
        settings_report(&copy, &settings, &error);
    if (reply != NULL)
        *reply = text.at; /* NULL when nothing was said */
    else
        free(text.at);
    return r;
}
