/* SPDX-License-Identifier: Apache-2.0
 *
 * The soak: sections change and move while everything runs.  Workers publish at full speed, readers
 * of all sorts check what they get, and the table is edited at random, rightly and wrongly; workers
 * are killed all the time, and now and then the manager is, in the midst of an edit.
 *
 *     moves SHM-MANAGER DIRECTORY KEY SECONDS SECTIONS EDITS-PER-SECOND [SEED]
 *
 * DIRECTORY holds state and runtime directories, and the table no sections.
 */
#include "editor.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECOND_NS UINT64_C(1000000000)

struct board *board;
uint32_t key;
char run_dir[256];

struct play {
    const char *program, *directory;
    pid_t manager, killer; /* of the manager; 0: none */
    pid_t workers[WORKERS], readers[ROLES];
    uint64_t random;
    unsigned kills, manager_kills;
    unsigned seconds, per_second;
    double took_s;
};

static pid_t start_child(void) {
    const pid_t child = fork();
    if (child == 0)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    return child;
}

/* ---- the manager */

static void start_manager(struct play *play) {
    play->manager = start_child();
    if (play->manager != 0)
        return;
    char state[256], number[32];
    snprintf(state, sizeof state, "%s/state", play->directory);
    snprintf(number, sizeof number, "0x%08x", key);
    execl(play->program, play->program, "--key", number, "--state-dir", state, "--runtime-dir",
          run_dir, NULL);
    _exit(127);
}

/* Somewhere in the next milliseconds, whatever it does then. */
static void kill_manager_soon(struct play *play) {
    const uint64_t delay_ns = random_next(&play->random) % 20000000;
    play->killer = start_child();
    if (play->killer != 0)
        return;
    const uint64_t end = now_ns() + delay_ns;
    while (now_ns() < end)
        poll(NULL, 0, 1);
    kill(play->manager, SIGKILL);
    _exit(0);
}

static void revive_manager(void *argument) {
    struct play *play = argument;
    if (play->killer == 0)
        return;
    waitpid(play->killer, NULL, 0);
    waitpid(play->manager, NULL, 0);
    play->killer = 0;
    play->manager_kills++;
    start_manager(play);
}

/* ---- workers and readers */

/* They take what manager and editor leave of a small machine, or the edits would come late. */
static pid_t start_busy_child(void) {
    const pid_t child = start_child();
    if (child == 0 && nice(10) == -1)
        _exit(1);
    return child;
}

static void start_worker(struct play *play, unsigned worker) {
    const uint64_t seed = random_next(&play->random);
    play->workers[worker] = start_busy_child();
    if (play->workers[worker] == 0) {
        write_until_stopped(worker, seed);
        _exit(0);
    }
}

static void start_reader(struct play *play, enum role role) {
    const uint64_t seed = random_next(&play->random);
    play->readers[role] = start_busy_child();
    if (play->readers[role] == 0) {
        read_until_stopped(role, seed);
        _exit(0);
    }
}

static void kill_worker(struct play *play, unsigned worker) {
    kill(play->workers[worker], SIGKILL);
    waitpid(play->workers[worker], NULL, 0);
    play->kills++;
}

/* Who doesn't end by itself has got stuck. */
static void end_all(const pid_t *children, unsigned n, const char *what) {
    const uint64_t end = now_ns() + 2 * PATIENCE_MS * UINT64_C(1000000);
    for (unsigned i = 0; i < n; i++) {
        int status = 0;
        while (waitpid(children[i], &status, WNOHANG) == 0) {
            if (now_ns() > end) {
                violate(OTHER, "%s %u doesn't end", what, i);
                kill(children[i], SIGKILL);
            }
            poll(NULL, 0, 5);
        }
        if (status != 0)
            violate(OTHER, "%s %u ended with status %d", what, i, status);
    }
}

/* ---- the play */

