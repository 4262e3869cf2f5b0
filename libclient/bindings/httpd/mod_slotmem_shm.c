/* SPDX-License-Identifier: Apache-2.0
 *
 * httpd's slotmem provider "shm", over slots of a shm-manager's segment, or of a private one; in
 * place of the module of that name that comes with httpd.  Answers are those of httpd 2.4.71's.
 */
#include "slotmem.h"

#include <ap_mpm.h>
#include <ap_provider.h>
#include <apr_md5.h>
#include <apr_strings.h>
#include <errno.h>
#include <http_config.h>

#include <http_log.h>
#include <http_main.h>
#include <mpm_common.h>
#include <string.h>
#include <unistd.h>

#define PREFIX  "slotmem-shm-"
#define SUFFIX  ".shm"
#define ALLOWED "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"

/* Of this generation; the pool is cleared at its end. */
static apr_pool_t *generation_pool;
static ap_slotmem_instance_t *slotmems;
static pid_t parent; /* who made the first of them */

/* ---- names */

static bool is_none(const char *name) {
    return name == NULL || *name == '\0' || strcasecmp(name, "none") == 0;
}

/* The path by which httpd's own module would have it, but for the generation. */
static const char *identity_of(apr_pool_t *pool, const char *name) {
    if (ap_os_is_path_absolute(pool, name))
        return apr_pstrdup(pool, name);
    return ap_runtime_dir_relative(pool, apr_pstrcat(pool, PREFIX, name, SUFFIX, NULL));
}

/* What is readable of it, and allowed in a section's name. */
static const char *stem_of(apr_pool_t *pool, const char *identity) {
    const char *slash = strrchr(identity, '/');
    char *stem = apr_pstrdup(pool, slash == NULL ? identity : slash + 1);
    const size_t n = strlen(stem);
    if (n >= strlen(SUFFIX) && strcmp(stem + n - strlen(SUFFIX), SUFFIX) == 0)
        stem[n - strlen(SUFFIX)] = '\0';
    if (strncmp(stem, PREFIX, strlen(PREFIX)) == 0)
        stem += strlen(PREFIX);
    for (char *c = stem + strspn(stem, ALLOWED); *c != '\0'; c += strspn(c, ALLOWED))
        *c = '_';
    return stem;
}

/* httpd.STEM.HASH.GENERATION: two identities that come to the same are refused when the second
 * section is made. */
static void name_section(ap_slotmem_instance_t *slotmem, apr_pool_t *pool, const char *identity) {
    unsigned char digest[APR_MD5_DIGESTSIZE];
    int generation = 0;
    ap_mpm_query(AP_MPMQ_GENERATION, &generation);
    apr_md5(digest, identity, strlen(identity));
    apr_snprintf(slotmem->name, sizeof slotmem->name, "httpd.%.32s.%02x%02x%02x%02x%02x%02x.%x",
                 stem_of(pool, identity), digest[0], digest[1], digest[2], digest[3], digest[4],
                 digest[5], (unsigned)generation);
}

static ap_slotmem_instance_t *find(const char *identity) {
    ap_slotmem_instance_t *slotmem = slotmems;
    while (slotmem != NULL && (slotmem->identity == NULL || strcmp(slotmem->identity, identity)))
        slotmem = slotmem->next;
    return slotmem;
}

/* ---- making and finding them */

static ap_slotmem_instance_t *new_slotmem(apr_pool_t *pool, const char *name, apr_size_t size,
                                          unsigned num, ap_slotmem_type_t type) {
    static unsigned nameless;
    ap_slotmem_instance_t *slotmem = apr_pcalloc(pool, sizeof *slotmem);
    slotmem->size = size;
    slotmem->num = num;
    slotmem->type = type;
    if (is_none(name)) {
        name_section(
            slotmem, pool,
            identity_of(pool, apr_psprintf(pool, "none-%ld-%u", (long)getpid(), nameless++)));
        return slotmem;
    }
    slotmem->identity = identity_of(pool, name);
    name_section(slotmem, pool, slotmem->identity);
    if (type & AP_SLOTMEM_TYPE_PERSIST)
        slotmem->persist = apr_pstrcat(pool, slotmem->identity, ".persist", NULL);
    return slotmem;
}

