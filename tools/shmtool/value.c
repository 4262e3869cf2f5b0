/* SPDX-License-Identifier: Apache-2.0
 *
 * get and put: a section's value out to a file, and in from one.
 */
#include "tool.h"

#include "core/futex.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct copy {
    char *data;
    size_t room;
    ssize_t length;
    struct shmc_value value;
};

static int write_all(int fd, const char *data, size_t bytes) {
    while (bytes > 0) {
        ssize_t n = write(fd, data, bytes);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0)
            data += n, bytes -= (size_t)n;
    }
    return 0;
}

static int save_in_place(const char *path, const char *data, size_t bytes) {
    int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = write_all(fd, data, bytes);
    return close(fd) < 0 && r == 0 ? -errno : r;
}

/* Whoever reads the file meanwhile sees the old value or the new one, whole. */
static int save_whole(const char *path, const char *data, size_t bytes) {
    char temporary[PATH_BYTES];
    struct stat st;
    if (lstat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return save_in_place(path, data, bytes);
    if (snprintf(temporary, sizeof temporary, "%s.XXXXXX", path) >= (int)sizeof temporary)
        return -ENAMETOOLONG;
    int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0)
        return -errno;
    mode_t mask = umask(0);
    umask(mask);
    int r = write_all(fd, data, bytes);
    if (r == 0 && fchmod(fd, 0666 & ~mask) < 0)
        r = -errno;
    if (close(fd) < 0 && r == 0)
        r = -errno;
    if (r == 0 && rename(temporary, path) < 0)
        r = -errno;
    if (r < 0)
        unlink(temporary);
    return r;
}

static json_t *value_json(const struct shmc_section_info *info, const struct copy *copy) {
    size_t length = (size_t)copy->length;
    const char *encoding;
    json_t *value = json_bytes(copy->data, length, &encoding);
    return json_pack("{s:b, s:o, s:o, s:I, s:I, s:I, s:o, s:s, s:b, s:s, s:o}", "ok", 1, "section",
                     json_text(info->name), "format", json_text(info->format), "version",
                     (json_int_t)copy->value.version, "missed", (json_int_t)copy->value.missed,
                     "length", (json_int_t)length, "age_ns", json_age(copy->value.age_ns), "writer",
                     alive_name(copy->value.writer), "stale", copy->value.stale, "encoding",
                     encoding, "value", value);
}

static int deliver(const struct tool *tool, const struct shmc_section_info *info,
                   const struct copy *copy) {
    if (copy->value.missed > 0 && tool->follow)
        note(tool, "%lu values before version %lu were missed", copy->value.missed,
             copy->value.version);
    if (tool->output) {
        int r = save_whole(tool->output, copy->data, (size_t)copy->length);
        return r == 0 ? TOOL_OK : fail(tool, TOOL_NO, "%s: %s", tool->output, strerror(-r));
    }
    if (tool->json)
        (tool->follow || tool->several ? print_json_line : print_json)(value_json(info, copy));
    else
        print_bytes(tool, copy->data, (size_t)copy->length);
    if (ferror(stdout))
        return fail(tool, TOOL_NO, "stdout: %s", strerror(errno));
    return TOOL_OK;
}

/* The newest value, or when there is none yet the first one in time; with --follow the next. */
static ssize_t fetch(const struct tool *tool, shmc_section *section, struct copy *copy) {
    for (;;) {
        ssize_t r = tool->follow ? shmc_follow(section, copy->data, copy->room, tool->timeout_ms,
                                               &copy->value)
                                 : shmc_read(section, copy->data, copy->room, &copy->value);
        if (r == -ENODATA && !tool->follow && tool->timeout_ms != 0)
            r = shmc_next(section, copy->data, copy->room, tool->timeout_ms, &copy->value);
        if (r != -EMSGSIZE)
            return r;
        char *more = realloc(copy->data, copy->value.length);
        if (!more)
            return -ENOMEM;
        copy->data = more;
        copy->room = copy->value.length;
    }
}

static int get_failed(const struct tool *tool, shmc *segment, const struct shmc_section_info *info,
                      const struct copy *copy) {
    if (copy->length == -ENODATA)
        return fail(tool, TOOL_NO,
                    "section '%s': nothing was published yet; wait for it with "
                    "--timeout MS",
                    info->name);
    if (copy->length == -ETIMEDOUT || copy->length == -EAGAIN)
        return fail(tool, TOOL_NO, "section '%s': no newer value in %d ms; its writer (%s) is %s",
                    info->name, tool->timeout_ms, info->owner, alive_name(copy->value.writer));
    return fail(tool, TOOL_NO, "%s", shmc_last_error(segment));
}

