/* SPDX-License-Identifier: Apache-2.0
 *
 * LMDB in memory (/dev/shm), without syncing: a transaction writes the one key, another reads it.
 */
#include "bench.h"

#include <lmdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAP_BYTES ((size_t)64 << 20)

static enum side side;
static char path[2][64];
static MDB_env *env[2];
static MDB_dbi dbi[2];
static MDB_txn *look;
static uint64_t received;

static void must(int r, const char *what) {
    if (r != 0)
        bench_die("%s: %s", what, mdb_strerror(r));
}

/* Who writes makes the environment; the other one opens it behind a pair_meet(). */
static void open_one(enum side from) {
    MDB_txn *txn;
    must(mdb_env_create(&env[from]), "mdb_env_create");
    must(mdb_env_set_mapsize(env[from], MAP_BYTES), "mdb_env_set_mapsize");
    must(mdb_env_open(env[from], path[from], MDB_NOSUBDIR | MDB_NOSYNC | MDB_WRITEMAP, 0600),
         "mdb_env_open");
    must(mdb_txn_begin(env[from], NULL, 0, &txn), "mdb_txn_begin");
    must(mdb_dbi_open(txn, NULL, 0, &dbi[from]), "mdb_dbi_open");
    must(mdb_txn_commit(txn), "mdb_txn_commit");
}

static bool lmdb_open(const struct bench *bench) {
    side = bench->side;
    pid_t pid = side == LEFT ? getpid() : getppid();
    for (int from = 0; from < 2; from++)
        snprintf(path[from], sizeof path[from], "/dev/shm/shm-bench-%d-%d", (int)pid, from);
    open_one(side);
    pair_meet();
    open_one(!side);
    must(mdb_txn_begin(env[!side], NULL, MDB_RDONLY, &look), "mdb_txn_begin");
    mdb_txn_reset(look);
    received = 0;
    pair_meet();
    return true;
}

static void lmdb_send(const uint8_t *value, size_t bytes) {
    MDB_txn *txn;
    MDB_val key = {1, (void *)(uintptr_t) "k"}, data = {bytes, (void *)(uintptr_t)value};
    must(mdb_txn_begin(env[side], NULL, 0, &txn), "mdb_txn_begin");
    must(mdb_put(txn, dbi[side], &key, &data, 0), "mdb_put");
    must(mdb_txn_commit(txn), "mdb_txn_commit");
}

static void lmdb_receive(uint8_t *value, size_t bytes) {
    MDB_val key = {1, (void *)(uintptr_t) "k"}, data;
    for (uint64_t number = received; number == received; bench_relax()) {
        must(mdb_txn_renew(look), "mdb_txn_renew");
        int r = mdb_get(look, dbi[!side], &key, &data);
        if (r == 0) {
            memcpy(&number, data.mv_data, sizeof number);
            if (number != received) {
                memcpy(value, data.mv_data, bytes);
                received = number;
                mdb_txn_reset(look);
                return;
            }
        } else if (r != MDB_NOTFOUND) {
            must(r, "mdb_get");
        }
        mdb_txn_reset(look);
    }
}

static void lmdb_close(void) {
    mdb_txn_abort(look);
    for (int from = 0; from < 2; from++)
        mdb_env_close(env[from]);
    char lock[80];
    snprintf(lock, sizeof lock, "%s-lock", path[side]);
    unlink(lock);
    unlink(path[side]);
}

const struct channel channel_lmdb = {
    .name = "lmdb",
    .open = lmdb_open,
    .send = lmdb_send,
    .receive = lmdb_receive,
    .close = lmdb_close,
};
