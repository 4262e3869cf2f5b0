/* SPDX-License-Identifier: Apache-2.0
 *
 * shmtool run: becomes the worker, then the command.  The lease is an open descriptor that goes on
 * over exec, so that a program which knows nothing of all this (a PHP script with shmop) owns its
 * sections for as long as it, or a child that it left behind, lives.
 */
#include "tool.h"

#include "core/futex.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RUN_CANNOT_EXECUTE = 126, RUN_NOT_FOUND = 127 };

/* So that the command, and a shmtool in it, find the segment which the options named. */
static int pass_on(const struct tool *tool, const shmc *segment) {
    struct shmc_segment_info info;
    char lease[256], key[16];
    int r = shmc_lease_env(segment, lease, sizeof lease);
    if (r >= 0)
        r = shmc_segment(segment, &info);
    if (r < 0)
        return r;
    snprintf(key, sizeof key, "0x%08x", info.key);
    if (setenv("SHMC_LEASE", lease, 1) < 0 || setenv("SHMC_KEY", key, 1) < 0 ||
        (tool->runtime_dir && setenv("SHMC_RUNTIME_DIR", tool->runtime_dir, 1) < 0))
        return -errno;
    return 0;
}

/* By `shmtool run`, which we run under. */
static bool is_leased_here(const char *worker) {
    const char *lease = getenv("SHMC_LEASE"), *name = lease ? strchr(lease, ':') : NULL;
    const size_t n = strlen(worker);
    return name && strncmp(name + 1, worker, n) == 0 && name[1 + n] == ':';
}

static int eligible(const struct shmc_worker_info *worker) {
    return is_leased_here(worker->name) ? 2 : worker->state == SHMC_GONE;
}

int choose_worker(const struct tool *tool, const char *pattern, char name[SHMC_NAME_BYTES]) {
    struct shmc_worker_info *workers;
    const struct shmc_worker_info *chosen = NULL;
    shmc *segment;
    size_t n;
    int code = attach(tool, NULL, 0, tool->wait_ms, &segment);
    if (code != TOOL_OK)
        return code;
    if (shmc_workers(segment, &workers, &n) < 0) {
        code = fail(tool, TOOL_ABSENT, "%s", shmc_last_error(segment));
        shmc_detach(segment);
        return code;
    }
    for (size_t i = 0; i < n; i++)
        if (fnmatch(pattern, workers[i].name, 0) == 0 &&
            (!chosen || eligible(&workers[i]) > eligible(chosen)))
            chosen = &workers[i];
    if (chosen)
        memcpy(name, chosen->name, SHMC_NAME_BYTES);
    else
        code = fail(tool, TOOL_NO, "no worker matches '%s'; shmtool workers shows all", pattern);
    free(workers);
    shmc_detach(segment);
    return code;
}

int verb_run(const struct tool *tool) {
    shmc *segment;
    if (!tool->worker)
        return fail(
            tool, TOOL_USAGE,
            "which worker? shmtool run --worker NAME -- COMMAND (shmtool workers lists them)");
    char name[SHMC_NAME_BYTES];
    int code = TOOL_OK;
    const char *worker = tool->worker;
    const uint64_t since_ns = clock_mono_ns();
    if (is_pattern(worker)) {
        code = choose_worker(tool, worker, name);
        worker = name;
    }
    if (code == TOOL_OK)
        code = attach(tool, worker, SHMC_LEASE_FD, wait_left(tool, since_ns), &segment);
    if (code != TOOL_OK)
        return code;
    int r = pass_on(tool, segment);
    if (r < 0) {
        code =
            fail(tool, TOOL_NO, "the lease of '%s' can't be handed on: %s", worker, strerror(-r));
        shmc_detach(segment);
        return code;
    }
    execvp(tool->argv[0], tool->argv);
    code = errno == ENOENT ? RUN_NOT_FOUND : RUN_CANNOT_EXECUTE;
    fail(tool, code, "%s: %s", tool->argv[0], strerror(errno));
    shmc_detach(segment);
    return code;
}
