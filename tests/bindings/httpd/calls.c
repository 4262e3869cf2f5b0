/* SPDX-License-Identifier: Apache-2.0
 *
 * A module of httpd's that makes the calls of the slotmem provider "shm", whichever is loaded, when
 * the configuration was read, and then ends httpd.  `Calls WHAT FILE`:
 *
 *     script  each call in turn, with what it answers: two providers should write the same
 *     strict  what ours refuses, and httpd's own does all the same
 *     write   fills a slotmem that is kept
 *     read    what is kept of it
 *     kill    a child is killed in the midst of grabbing and releasing
 *     leak    100,000 calls of each kind, and what memory they left
 */
#include "usage.h"

#include <ap_provider.h>
#include <ap_slotmem.h>
#include <apr_strings.h>
#include <http_config.h>
#include <http_core.h>
#include <http_main.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SLOTS      4
#define BYTES      24
#define OPERATIONS 100000

static const char *what, *path;
static const ap_slotmem_provider_t *shm;
static apr_pool_t *pool;
static FILE *out;

static void say(const char *call, long answer) {
    fprintf(out, "%s: %ld\n", call, answer);
    fflush(out); /* before a child has it as well */
}
#define SAY(call) say(#call, (long)(call))

/* ---- script */

struct visit {
    unsigned seen, until;
    char first[16];
};

static apr_status_t visit(void *slot, void *data, apr_pool_t *unused) {
    struct visit *visit = data;
    (void)unused;
    visit->first[visit->seen % sizeof visit->first] = *(char *)slot;
    return ++visit->seen == visit->until ? 4711 : APR_SUCCESS;
}

static void visit_all(ap_slotmem_instance_t *slotmem, unsigned until) {
    struct visit all = {.until = until};
    say("doall", shm->doall(slotmem, visit, &all, pool));
    say("doall saw", all.seen);
    for (unsigned i = 0; i < all.seen; i++)
        say("doall's slot begins with", all.first[i]);
}

static void put_text(ap_slotmem_instance_t *slotmem, unsigned id, const char *text) {
    unsigned char value[BYTES] = {0};
    void *slot = NULL;
    memcpy(value, text, strlen(text));
    fprintf(out, "put %u %s\n", id, text);
    SAY(shm->put(slotmem, id, value, sizeof value));
    memset(value, '?', sizeof value);
    SAY(shm->get(slotmem, id, value, sizeof value));
    fprintf(out, "got %.*s\n", (int)sizeof value, value);
    SAY(shm->dptr(slotmem, id, &slot));
    if (slot != NULL)
        fprintf(out, "in place %.*s\n", BYTES, (char *)slot);
}

static void grab_all(ap_slotmem_instance_t *slotmem) {
    unsigned id = 99;
    for (unsigned i = 0; i <= SLOTS; i++) {
        SAY(shm->grab(slotmem, &id));
        say("grabbed", id);
        SAY(shm->num_free_slots(slotmem));
    }
    SAY(shm->release(slotmem, 1));
    SAY(shm->release(slotmem, 1));
    SAY(shm->release(slotmem, SLOTS + 1));
    SAY(shm->num_free_slots(slotmem));
    SAY(shm->fgrab(slotmem, 1));
    SAY(shm->fgrab(slotmem, 1));
    SAY(shm->fgrab(slotmem, SLOTS + 1));
    SAY(shm->num_free_slots(slotmem));
    SAY(shm->release(slotmem, 0));
    SAY(shm->release(slotmem, 2));
    SAY(shm->num_free_slots(slotmem));
}

/* What a child does is seen by its parent, and the other way round. */
static void in_child(ap_slotmem_instance_t *slotmem) {
    void *slot = NULL;
    int status = 0;
    SAY(shm->dptr(slotmem, 1, &slot));
    const pid_t child = fork();
    if (child == 0) {
        unsigned id = 99;
        strcpy(slot, "by the child");
        SAY(shm->num_free_slots(slotmem));
        SAY(shm->grab(slotmem, &id));
        say("the child grabbed", id);
        put_text(slotmem, id, "child's");
        SAY(shm->release(slotmem, 3));
        visit_all(slotmem, 0);
        _exit(0);
    }
    waitpid(child, &status, 0);
    say("the child ended with", status);
    fprintf(out, "in place %s\n", (char *)slot);
    SAY(shm->num_free_slots(slotmem));
    visit_all(slotmem, 0);
}

