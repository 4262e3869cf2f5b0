/* SPDX-License-Identifier: Apache-2.0
 *
 * What was measured, as a table and figures or as JSON.  A ratio is the median of the rounds'
 * ratios, as a measure and its limit stand close to each other within one round.
 */
#include "bench.h"

#include <stdio.h>
#include <string.h>

#define ROWS_MAX 64

struct row {
    const struct measure *measure;
    double values[SIZES][ROUNDS_MAX];
    unsigned n[SIZES];
};

struct summary {
    double median, least, most, ratio, over; /* than the limit, in its unit */
};

static struct row rows[ROWS_MAX];
static unsigned rows_n;

static struct row *row_of(const char *name) {
    for (unsigned i = 0; i < rows_n; i++)
        if (strcmp(rows[i].measure->name, name) == 0)
            return &rows[i];
    return NULL;
}

void results_add(const struct measure *measure, unsigned size, unsigned round, double value) {
    struct row *row = row_of(measure->name);
    if (row == NULL) {
        if (rows_n == ROWS_MAX)
            bench_die("more than %d measures", ROWS_MAX);
        row = &rows[rows_n++];
        row->measure = measure;
    }
    row->values[size][round] = value;
    row->n[size] = round + 1;
}

static struct summary sum_up(const struct row *row, unsigned size) {
    struct summary ret = {0};
    unsigned n = row->n[size];
    double values[ROUNDS_MAX], ratios[ROUNDS_MAX], over[ROUNDS_MAX];
    const struct row *limit = row->measure->limit == NULL ? NULL : row_of(row->measure->limit);
    ret.least = ret.most = row->values[size][0];
    for (unsigned i = 0; i < n; i++) {
        double value = values[i] = row->values[size][i];
        ret.least = value < ret.least ? value : ret.least;
        ret.most = value > ret.most ? value : ret.most;
        if (limit != NULL && limit->n[size] > i) {
            ratios[i] = value / limit->values[size][i];
            over[i] = value - limit->values[size][i];
        }
    }
    ret.median = median(values, n);
    if (limit != NULL && limit->n[size] == n) {
        ret.ratio = median(ratios, n);
        ret.over = median(over, n);
    }
    return ret;
}

static bool measured(unsigned size) {
    for (unsigned i = 0; i < rows_n; i++)
        if (rows[i].n[size] > 0)
            return true;
    return false;
}

static void print_table(unsigned size) {
    printf("\n%-22s %12s %12s %12s %-4s %6s  %s\n", "NAME", "MEDIAN", "MIN", "MAX", "", "RATIO",
           "TO");
    for (unsigned i = 0; i < rows_n; i++) {
        const struct measure *m = rows[i].measure;
        if (rows[i].n[size] == 0)
            continue;
        struct summary s = sum_up(&rows[i], size);
        int digits = s.median < 1000 ? 1 : 0;
        printf("%-22s %12.*f %12.*f %12.*f %-4s", m->name, digits, s.median, digits, s.least,
               digits, s.most, m->unit);
        if (s.ratio > 0)
            printf(" %6.2f  %s", s.ratio, m->limit);
        putchar('\n');
    }
}

static void print_figures(unsigned size) {
    for (unsigned i = 0; i < rows_n; i++) {
        const struct measure *m = rows[i].measure;
        if (rows[i].n[size] == 0)
            continue;
        struct summary s = sum_up(&rows[i], size);
        char at[32] = "";
        if (!m->once)
            snprintf(at, sizeof at, ".%zu", bench_sizes[size]);
        if (s.ratio > 0)
            printf("figure: bench.%s%s %.2f ratio\n", m->name, at, s.ratio);
        else
            printf("figure: bench.%s%s %.1f %s\n", m->name, at, s.median, m->unit);
        if (size == 0 && strncmp(m->name, "publish", 7) == 0)
            printf("figure: bench.%s-over-limit%s %.1f ns\n", m->name, at, s.over);
    }
}

static void print_json(void) {
    const char *comma = "";
    printf("[");
    for (unsigned size = 0; size < SIZES; size++)
        for (unsigned i = 0; i < rows_n; i++) {
            const struct measure *m = rows[i].measure;
            if (rows[i].n[size] == 0)
                continue;
            struct summary s = sum_up(&rows[i], size);
            printf("%s\n  {\"name\": \"%s\", ", comma, m->name);
            if (!m->once)
                printf("\"bytes\": %zu, ", bench_sizes[size]);
            printf("\"unit\": \"%s\", \"median\": %.2f, \"min\": %.2f, \"max\": %.2f", m->unit,
                   s.median, s.least, s.most);
            if (s.ratio > 0)
                printf(", \"limit\": \"%s\", \"ratio\": %.3f", m->limit, s.ratio);
            printf("}");
            comma = ",";
        }
    printf("\n]\n");
}

void results_print(bool json) {
    if (json) {
        print_json();
        return;
    }
    for (unsigned size = 0; size < SIZES; size++) {
        if (!measured(size))
            continue;
        printf("\n== %zu bytes\n", bench_sizes[size]);
        print_table(size);
    }
    printf("\n");
    for (unsigned size = 0; size < SIZES; size++)
        print_figures(size);
}
