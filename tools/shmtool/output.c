/* SPDX-License-Identifier: Apache-2.0
 *
 * Everything that shmtool prints goes through here: aligned columns, colours on terminals only,
 * JSON, hex dumps.  Texts come from a segment that others write, so that nothing which a terminal
 * would obey is let through.
 */
#include "tool.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TEXT_LINE 1024

struct grid_cell {
    enum paint paint;
    char text[TEXT_LINE];
};

/* Would a terminal obey this character?  (0xc2 0x80..0x9f are control characters in UTF-8.) */
static bool is_control(const unsigned char *p, size_t bytes) {
    return *p < 0x20 || *p == 0x7f || (*p == 0xc2 && bytes > 1 && p[1] < 0xa0);
}

static void scrub(char *text) {
    for (size_t left = strlen(text); left > 0; left--, text++)
        if (is_control((unsigned char *)text, left))
            *text = '?';
}

json_t *json_text(const char *text) {
    json_t *string = json_string(text);
    if (string)
        return string;
    char ascii[TEXT_LINE];
    snprintf(ascii, sizeof ascii, "%s", text);
    for (char *p = ascii; *p; p++)
        if (*p & 0x80)
            *p = '?';
    return json_string(ascii);
}

int fail(const struct tool *tool, int code, const char *format, ...) {
    char text[TEXT_LINE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    scrub(text);
    if (tool->json && code != TOOL_USAGE)
        print_json(json_pack("{s:b, s:o}", "ok", 0, "error", json_text(text)));
    else if (tool->verb)
        fprintf(stderr, "shmtool %s: %s\n", tool->verb->name, text);
    else
        fprintf(stderr, "shmtool: %s\n", text);
    return code;
}

void note(const struct tool *tool, const char *format, ...) {
    char text[TEXT_LINE];
    va_list arguments;
    if (tool->json)
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    scrub(text);
    fflush(stdout);
    fprintf(stderr, "shmtool %s: %s\n", tool->verb->name, text);
}

static void dump_json(json_t *object, size_t flags) {
    json_dumpf(object, stdout, flags);
    putchar('\n');
    fflush(stdout);
    json_decref(object);
}

void print_json(json_t *object) {
    dump_json(object, JSON_INDENT(2));
}

void print_json_line(json_t *object) {
    dump_json(object, JSON_COMPACT);
}

const char *paint_on(enum paint paint) {
    static const char *const codes[] = {"", "\033[1m", "\033[31m", "\033[32m", "\033[33m"};
    static int colours = -1;
    if (colours < 0) {
        const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
        colours = isatty(STDOUT_FILENO) && !(no && *no) && !(term && strcmp(term, "dumb") == 0);
    }
    return colours ? codes[paint] : "";
}

const char *paint_off(void) {
    return *paint_on(BOLD) ? "\033[0m" : "";
}

static struct grid_cell *next_cell(struct grid *grid) {
    if (grid->n % 64 == 0) {
        grid->cells = realloc(grid->cells, (grid->n + 64) * sizeof *grid->cells);
        if (!grid->cells) {
            fputs("shmtool: out of memory\n", stderr);
            exit(TOOL_NO);
        }
    }
    return &grid->cells[grid->n++];
}

void grid_start(struct grid *ret, const char *const *titles, unsigned columns) {
    *ret = (struct grid){.columns = columns};
    for (unsigned i = 0; i < columns; i++)
        grid_cell(ret, BOLD, "%s", titles[i]);
}

void grid_cell(struct grid *grid, enum paint paint, const char *format, ...) {
    struct grid_cell *cell = next_cell(grid);
    va_list arguments;
    cell->paint = paint;
    va_start(arguments, format);
    vsnprintf(cell->text, sizeof cell->text, format, arguments);
    va_end(arguments);
    scrub(cell->text);
}

/* Characters of UTF-8, which is what format texts may hold. */
static int width_of(const char *text) {
    int width = 0;
    for (; *text; text++)
        width += (*text & 0xc0) != 0x80;
    return width;
}

static int column_width(const struct grid *grid, unsigned column) {
    int widest = 0;
    for (size_t i = column; i < grid->n; i += grid->columns) {
        int width =
            width_of(grid->cells[i].text + (i < grid->columns && *grid->cells[i].text == '>'));
        if (width > widest)
            widest = width;
    }
    return widest;
}

static void print_cell(const struct grid *grid, size_t i, int width) {
    const struct grid_cell *cell = &grid->cells[i];
    unsigned column = (unsigned)(i % grid->columns);
    bool right = *grid->cells[column].text == '>', last = column + 1 == grid->columns;
    const char *text = cell->text + (i < grid->columns && right);
    int space = width - width_of(text);
    if (right)
        printf("%*s", space, "");
    printf("%s%s%s", paint_on(cell->paint), text, cell->paint == PLAIN ? "" : paint_off());
    if (last)
        putchar('\n');
    else
        printf("%*s", right ? 2 : space + 2, "");
}

void grid_print(struct grid *grid) {
    int widths[32];
    for (unsigned i = 0; i < grid->columns && i < 32; i++)
        widths[i] = column_width(grid, i);
    for (size_t i = 0; i < grid->n; i++)
        print_cell(grid, i, widths[i % grid->columns]);
    free(grid->cells);
    *grid = (struct grid){0};
}

const char *text_bytes(char text[TEXT_BYTES], uint64_t bytes) {
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB"};
    if (bytes < 1024) {
        snprintf(text, TEXT_BYTES, "%lu B", bytes);
        return text;
    }
    double value = (double)bytes / 1024;
    unsigned unit = 0;
    for (; value >= 1024 && unit < 4; unit++)
        value /= 1024;
    snprintf(text, TEXT_BYTES, value == (double)(uint64_t)value ? "%.0f %s" : "%.1f %s", value,
             units[unit]);
    return text;
}

const char *text_span(char text[TEXT_BYTES], uint64_t ns) {
    uint64_t s = ns / 1000000000;
    if (ns == UINT64_MAX)
        snprintf(text, TEXT_BYTES, "-");
    else if (ns < 1000000)
        snprintf(text, TEXT_BYTES, "%lu us", ns / 1000);
    else if (s < 1)
        snprintf(text, TEXT_BYTES, "%lu ms", ns / 1000000);
    else if (s < 10)
        snprintf(text, TEXT_BYTES, "%.1f s", (double)ns / 1e9);
    else if (s < 120)
        snprintf(text, TEXT_BYTES, "%lu s", s);
    else if (s < 7200)
        snprintf(text, TEXT_BYTES, "%lu min", s / 60);
    else if (s < 172800)
        snprintf(text, TEXT_BYTES, "%lu h %lu min", s / 3600, s / 60 % 60);
    else
        snprintf(text, TEXT_BYTES, "%lu days", s / 86400);
    return text;
}

const char *text_ago(char text[TEXT_BYTES], uint64_t real_ns) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t now_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    if (real_ns == 0)
        return "-";
    return text_span(text, now_ns > real_ns ? now_ns - real_ns : 0);
}