static void use(const char *name, ap_slotmem_type_t type) {
    ap_slotmem_instance_t *slotmem = NULL, *same = NULL;
    unsigned num = 0;
    apr_size_t size = 0;
    void *slot = NULL;
    fprintf(out, "--- %s, type %u\n", name == NULL ? "(null)" : name, type);
    SAY(shm->attach(&same, name, &size, &num, pool));
    SAY(shm->create(&slotmem, name, BYTES, SLOTS, type, pool));
    if (slotmem == NULL)
        return;
    SAY(shm->attach(&same, name, &size, &num, pool));
    say("attached the same", same == NULL ? -1 : same == slotmem);
    say("its size and number", (long)(size * 1000 + num));
    same = NULL;
    if (name != NULL && strcasecmp(name, "none") != 0) {
        SAY(shm->create(&same, name, BYTES, SLOTS, type, pool));
        say("created the same", same == slotmem);
    }
    SAY(shm->num_slots(slotmem));
    SAY(shm->num_free_slots(slotmem));
    SAY(shm->slot_size(slotmem));
    SAY(shm->dptr(slotmem, SLOTS - 1, &slot));
    SAY(shm->dptr(slotmem, SLOTS, &slot));
    put_text(slotmem, 3, "free till now");
    SAY(shm->num_free_slots(slotmem));
    SAY(shm->release(slotmem, 3));
    visit_all(slotmem, 0);
    grab_all(slotmem);
    put_text(slotmem, 1, "one");
    put_text(slotmem, 3, "three");
    put_text(slotmem, SLOTS, "beyond");
    visit_all(slotmem, 0);
    visit_all(slotmem, 2);
    in_child(slotmem);
}

static void script(void) {
    ap_slotmem_instance_t *none = NULL;
    unsigned char byte = 0;
    unsigned id;
    void *slot;
    say(shm->name, 0);
    use("plain", 0);
    use("pregrab", AP_SLOTMEM_TYPE_PREGRAB);
    use("kept", AP_SLOTMEM_TYPE_PERSIST | AP_SLOTMEM_TYPE_PREGRAB);
    use("forgetful", AP_SLOTMEM_TYPE_PERSIST | AP_SLOTMEM_TYPE_CLEARINUSE);
    use("odd name/with: what \xe4 section's has not, and more of it than fits in one", 0);
    use(apr_pstrcat(pool, path, ".absolute", NULL), AP_SLOTMEM_TYPE_PREGRAB);
    use("none", 0);
    use("None", AP_SLOTMEM_TYPE_PERSIST);
    use("", 0);
    use(NULL, AP_SLOTMEM_TYPE_PREGRAB);
    fprintf(out, "--- nothing\n");
    SAY(shm->doall(none, visit, NULL, pool));
    SAY(shm->dptr(none, 0, &slot));
    SAY(shm->get(none, 0, &byte, 1));
    SAY(shm->put(none, 0, &byte, 1));
    SAY(shm->grab(none, &id));
    SAY(shm->fgrab(none, 0));
    SAY(shm->release(none, 0));
}

/* ---- strict */