static int get_snapshot(const struct tool *tool, shmc *segment, shmc_section *section,
                        const struct shmc_section_info *info) {
    struct copy copy = {.data = malloc(info->size + 1), .room = info->size};
    uint64_t values = 0;
    int code = TOOL_OK;
    if (!copy.data)
        return fail(tool, TOOL_NO, "out of memory");
    do {
        char age[TEXT_BYTES];
        copy.length = fetch(tool, section, &copy);
        if (copy.length == -ETIME && tool->follow) {
            note(tool, "no newer value; the last is %s old (stale after %lu ms), its writer is %s",
                 text_span(age, copy.value.age_ns), info->stale_ms, alive_name(copy.value.writer));
            continue;
        }
        code =
            copy.length < 0 ? get_failed(tool, segment, info, &copy) : deliver(tool, info, &copy);
        values++;
    } while (code == TOOL_OK && tool->follow && values != tool->count);
    free(copy.data);
    return code;
}

static int get_raw(const struct tool *tool, shmc *segment, shmc_section *section,
                   const struct shmc_section_info *info) {
    struct copy copy = {.data = malloc(info->size + 1)};
    int code;
    copy.value.age_ns = UINT64_MAX;
    copy.value.writer = info->writer;
    if (!copy.data)
        return fail(tool, TOOL_NO, "out of memory");
    copy.length = shmc_raw_read(section, 0, copy.data, info->size);
    if (copy.length < 0)
        code = fail(tool, TOOL_NO, "%s", shmc_last_error(segment));
    else
        code = deliver(tool, info, &copy);
    free(copy.data);
    return code;
}

static int get_section(const struct tool *tool, shmc *segment, shmc_section *section) {
    struct shmc_section_info info;
    if (shmc_section_info(section, &info) < 0)
        return fail(tool, TOOL_NO, "%s", shmc_last_error(segment));
    if (info.kind == SHMC_SNAPSHOT)
        return get_snapshot(tool, segment, section, &info);
    if (info.kind != SHMC_RAW)
        return fail(tool, TOOL_NO, "section '%s' is of kind %s: shmtool %s %s", info.name,
                    kind_name(info.kind), info.kind == SHMC_QUEUE ? "peek" : "slots", info.name);
    if (tool->follow)
        return fail(tool, TOOL_USAGE, "section '%s' is raw, and has no versions to follow",
                    info.name);
    return get_raw(tool, segment, section, &info);
}

int no_section(const struct tool *tool, shmc *segment, const char *name) {
    struct shmc_section_info *sections;
    const char *names[256], *near = NULL;
    size_t n = 0;
    if (shmc_sections(segment, &sections, &n) < 0)
        return fail(tool, TOOL_NO, "no section '%s'", name);
    for (size_t i = 0; i < n && i < 256; i++)
        names[i] = sections[i].name;
    near = nearest(name, names, n < 256 ? n : 256);
    int code =
        near ? fail(tool, TOOL_NO, "no section '%s'; did you mean '%s'?", name, near)
             : fail(tool, TOOL_NO, "no section '%s'; shmtool list shows those there are", name);
    free(sections);
    return code;
}

static int get_one(const struct tool *tool, shmc *segment, const char *name) {
    shmc_section *section;
    int r = shmc_open(&section, segment, name, NULL);
    if (r == -ENOENT)
        return no_section(tool, segment, name);
    if (r < 0)
        return fail(tool, TOOL_NO, "%s", shmc_last_error(segment));
    if (tool->several && !tool->json)
        printf("%s==> %s <==%s\n", paint_on(BOLD), name, paint_off());
    int code = get_section(tool, segment, section);
    if (tool->several && !tool->json)
        putchar('\n');
    fflush(stdout);
    shmc_close(section);
    return code;
}

/* Goes on behind one that has no value; the exit status is the first failure's. */
static int get_matching(const struct tool *tool, shmc *segment) {
    struct listing listing = {0};
    struct tool each = *tool;
    int code = listing_look(tool, segment, &listing);
    if (code == TOOL_OK && listing.n == 0)
        code =
            fail(tool, TOOL_NO, "no section matches '%s'; shmtool list shows all", tool->argv[0]);
    each.several = listing.n > 1;
    if (each.several && (tool->follow || tool->output))
        code = fail(tool, TOOL_USAGE, "'%s' matches %zu sections, and --%s takes one",
                    tool->argv[0], listing.n, tool->follow ? "follow" : "output");
    for (size_t i = 0, ok = code == TOOL_OK; ok && i < listing.n; i++) {
        int one = get_one(&each, segment, listing.sections[i].name);
        code = code == TOOL_OK ? one : code;
    }
    free(listing.sections);
    return code;
}