static void act(struct play *play, struct editor *editor, bool burst) {
    const uint64_t random = random_next(&play->random);
    const unsigned worker = (unsigned)(random >> 8) % WORKERS;
    const bool gone = random % 8 < 2;
    if (gone)
        kill_worker(play, worker);
    if ((random >> 16) % 32 == 0)
        kill_manager_soon(play);
    const unsigned long long before = editor->edits;
    if (random % 8 == 0)
        edit_without(editor, worker);
    while (editor->edits == before) /* where there was nothing to edit */
        edit_at_random(editor, burst);
    if (play->killer != 0)
        revive_manager(play);
    if (gone)
        start_worker(play, worker);
}

/* Nobody writes while the segment is replaced by one of another size; readers go along. */
static void act_without_workers(struct play *play, struct editor *editor) {
    for (unsigned i = 0; i < WORKERS; i++)
        kill_worker(play, i);
    if (random_next(&play->random) % 2 == 0)
        kill_manager_soon(play);
    edit_segment(editor);
    if (play->killer != 0)
        revive_manager(play);
    for (unsigned i = 0; i < WORKERS; i++)
        start_worker(play, i);
}

static uint64_t await_ns(uint64_t due) {
    uint64_t now = now_ns();
    while (now < due) {
        poll(NULL, 0, (int)((due - now) / 1000000) + 1);
        now = now_ns();
    }
    return now;
}

/* Without any of these there was nothing to see. */
static bool happened(const struct editor *editor) {
    for (unsigned i = 0; i < ROLES; i++)
        if (atomic_load(&board->reads[i]) == 0)
            return false;
    return atomic_load(&board->publishes) > 0 && editor->moves > 0 && editor->rejected > 0;
}

/* Edits come as the clock says; now and then none for a second, and then all of them at once. */
static void act_on_time(struct play *play, struct editor *editor) {
    const uint64_t start = now_ns(), each = SECOND_NS / play->per_second;
    const uint64_t end = start + play->seconds * SECOND_NS,
                   late = end + PATIENCE_MS / 1000 * SECOND_NS;
    uint64_t due = start, now = start;
    unsigned burst = 0, acts = 0;
    while ((now < end || (now < late && !happened(editor))) &&
           atomic_load(&board->failures.n) == 0) {
        if (burst > 0)
            burst--;
        else if (random_next(&play->random) % (4 * play->per_second) == 0)
            burst = play->per_second;
        const bool by_itself = (now - start) / (2 * SECOND_NS) % 2 == 1;
        if (by_itself != editor->by_itself)
            edit_by_itself(editor, by_itself);
        now = await_ns(burst == play->per_second ? due + SECOND_NS : due);
        if (++acts % (4 * play->per_second) == 0)
            act_without_workers(play, editor);
        else
            act(play, editor, burst > 0);
        due = now > due + 2 * SECOND_NS ? now : due + each; /* what is too late is dropped */
    }
    play->took_s = (double)(now_ns() - start) / 1e9;
}

static void run(struct play *play, struct editor *editor) {
    for (unsigned i = 0; i < WORKERS; i++)
        start_worker(play, i);
    for (unsigned i = 0; i < ROLES; i++)
        start_reader(play, (enum role)i);
    act_on_time(play, editor);
    atomic_store(&board->stop, true);
    end_all(play->workers, WORKERS, "worker");
    atomic_store(&board->ended, true);
    end_all(play->readers, ROLES, "reader");
    editor_empty(editor);
}

static void report_violations(void) {
    static const char *const names[WRONGS] = {"wrong_reads", "lost",       "overlaps",
                                              "leaks",       "unreported", "others"};
    for (unsigned i = 0; i < WRONGS; i++)
        printf("figure: violations.soak_%s %llu violations\n", names[i],
               atomic_load(&board->wrong[i]));
    printf("figure: violations.moves %llu violations\n", atomic_load(&board->failures.n));
    if (atomic_load(&board->failures.n) > 0)
        printf("first violation: %s\n", board->failures.first);
}