/* What is made in a child is that child's alone. */
static void make_in_child(void) {
    ap_slotmem_instance_t *slotmem = NULL;
    unsigned num, id = 99;
    apr_size_t size;
    const pid_t child = fork();
    if (child == 0) {
        SAY(shm->create(&slotmem, "child's", BYTES, SLOTS, 0, pool));
        SAY(shm->fgrab(slotmem, 0));
        SAY(shm->grab(slotmem, &id));
        say("grabbed", id);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    SAY(shm->attach(&slotmem, "child's", &size, &num, pool));
}

static void strict(void) {
    ap_slotmem_instance_t *slotmem = NULL, *other = NULL, *empty = NULL;
    unsigned char value[2 * BYTES] = {0};
    unsigned id = 99;
    SAY(shm->create(&slotmem, "strict", BYTES, SLOTS, 0, pool));
    SAY(shm->put(slotmem, 0, value, BYTES + 1));
    SAY(shm->get(slotmem, 0, value, BYTES + 1));
    SAY(shm->num_free_slots(slotmem));
    SAY(shm->create(&other, "strict", BYTES + 1, SLOTS, 0, pool));
    SAY(shm->create(&other, "strict", BYTES, SLOTS + 1, 0, pool));
    SAY(shm->create(&other, "huge", BYTES, 1u << 30, 0, pool) != APR_SUCCESS);
    say("nothing was created", other == NULL);
    SAY(shm->num_slots(NULL));
    SAY(shm->num_free_slots(NULL));
    SAY(shm->slot_size(NULL));
    SAY(shm->create(&empty, "empty", BYTES, 0, 0, pool));
    SAY(shm->num_slots(empty));
    SAY(shm->num_free_slots(empty));
    SAY(shm->grab(empty, &id));
    SAY(shm->doall(empty, visit, NULL, pool));
    make_in_child();
}

/* ---- what is kept */

static void write_kept(ap_slotmem_type_t type) {
    ap_slotmem_instance_t *slotmem = NULL;
    unsigned id = 99;
    SAY(shm->create(&slotmem, "state", BYTES, SLOTS, type, pool));
    SAY(shm->grab(slotmem, &id));
    put_text(slotmem, id, "first");
    SAY(shm->fgrab(slotmem, 2));
    put_text(slotmem, 2, "third");
}

static void read_kept(ap_slotmem_type_t type) {
    ap_slotmem_instance_t *slotmem = NULL;
    void *slot = NULL;
    SAY(shm->create(&slotmem, "state", BYTES, SLOTS, type, pool));
    SAY(shm->num_free_slots(slotmem));
    for (unsigned id = 0; id < SLOTS; id++) {
        SAY(shm->dptr(slotmem, id, &slot));
        fprintf(out, "%u: %.*s\n", id, BYTES, (char *)slot);
    }
    visit_all(slotmem, 0);
}

/* ---- kill */

static void kill_children(void) {
    ap_slotmem_instance_t *slotmem = NULL;
    unsigned id = 0;
    SAY(shm->create(&slotmem, "killed", BYTES, SLOTS, AP_SLOTMEM_TYPE_PREGRAB, pool));
    for (unsigned i = 0; i < 20; i++) {
        const pid_t child = fork();
        while (child == 0)
            if (shm->grab(slotmem, &id) == APR_SUCCESS)
                shm->release(slotmem, id);
        usleep(1000 + 100 * i); /* somewhere in the midst */
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        for (id = 0; id < SLOTS; id++) /* what it held is in use, and anybody's to release */
            shm->release(slotmem, id);
    }
    SAY(shm->num_free_slots(slotmem));
    for (unsigned i = 0; i < SLOTS; i++)
        SAY(shm->grab(slotmem, &id));
}

/* ---- leak */

static unsigned long resident(void) {
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%*u %lu", &pages) != 1)
        abort();
    fclose(file);
    return pages * (unsigned long)sysconf(_SC_PAGESIZE);
}

static void operate(ap_slotmem_instance_t *slotmem, unsigned n) {
    unsigned char value[BYTES] = "value";
    struct visit all = {.until = 0};
    unsigned id, num;
    apr_size_t size;
    apr_pool_t *own;
    apr_pool_create(&own, pool); /* what a request's would be */
    for (unsigned i = 0; i < n; i++) {
        apr_pool_clear(own);
        bool good = shm->attach(&slotmem, "leak", &size, &num, own) == APR_SUCCESS &&
                    shm->grab(slotmem, &id) == APR_SUCCESS &&
                    shm->put(slotmem, id, value, BYTES) == APR_SUCCESS &&
                    shm->get(slotmem, id, value, BYTES) == APR_SUCCESS &&
                    shm->num_free_slots(slotmem) == SLOTS - 1 &&
                    shm->doall(slotmem, visit, &all, own) == APR_SUCCESS &&
                    shm->release(slotmem, id) == APR_SUCCESS &&
                    shm->release(slotmem, id) == APR_NOTFOUND;
        if (!good)
            abort();
    }
    apr_pool_destroy(own);
}

static void leak(void) {
    ap_slotmem_instance_t *slotmem = NULL;
    SAY(shm->create(&slotmem, "leak", BYTES, SLOTS, AP_SLOTMEM_TYPE_PREGRAB, pool));
    operate(slotmem, OPERATIONS / 10);
    const unsigned long before = resident();
    const unsigned files = usage_entries("/proc/self/fd");
    const unsigned threads = usage_entries("/proc/self/task");
    operate(slotmem, OPERATIONS);
    const unsigned long behind = resident();
    fprintf(out, "figure: bindings.httpd.leak_operations %d operations\n", OPERATIONS);
    fprintf(out, "figure: bindings.httpd.leak %ld bytes\n", (long)(behind - before));
    say("leaked", behind > before && behind - before > 4ul * OPERATIONS);
    say("descriptors left", (long)usage_entries("/proc/self/fd") - (long)files);
    say("threads left", (long)usage_entries("/proc/self/task") - (long)threads);
}

/* ---- the module */

static int post_config(apr_pool_t *configuration, apr_pool_t *log, apr_pool_t *temporary,
                       server_rec *s) {
    const ap_slotmem_type_t kept = AP_SLOTMEM_TYPE_PERSIST | AP_SLOTMEM_TYPE_PREGRAB;
    (void)log;
    (void)s;
    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG || what == NULL)
        return OK;
    pool = strcmp(what, "leak") == 0 ? temporary : configuration;
    shm = ap_lookup_provider(AP_SLOTMEM_PROVIDER_GROUP, "shm", AP_SLOTMEM_PROVIDER_VERSION);
    out = fopen(path, "w");
    if (shm == NULL || out == NULL)
        return HTTP_INTERNAL_SERVER_ERROR;
    if (strcmp(what, "script") == 0)
        script();
    else if (strcmp(what, "strict") == 0)
        strict();
    else if (strcmp(what, "write") == 0)
        write_kept(kept);
    else if (strcmp(what, "write-forgetful") == 0)
        write_kept(kept | AP_SLOTMEM_TYPE_CLEARINUSE);
    else if (strcmp(what, "read") == 0)
        read_kept(kept);
    else if (strcmp(what, "read-forgetful") == 0)
        read_kept(kept | AP_SLOTMEM_TYPE_CLEARINUSE);
    else if (strcmp(what, "kill") == 0)
        kill_children();
    else if (strcmp(what, "leak") == 0)
        leak();
    fprintf(out, "done\n");
    fclose(out);
    return OK;
}

/* The provider's end is a cleanup that it may register in this hook: it is to have done so. */
static int end(apr_pool_t *configuration, apr_pool_t *log, apr_pool_t *temporary, server_rec *s) {
    (void)configuration;
    (void)log;
    (void)temporary;
    (void)s;
    return shm == NULL ? OK : HTTP_INTERNAL_SERVER_ERROR;
}

static const char *set_calls(cmd_parms *cmd, void *unused, const char *first, const char *second) {
    (void)unused;
    what = apr_pstrdup(cmd->pool, first);
    path = apr_pstrdup(cmd->pool, second);
    return NULL;
}

static const command_rec commands[] = {
    AP_INIT_TAKE2("Calls", set_calls, NULL, RSRC_CONF, "which calls, and where they are told"),
    {NULL}};

static void register_hooks(apr_pool_t *unused) {
    (void)unused;
    ap_hook_post_config(post_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_config(end, NULL, NULL, APR_HOOK_REALLY_LAST);
}

module AP_MODULE_DECLARE_DATA slotmem_calls_module = {
    STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, commands, register_hooks, AP_MODULE_FLAG_NONE,
};