int verb_get(const struct tool *tool) {
    shmc *segment;
    struct tool filled = *tool;
    if (!tool->timeout_given)
        filled.timeout_ms = tool->follow ? -1 : 0;
    int code = attach(tool, NULL, 0, 0, &segment);
    if (code != TOOL_OK)
        return code;
    code = is_pattern(tool->argv[0]) ? get_matching(&filled, segment)
                                     : get_one(&filled, segment, tool->argv[0]);
    shmc_detach(segment);
    return code;
}

/* Reads one byte more than fits, to tell that there is more. */
static int read_input(const struct tool *tool, size_t size, char **ret, size_t *length) {
    const char *name = tool->input ? tool->input : "stdin";
    int fd = tool->input ? open(tool->input, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
    char *data = malloc(size + 1);
    size_t n = 0;
    ssize_t r = fd < 0 || !data ? -1 : 1;
    while (r > 0 && n <= size) {
        r = read(fd, data + n, size + 1 - n);
        n += r > 0 ? (size_t)r : 0;
    }
    int error = errno;
    if (fd > STDIN_FILENO)
        close(fd);
    *ret = data;
    *length = n;
    return r < 0 ? fail(tool, TOOL_NO, "%s: %s", name, strerror(error)) : TOOL_OK;
}

static int put_value(const struct tool *tool, shmc *segment, const char *name, const char *data,
                     size_t length) {
    struct shmc_section_info info = {0};
    shmc_section *section;
    int code = TOOL_OK;
    if (shmc_open(&section, segment, name, NULL) < 0)
        return fail(tool, TOOL_NO, "%s", shmc_last_error(segment));
    ssize_t r = shmc_section_info(section, &info);
    if (r == 0 && info.kind == SHMC_RAW)
        r = shmc_raw_write(section, 0, data, length);
    else if (r == 0)
        r = shmc_publish(section, data, length);
    if (r < 0)
        code = fail(tool, TOOL_NO, "%s", shmc_last_error(segment));
    else if (tool->json && shmc_section_info(section, &info) == 0)
        print_json(json_pack("{s:b, s:s, s:I, s:I}", "ok", 1, "section", name, "length",
                             (json_int_t)length, "version", (json_int_t)info.version));
    shmc_close(section);
    return code;
}

/* A pattern must mean one section only. */
static int inspect_matching(const struct tool *tool, shmc *segment, struct shmc_section_info *ret) {
    struct listing listing = {0};
    int code = listing_look(tool, segment, &listing);
    if (code == TOOL_OK && listing.n != 1)
        code = fail(tool, TOOL_NO, "'%s' matches %zu sections, and put writes one (shmtool list)",
                    tool->argv[0], listing.n);
    if (code == TOOL_OK)
        *ret = listing.sections[0];
    free(listing.sections);
    return code;
}

static int inspect(const struct tool *tool, shmc *segment, const char *name,
                   struct shmc_section_info *ret) {
    if (is_pattern(name))
        return inspect_matching(tool, segment, ret);
    int r = shmc_inspect(segment, name, ret);
    if (r == -ENOENT)
        return no_section(tool, segment, name);
    return r < 0 ? fail(tool, TOOL_NO, "%s", shmc_last_error(segment)) : TOOL_OK;
}

/* Who must write it, and does the value fit? */
static int look_up(const struct tool *tool, const char *name, struct shmc_section_info *ret) {
    shmc *segment;
    int code = attach(tool, NULL, 0, tool->wait_ms, &segment);
    if (code != TOOL_OK)
        return code;
    code = inspect(tool, segment, name, ret);
    if (code == TOOL_OK && ret->kind != SHMC_RAW && ret->kind != SHMC_SNAPSHOT)
        code = ret->kind == SHMC_QUEUE
                   ? fail(tool, TOOL_NO, "section '%s' is a queue: shmtool send %s", name, name)
                   : fail(tool, TOOL_NO, "section '%s' is of kind %s; put writes raw and snapshot",
                          name, kind_name(ret->kind));
    shmc_detach(segment);
    return code;
}

int verb_put(const struct tool *tool) {
    const char *name = tool->argv[0];
    struct shmc_section_info info = {0};
    shmc *segment;
    char *data = NULL;
    size_t length = 0;
    const uint64_t since_ns = clock_mono_ns();
    int code = look_up(tool, name, &info);
    const int left_ms = wait_left(tool, since_ns); /* the input may take its time */
    name = info.name;
    if (code == TOOL_OK)
        code = read_input(tool, info.size, &data, &length);
    if (code == TOOL_OK && length > info.size)
        code = fail(tool, TOOL_NO,
                    "the value is larger than section '%s', which takes %lu bytes; "
                    "make it anew, larger: shmtool table rm %s, shmtool table add",
                    name, info.size, name);
    if (code == TOOL_OK)
        code = attach(tool, info.owner, 0, left_ms, &segment);
    if (code == TOOL_OK) {
        code = put_value(tool, segment, name, data, length);
        shmc_detach(segment);
    }
    free(data);
    return code;
}