bool is_plain_text(const void *data, size_t bytes) {
    const unsigned char *p = data;
    for (size_t i = 0; i < bytes; i++)
        if (is_control(p + i, bytes - i) && p[i] != '\n' && p[i] != '\t')
            return false;
    json_t *text = json_stringn(data, bytes);
    json_decref(text);
    return text != NULL;
}

static json_t *base64(const unsigned char *data, size_t bytes) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *text = malloc((bytes + 2) / 3 * 4 + 1), *to = text;
    if (!text)
        return json_null();
    for (size_t i = 0; i < bytes; i += 3) {
        size_t left = bytes - i;
        unsigned triple = (unsigned)data[i] << 16 | (left > 1 ? (unsigned)data[i + 1] << 8 : 0) |
                          (left > 2 ? data[i + 2] : 0u);
        *to++ = digits[triple >> 18];
        *to++ = digits[triple >> 12 & 63];
        *to++ = left > 1 ? digits[triple >> 6 & 63] : '=';
        *to++ = left > 2 ? digits[triple & 63] : '=';
    }
    json_t *string = json_stringn(text, (size_t)(to - text));
    free(text);
    return string;
}

json_t *json_bytes(const void *data, size_t bytes, const char **encoding) {
    const bool text = is_plain_text(data, bytes);
    *encoding = text ? "text" : "base64";
    return text ? json_stringn(data, bytes) : base64(data, bytes);
}

static void print_hex_line(const unsigned char *p, size_t offset, size_t n) {
    printf("%08zx ", offset);
    for (size_t i = 0; i < 16; i++) {
        if (i % 8 == 0)
            putchar(' ');
        if (i < n)
            printf("%02x ", p[offset + i]);
        else
            fputs("   ", stdout);
    }
    fputs(" |", stdout);
    for (size_t i = 0; i < n; i++)
        putchar(p[offset + i] >= 0x20 && p[offset + i] < 0x7f ? p[offset + i] : '.');
    fputs("|\n", stdout);
}

void print_hex(const void *data, size_t bytes) {
    for (size_t offset = 0; offset < bytes; offset += 16)
        print_hex_line(data, offset, bytes - offset < 16 ? bytes - offset : 16);
}

void print_bytes(const struct tool *tool, const char *data, size_t bytes) {
    bool terminal = isatty(STDOUT_FILENO);
    if (tool->hex || (terminal && !is_plain_text(data, bytes))) {
        print_hex(data, bytes);
    } else {
        fwrite(data, 1, bytes, stdout);
        if ((terminal || tool->follow || tool->several) && bytes > 0 && data[bytes - 1] != '\n')
            putchar('\n');
    }
    fflush(stdout);
}