static int report(const struct play *play, const struct editor *editor) {
    unsigned long long reads = 0;
    for (unsigned i = 0; i < ROLES; i++) {
        reads += atomic_load(&board->reads[i]);
        if (atomic_load(&board->reads[i]) == 0)
            violate(OTHER, "role %u never read a value", i);
    }
    if (!happened(editor))
        violate(OTHER, "nothing happened");
    printf("figure: soak.sections %u sections\n", board->sections);
    printf("figure: soak.seconds %.1f s\n", play->took_s);
    printf("figure: soak.edits_per_second %.1f edits/s\n", (double)editor->edits / play->took_s);
    printf("figure: soak.refused_by_table %llu edits\n", editor->at_once);
    printf("figure: soak.by_itself %llu edits\n", editor->found);
    printf("figure: soak.pending %llu edits\n", editor->pending);
    printf("figure: soak.not_tried_again %llu edits\n", editor->untried);
    printf("figure: soak.resizes %llu segments\n", editor->resizes);
    printf("figure: soak.raw_writes %llu writes\n", atomic_load(&board->raw_writes));
    printf("figure: soak.raw_reads %llu reads\n", atomic_load(&board->raw_reads));
    printf("figure: moves.edits %llu edits\n", editor->edits);
    printf("figure: moves.rejected %llu edits\n", editor->rejected);
    printf("figure: moves.done %llu moves\n", editor->moves);
    printf("figure: moves.held %llu moves\n", editor->held);
    printf("figure: moves.publishes %llu publishes\n", atomic_load(&board->publishes));
    printf("figure: moves.in_place %llu publishes\n", atomic_load(&board->in_place));
    printf("figure: moves.reads %llu reads\n", reads);
    printf("figure: moves.missed %llu values\n", atomic_load(&board->missed));
    printf("figure: moves.manager_missed %llu calls\n", atomic_load(&board->away));
    printf("figure: moves.kills %u kills\n", play->kills);
    printf("figure: moves.manager_kills %u kills\n", play->manager_kills);
    report_violations();
    return atomic_load(&board->failures.n) > 0;
}

static bool arguments(struct play *play, struct editor *editor, int argc, char **argv) {
    if (argc < 7)
        return false;
    play->program = argv[1];
    play->directory = argv[2];
    key = (uint32_t)strtoul(argv[3], NULL, 0);
    play->seconds = (unsigned)strtoul(argv[4], NULL, 0);
    board->sections = (unsigned)strtoul(argv[5], NULL, 0);
    play->per_second = (unsigned)strtoul(argv[6], NULL, 0);
    play->random = argc > 7 ? strtoull(argv[7], NULL, 0) : now_ns();
    editor->random = play->random + 1;
    snprintf(run_dir, sizeof run_dir, "%s/run", play->directory);
    for (unsigned i = 0; i < board->sections && i < SECTIONS_MAX; i++)
        atomic_init(&board->progress[i].name, i);
    return play->seconds > 0 && play->per_second > 0 && board->sections >= WORKERS &&
           board->sections <= SECTIONS_MAX;
}

int main(int argc, char **argv) {
    static struct play play;
    static struct editor editor = {.revive = revive_manager, .reviver = &play};
    char table[256];
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (!arguments(&play, &editor, argc, argv)) {
        fprintf(stderr, "usage: moves SHM-MANAGER DIRECTORY KEY SECONDS SECTIONS EDITS-PER-SECOND "
                        "[SEED]\n");
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("seed: %llu\n", (unsigned long long)play.random);
    snprintf(table, sizeof table, "%s/state/sections.db", play.directory);
    start_manager(&play);
    editor.segment = attach(NULL);
    if (editor.segment != NULL) {
        editor_open(&editor, table);
        run(&play, &editor);
        editor_close(&editor);
        shmc_detach(editor.segment);
    }
    kill(play.manager, SIGTERM);
    waitpid(play.manager, NULL, 0);
    return report(&play, &editor);
}