static apr_status_t found(ap_slotmem_instance_t **ret, ap_slotmem_instance_t *slotmem,
                          apr_size_t size, unsigned num) {
    if (slotmem->size != size || slotmem->num != num) {
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, ap_server_conf,
                     "slotmem %s is there with %u slots of %" APR_SIZE_T_FMT " bytes, and now %u "
                     "of %" APR_SIZE_T_FMT " are asked for: give one of them another name",
                     slotmem->identity, slotmem->num, slotmem->size, num, size);
        return APR_EINVAL;
    }
    *ret = slotmem;
    return APR_SUCCESS;
}

static void restore(ap_slotmem_instance_t *slotmem, apr_pool_t *pool) {
    const apr_status_t status = persist_read(slotmem, pool);
    if (status == APR_SUCCESS)
        ap_log_error(APLOG_MARK, APLOG_DEBUG, 0, ap_server_conf, "slotmem %s: restored from %s",
                     slotmem->identity, slotmem->persist);
    else if (!APR_STATUS_IS_ENOENT(status))
        ap_log_error(APLOG_MARK, APLOG_ERR, status, ap_server_conf,
                     "slotmem %s: begins empty, as %s can't be used", slotmem->identity,
                     slotmem->persist);
}

/* The configuration goes; with the process, or for the next one.  That of a child goes with it. */
static apr_status_t end_generation(void *pool) {
    if (getpid() != parent)
        return APR_SUCCESS;
    for (ap_slotmem_instance_t *s = slotmems; s != NULL; s = s->next) {
        const apr_status_t status =
            s->persist == NULL ? APR_SUCCESS : persist_write(s, (apr_pool_t *)pool);
        if (status != APR_SUCCESS)
            ap_log_error(APLOG_MARK, APLOG_ERR, status, ap_server_conf,
                         "slotmem %s: can't be kept in %s; what that was, it is", s->identity,
                         s->persist);
    }
    segment_retire(slotmems);
    slotmems = NULL;
    generation_pool = NULL;
    return APR_SUCCESS;
}

/* What is made in a child is its alone. */
static void begin_generation(void) {
    if (parent != 0)
        return;
    parent = getpid();
    apr_pool_cleanup_register(generation_pool, generation_pool, end_generation,
                              apr_pool_cleanup_null);
}

static apr_status_t slotmem_create(ap_slotmem_instance_t **ret, const char *name, apr_size_t size,
                                   unsigned num, ap_slotmem_type_t type, apr_pool_t *pool) {
    *ret = NULL;
    if (generation_pool == NULL)
        return APR_ENOSHMAVAIL;
    if (!is_none(name)) {
        ap_slotmem_instance_t *there = find(identity_of(pool, name));
        if (there != NULL)
            return found(ret, there, size, num);
    }
    begin_generation();
    ap_slotmem_instance_t *slotmem = new_slotmem(generation_pool, name, size, num, type);
    const apr_status_t status = segment_make(slotmem);
    if (status != APR_SUCCESS)
        return status;
    if (slotmem->persist != NULL)
        restore(slotmem, pool);
    ap_slotmem_instance_t **last = &slotmems;
    while (*last != NULL)
        last = &(*last)->next;
    *last = *ret = slotmem;
    return APR_SUCCESS;
}

static apr_status_t slotmem_attach(ap_slotmem_instance_t **ret, const char *name, apr_size_t *size,
                                   unsigned *num, apr_pool_t *pool) {
    if (generation_pool == NULL || is_none(name))
        return APR_ENOSHMAVAIL;
    ap_slotmem_instance_t *slotmem = find(identity_of(pool, name));
    if (slotmem == NULL)
        return APR_ENOENT;
    *ret = slotmem;
    *size = slotmem->size;
    *num = slotmem->num;
    return APR_SUCCESS;
}

/* ---- using them */

/* APR's errors are those of the system. */
static apr_status_t status_of(int r) {
    return r >= 0 ? APR_SUCCESS : r == -ENOENT ? APR_NOTFOUND : APR_FROM_OS_ERROR(-r);
}

