/* SPDX-License-Identifier: Apache-2.0
 *
 * How fast is it, next to what the machine could do at best and to what else there is?  Two
 * processes, each pinned to a core, go through the same list of measures in step.  Everything that
 * is measured is measured in the same run as its limit and in turn with it, and counts as a ratio:
 * a machine that is busy or slow shows in both.
 */
#ifndef SHM_BENCH_H
#define SHM_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIZES         5
#define MESSAGE_SIZES 2 /* of which so many, the smallest, are of messages and slots */
#define BYTES_MAX     ((size_t)1 << 20)
#define ROUNDS_MAX    64
#define LINE          64
#define BUFFERS       4 /* the table's default count; the limits take as many places in turn */

extern const size_t bench_sizes[SIZES];

enum side { LEFT, RIGHT };

/* What the measures are told, and each process's private memory. */
struct bench {
    enum side side;
    size_t bytes;
    double effort; /* 1 = a measure takes about 20 ms */
    uint8_t *from, *to;
};

/* ---- pair.c: the two processes */

/* Makes what they share and the second process, pins both; *ret says which one this is. */
void pair_start(struct bench *ret);
void pair_end(void);

/* Both have come here. */
void pair_meet(void);

/* Steps that one side makes and the other waits for. */
void pair_tell(uint64_t step);
void pair_await(uint64_t step);
uint64_t pair_told(void); /* what the other one told last */
void pair_restart(void);  /* both at 0 again */

/* A result that the other side is to know. */
void pair_give(double result);
double pair_given(enum side side);

/* Shared memory of both for the limits: per side BUFFERS values and a flag line. */
uint8_t *pair_buffer(enum side side, unsigned index);
uint64_t *pair_flag(enum side side);

void pair_pin(unsigned nth); /* this process, to that one of the cores that it may have */

__attribute__((noreturn, format(printf, 1, 2))) void bench_die(const char *format, ...);
void bench_relax(void); /* in a loop that waits for the other process */

/* ---- time.c */
void time_calibrate(void);
uint64_t time_ticks(void);
double time_ns(uint64_t ticks);     /* of a span */
double time_span(uint64_t started); /* until now, less what looking costs */
double median(double *values, size_t n);

/* ---- value.c: what is sent can be told from anything torn or old */
void value_stamp(uint8_t *value, size_t bytes, uint64_t number);
uint64_t value_check(const uint8_t *value, size_t bytes, const char *what);

/* ---- channels: ways of handing a value to the other side; both can send */
struct channel {
    const char *name;
    bool every;  /* each value arrives, so that a sender waits for its receiver */
    bool asleep; /* who waits sleeps */
    bool (*open)(const struct bench *bench);
    void (*send)(const uint8_t *value, size_t bytes);
    void (*receive)(uint8_t *value, size_t bytes); /* waits for the next */
    void (*close)(void);
};

extern const struct channel channel_limit, channel_library, channel_lmdb, channel_iceoryx,
    channel_sysv, channel_mqueue, channel_seqpacket, channel_stream, channel_pipe,
    channel_sysv_asleep, channel_mqueue_asleep, channel_seqpacket_asleep, channel_stream_asleep,
    channel_pipe_asleep;

/* Sockets are made before the second process is. */
void peers_prepare(void);
void peers_end(void);
void iceoryx_end(void);

/* ---- measures */
struct measure {
    const char *name;
    const char *limit; /* the measure that it is a ratio to; NULL: none */
    const char *unit;
    double (*run[2])(const struct bench *bench, const struct channel *channel); /* by side */
    const struct channel *channel;
    bool once; /* the size makes no difference */
};

double send_left(const struct bench *bench, const struct channel *channel);
double send_right(const struct bench *bench, const struct channel *channel);
double receive_left(const struct bench *bench, const struct channel *channel);
double receive_right(const struct bench *bench, const struct channel *channel);
double latency_left(const struct bench *bench, const struct channel *channel);
double latency_right(const struct bench *bench, const struct channel *channel);
double flood_left(const struct bench *bench, const struct channel *channel);
double flood_right(const struct bench *bench, const struct channel *channel);

extern const struct measure limit_measures[], library_measures[], peer_measures[], queue_measures[],
    slot_measures[], private_measures[];

/* library.c: the sections are NAME-BYTES, of workers `left` and `right`. */
void library_start(enum side side);
void library_end(void);
struct shmc_section *library_section(const char *prefix, size_t bytes); /* "PREFIX-BYTES" */
void library_must(int64_t r); /* or it ends, with the segment's last error */

/* ---- open.c: sections PREFIX1 to PREFIXn */
void open_all(const char *prefix, unsigned n);

/* ---- traffic.c: a writer and a reader of the section `written` at full speed, as processes */
enum noted { EDITED, IDLE, UNNOTED }; /* what the times between their calls count as */

void traffic_start(void);
void traffic_check(void); /* both still run: what they read was right */
void traffic_note(enum noted noted);
void traffic_end(void);
void traffic_print(void);

/* ---- edits.c: so many edits of each kind in that sections.db, which the manager is asked to
 * apply, and as many that it finds by itself.  There are sections s1 to s4 of worker driver1 and
 * `written` of worker `writer`, each of 100 bytes. */
#define EDIT_ROUNDS_MAX 64
void edits_measure(const char *table, unsigned rounds);

/* ---- results.c */
void results_add(const struct measure *measure, unsigned size, unsigned round, double value);
void results_print(bool json);

#endif