static apr_status_t check(const ap_slotmem_instance_t *slotmem, unsigned id) {
    return slotmem == NULL ? APR_ENOSHMAVAIL : id >= slotmem->num ? APR_EINVAL : APR_SUCCESS;
}

static apr_status_t slotmem_dptr(ap_slotmem_instance_t *slotmem, unsigned id, void **ret) {
    const apr_status_t status = check(slotmem, id);
    if (status == APR_SUCCESS)
        *ret = slotmem_at(slotmem, id);
    return status;
}

/* The callback may call any of these. */
static apr_status_t slotmem_doall(ap_slotmem_instance_t *slotmem, ap_slotmem_callback_fn_t *each,
                                  void *data, apr_pool_t *pool) {
    if (slotmem == NULL)
        return APR_ENOSHMAVAIL;
    for (unsigned id = 0; id < slotmem->num; id++) {
        const int wanted = slotmem_is_pregrab(slotmem) ? segment_in_use(slotmem, id) : 1;
        if (wanted < 0)
            return status_of(wanted);
        const apr_status_t status =
            wanted ? each(slotmem_at(slotmem, id), data, pool) : APR_SUCCESS;
        if (status != APR_SUCCESS)
            return status;
    }
    return APR_SUCCESS;
}

static apr_status_t change(ap_slotmem_instance_t *slotmem, unsigned id,
                           int (*how)(shmc_section *section, int slot)) {
    apr_status_t status = check(slotmem, id);
    if (status != APR_SUCCESS)
        return status;
    int r = segment_enter(slotmem);
    if (r == 0)
        r = how(slotmem->section, (int)id);
    segment_leave();
    return status_of(r);
}

static int fgrab(shmc_section *section, int slot) {
    return shmc_slot_fgrab(section, slot, SHMC_SLOT_STAYS);
}

static apr_status_t slotmem_fgrab(ap_slotmem_instance_t *slotmem, unsigned id) {
    return change(slotmem, id, fgrab);
}

static apr_status_t slotmem_release(ap_slotmem_instance_t *slotmem, unsigned id) {
    return change(slotmem, id, shmc_slot_release);
}

static apr_status_t slotmem_grab(ap_slotmem_instance_t *slotmem, unsigned *ret) {
    if (slotmem == NULL)
        return APR_ENOSHMAVAIL;
    if (slotmem->num == 0)
        return APR_EINVAL;
    int r = segment_enter(slotmem);
    if (r == 0)
        r = shmc_slot_grab(slotmem->section, SHMC_SLOT_STAYS);
    segment_leave();
    if (r < 0)
        return r == -ENOSPC ? APR_EINVAL : status_of(r);
    *ret = (unsigned)r;
    return APR_SUCCESS;
}

/* To get or to put also says that it is in use, unless that is to be said before. */
static apr_status_t ready(ap_slotmem_instance_t *slotmem, unsigned id, apr_size_t bytes) {
    const apr_status_t status = check(slotmem, id);
    if (status != APR_SUCCESS)
        return status;
    if (bytes > slotmem->size)
        return APR_EINVAL;
    if (!slotmem_is_pregrab(slotmem))
        return slotmem_fgrab(slotmem, id);
    const int in_use = segment_in_use(slotmem, id);
    return in_use == 0 ? APR_NOTFOUND : status_of(in_use);
}

static apr_status_t slotmem_get(ap_slotmem_instance_t *slotmem, unsigned id, unsigned char *to,
                                apr_size_t bytes) {
    const apr_status_t status = ready(slotmem, id, bytes);
    if (status == APR_SUCCESS)
        memcpy(to, slotmem_at(slotmem, id), bytes);
    return status;
}

static apr_status_t slotmem_put(ap_slotmem_instance_t *slotmem, unsigned id, unsigned char *from,
                                apr_size_t bytes) {
    const apr_status_t status = ready(slotmem, id, bytes);
    if (status == APR_SUCCESS)
        memcpy(slotmem_at(slotmem, id), from, bytes);
    return status;
}

static unsigned slotmem_num_slots(ap_slotmem_instance_t *slotmem) {
    return slotmem == NULL ? 0 : slotmem->num;
}

static unsigned slotmem_num_free_slots(ap_slotmem_instance_t *slotmem) {
    if (slotmem == NULL || slotmem->num == 0)
        return 0;
    int r = segment_enter(slotmem);
    if (r == 0)
        r = shmc_num_free(slotmem->section);
    segment_leave();
    return r < 0 ? 0 : (unsigned)r;
}

static apr_size_t slotmem_slot_size(ap_slotmem_instance_t *slotmem) {
    return slotmem == NULL ? 0 : slotmem->size;
}

/* ---- the module */

static const ap_slotmem_provider_t storage = {
    "sharedmem",  slotmem_doall,   slotmem_create,    slotmem_attach,         slotmem_dptr,
    slotmem_get,  slotmem_put,     slotmem_num_slots, slotmem_num_free_slots, slotmem_slot_size,
    slotmem_grab, slotmem_release, slotmem_fgrab,
};

static int pre_config(apr_pool_t *pool, apr_pool_t *log, apr_pool_t *temporary) {
    (void)log;
    (void)temporary;
    generation_pool = pool;
    slotmems = NULL;
    parent = 0;
    slotmem_settings = (struct slotmem_settings){.worker = "httpd"};
    return OK;
}

static int drop_privileges(apr_pool_t *pool, server_rec *s) {
    (void)pool;
    (void)s;
    segment_enter_child(slotmems);
    return OK;
}

static int monitor(apr_pool_t *pool, server_rec *s) {
    (void)pool;
    (void)s;
    segment_look();
    return OK;
}

static void register_hooks(apr_pool_t *pool) {
    ap_register_provider(pool, AP_SLOTMEM_PROVIDER_GROUP, "shm", AP_SLOTMEM_PROVIDER_VERSION,
                         &storage);
    ap_hook_pre_config(pre_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_drop_privileges(drop_privileges, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_monitor(monitor, NULL, NULL, APR_HOOK_MIDDLE);
}

/* ---- directives */

static const char *set_segment(cmd_parms *cmd, void *unused, const char *value) {
    (void)unused;
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    if (error != NULL)
        return error;
    if (strcasecmp(value, "auto") == 0)
        slotmem_settings.segment = SEGMENT_AUTO;
    else if (strcasecmp(value, "manager") == 0)
        slotmem_settings.segment = SEGMENT_MANAGER;
    else if (strcasecmp(value, "private") == 0)
        slotmem_settings.segment = SEGMENT_PRIVATE;
    else
        return "SlotmemShmSegment takes auto, manager or private";
    return NULL;
}

static const char *set_key(cmd_parms *cmd, void *unused, const char *value) {
    (void)unused;
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    char *end;
    const apr_int64_t key = apr_strtoi64(value, &end, 0);
    if (error != NULL)
        return error;
    if (*end != '\0' || key < 1 || key > (apr_int64_t)UINT32_MAX)
        return "SlotmemShmKey takes a number from 1 to 0xffffffff, as 0x53484d31";
    slotmem_settings.key = (uint32_t)key;
    return NULL;
}

static const char *set_worker(cmd_parms *cmd, void *unused, const char *value) {
    (void)unused;
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    if (error == NULL)
        slotmem_settings.worker = value;
    return error;
}

static const char *set_runtime_dir(cmd_parms *cmd, void *unused, const char *value) {
    (void)unused;
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    if (error == NULL)
        slotmem_settings.runtime_dir = ap_server_root_relative(cmd->pool, value);
    return error;
}

static const command_rec commands[] = {
    AP_INIT_TAKE1("SlotmemShmSegment", set_segment, NULL, RSRC_CONF,
                  "auto (a shm-manager's segment, or else a private one), manager or private"),
    AP_INIT_TAKE1("SlotmemShmKey", set_key, NULL, RSRC_CONF, "the key of the manager's segment"),
    AP_INIT_TAKE1("SlotmemShmWorker", set_worker, NULL, RSRC_CONF,
                  "the worker of the manager's table that httpd is (httpd)"),
    AP_INIT_TAKE1("SlotmemShmRuntimeDir", set_runtime_dir, NULL, RSRC_CONF,
                  "the manager's --runtime-dir"),
    {NULL}};

module AP_MODULE_DECLARE_DATA slotmem_shm_module = {
    STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, commands, register_hooks, AP_MODULE_FLAG_NONE,
};
