/* SPDX-License-Identifier: Apache-2.0
 *
 * sections.db as a file: made at once or not at all, somebody else's, damaged, edited, locked, and
 * in a directory that may not be written.
 */
#include "table_fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/wait.h>

START_TEST(created) {
    struct table table;
    struct stat st;
    size_t files = 0;
    ck_assert_int_eq(mkdir(temp_path("made"), 0700), 0);
    make("made/sections.db");
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0640);
    ck_assert_int_eq(table_db_create(path, error, sizeof error), -EEXIST);
    DIR *dir = opendir(temp_path("made"));
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        files += entry->d_name[0] != '.';
    closedir(dir);
    ck_assert_uint_eq(files, 1);
    expect_table(&table);
    ck_assert_uint_eq(table.key, SHM_DEFAULT_KEY);
    ck_assert_uint_eq(table.size, 64 << 20);
    ck_assert_uint_eq(table.backend, SHM_BACKEND_SYSV);
    ck_assert_uint_eq(table.mode, 0660);
    ck_assert_str_eq(table.group_name, "shm-workers");
    ck_assert(!table.lock_memory && table.auto_apply);
    ck_assert_uint_eq(table.workers_n + table.sections_n, 0);
    table_clear(&table);
    ck_assert_int_eq(table_db_create(temp_path("no/such"), error, sizeof error), -ENOENT);
    ck_assert_int_eq(sqlite3_libversion_number() >= 3037000, 1);
}
END_TEST

/* Ten at a time: one makes it, and whoever finds it finds it whole. */
START_TEST(created_by_many) {
    int made = 0, existed = 0;
    path = temp_path("many.db");
    for (int i = 0; i < 10; i++)
        if (fork() == 0) {
            int r = table_db_create(path, error, sizeof error);
            struct table table;
            _exit((r == 0 || r == -EEXIST) && load(&table) == 0 ? r == -EEXIST : 2);
        }
    for (int i = 0, status; i < 10; i++) {
        ck_assert_int_gt(wait(&status), 0);
        made += WIFEXITED(status) && WEXITSTATUS(status) == 0;
        existed += WIFEXITED(status) && WEXITSTATUS(status) == 1;
    }
    ck_assert_int_eq(made, 1);
    ck_assert_int_eq(existed, 9);
}
END_TEST

/* A log that outlived its database must not bring its rows back, nor be lost. */
START_TEST(old_logs_stay_old) {
    struct table table;
    sqlite3 *editor = NULL;
    ck_assert_int_eq(mkdir(temp_path("log"), 0700), 0);
    make("log/sections.db");
    ck_assert_int_eq(sqlite3_open(path, &editor), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(editor,
                                  "INSERT INTO section(name, owner, size) VALUES('old', 'w', 1)",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    ck_assert_int_eq(unlink(path), 0); /* while the editor keeps the log from going */
    make("log/sections.db");
    expect_table(&table);
    ck_assert_uint_eq(table.sections_n, 0);
    table_clear(&table);
    sqlite3_close(editor);
    bool kept = false;
    DIR *dir = opendir(temp_path("log"));
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        kept = kept || strncmp(entry->d_name, "sections.db-wal.aside-", 22) == 0;
    closedir(dir);
    ck_assert(kept);
}
END_TEST

static void write_file(const char *content, size_t bytes) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ck_assert_int_eq(write(fd, content, bytes), (ssize_t)bytes);
    close(fd);
}

START_TEST(other_files) {
    static const char noise[8192] = "noise, noise, noise";
    path = temp_path("other.db");
    expect_not_opened(-ENOENT, ": there is no section table: shmtool table init makes one");
    write_file(noise, sizeof noise);
    expect_not_opened(-EBADMSG, " is not an SQLite database: move it away, and restore a copy (an "
                                "empty table is made when there is none)");
    write_file("", 0);
    expect_not_opened(-EPROTONOSUPPORT,
                      " is empty: remove it, and make a new one (shmtool table init)");
    edit("CREATE TABLE a(b)");
    expect_not_opened(-EPROTONOSUPPORT,
                      " is an SQLite database of another application (application_id 0, ours is "
                      "1397247348): give the right file (--table)");
    unlink(path);
    make("newer.db");
    edit("PRAGMA user_version = 3");
    expect_not_opened(-EPROTONOSUPPORT, " has schema version 3, this program knows 2: use the "
                                        "version that wrote it");
    path = temp_dir;
    struct table_db *db = NULL;
    ck_assert_int_lt(table_db_open(&db, path, error, sizeof error), 0);
    ck_assert_ptr_null(db);
}
END_TEST

/* Any byte may be wrong: an error or a table, but no crash and nothing that is not checked. */
START_TEST(damaged_files) {
    unsigned seed = 7, loaded = 0;
    struct stat st;
    make("damaged.db");
    edit(table_db_example);
    edit("PRAGMA journal_mode = DELETE"); /* one file, with nothing beside it */
    ck_assert_int_eq(stat(path, &st), 0);
    size_t bytes = (size_t)st.st_size;
    uint8_t *whole = malloc(bytes), *hurt = malloc(bytes);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(read(fd, whole, bytes), (ssize_t)bytes);
    close(fd);
    for (int round = 0; round < 500; round++) {
        memcpy(hurt, whole, bytes);
        for (int i = 0; i < 1 + round % 5; i++)
            hurt[(size_t)rand_r(&seed) % bytes] = (uint8_t)rand_r(&seed);
        write_file((const char *)hurt, round % 10 == 0 ? bytes / 2 : bytes);
        struct table_db *db = NULL;
        struct table table;
        error[0] = '\0';
        int r = table_db_open(&db, path, error, sizeof error);
        if (r == 0)
            r = table_db_load(db, &table, error, sizeof error);
        table_db_close(db);
        if (r == 0) {
            ck_assert_int_eq(table_check(&table, error, sizeof error), 0);
            table_clear(&table);
            loaded++;
        } else {
            ck_assert_msg(error[0] != '\0' && strchr(error, '\n') == NULL, "%s", error);
        }
    }
    ck_assert_uint_gt(loaded, 10);
    ck_assert_uint_lt(loaded, 490);
    free(whole);
    free(hurt);
}
END_TEST

/* ---- editors at work */

START_TEST(version_follows_commits) {
    struct table table;
    make("version.db");
    struct table_db *db = opened();
    int64_t before = table_db_version(db);
    ck_assert_int_ge(before, 0);
    ck_assert_int_eq(table_db_version(db), before);
    edit("BEGIN; INSERT INTO section(name, owner, size) VALUES('cam', 'eye', 1000); ROLLBACK");
    ck_assert_int_eq(table_db_version(db), before);
    edit("INSERT INTO section(name, owner, size) VALUES('cam', 'eye', 1000)");
    ck_assert_int_ne(table_db_version(db), before);
    ck_assert_int_eq(table_db_load(db, &table, error, sizeof error), 0);
    ck_assert_uint_eq(table.sections_n, 1);
    table_clear(&table);
    /* another file under this name */
    before = table_db_version(db);
    const char *old = path;
    make("version2.db");
    ck_assert_int_eq(rename(path, old), 0);
    ck_assert_int_ne(table_db_version(db), before);
    table_db_close(db);
}
END_TEST

/* A shell with an open transaction holds nobody up; one that locks the file is named. */
START_TEST(editors_with_locks) {
    struct table table;
    sqlite3 *editor = NULL;
    make("locked.db");
    ck_assert_int_eq(sqlite3_open(path, &editor), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(editor,
                                  "BEGIN IMMEDIATE; INSERT INTO section(name, owner, size) "
                                  "VALUES('cam', 'eye', 1000)",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    expect_table(&table);
    ck_assert_uint_eq(table.sections_n, 0);
    table_clear(&table);
    ck_assert_int_eq(sqlite3_exec(editor,
                                  "COMMIT; PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE", NULL,
                                  NULL, NULL),
                     SQLITE_OK);
    expect_not_opened(-EBUSY, " is locked by another program: end its transaction, and try again");
    sqlite3_close(editor);
    expect_table(&table);
    ck_assert_uint_eq(table.sections_n, 1);
    table_clear(&table);
}
END_TEST

/* As a service has it: the table and its directory are root's, and the manager only reads. */
static int read_as_nobody(void) {
    struct table table;
    struct table_db *db = NULL;
    if (geteuid() == 0 && (setegid(65534) < 0 || seteuid(65534) < 0))
        return 100;
    int r = table_db_open(&db, path, error, sizeof error);
    if (r == 0)
        r = table_db_load(db, &table, error, sizeof error);
    if (r < 0)
        fprintf(stderr, "%s\n", error);
    table_db_close(db);
    int n = r < 0 ? 100 : (int)table.sections_n;
    if (r == 0)
        table_clear(&table);
    return n;
}

static int in_child(int (*run)(void)) {
    int status = 0;
    pid_t pid = fork();
    if (pid == 0)
        _exit(run());
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

START_TEST(directories_of_others) {
    static const char insert[] = "INSERT INTO section(name, owner, size) VALUES('s' || "
                                 "(SELECT count(*) FROM section), 'eye', 1000)";
    sqlite3 *editor = NULL;
    const char *dir = temp_path("root");
    ck_assert_int_eq(chmod(temp_dir, 0755), 0);
    ck_assert_int_eq(mkdir(dir, 0755), 0);
    make("root/sections.db");
    edit(insert);
    ck_assert_int_eq(chmod(path, 0644), 0);
    if (geteuid() != 0) /* else the other uid is what keeps it out */
        ck_assert_int_eq(chmod(dir, 0555), 0);
    ck_assert_int_eq(in_child(read_as_nobody), 1);
    if (geteuid() == 0) {
        /* a shell is open, and its log has what it committed */
        ck_assert_int_eq(sqlite3_open(path, &editor), SQLITE_OK);
        ck_assert_int_eq(sqlite3_exec(editor, insert, NULL, NULL, NULL), SQLITE_OK);
        ck_assert_int_eq(in_child(read_as_nobody), 2);
        sqlite3_close(editor);
        ck_assert_int_eq(in_child(read_as_nobody), 2);
    }
    ck_assert_int_eq(chmod(dir, 0755), 0);
}
END_TEST

/* Who may write the directory, and only looks, leaves an empty log behind. */
static bool look_leaves_log(void) {
    sqlite3 *looker = NULL;
    struct stat log;
    int r = sqlite3_open_v2(path, &looker, SQLITE_OPEN_READONLY, NULL);
    if (r == SQLITE_OK)
        r = sqlite3_exec(looker, "SELECT count(*) FROM section", NULL, NULL, NULL);
    sqlite3_close(looker);
    return r == SQLITE_OK && stat(temp_path("root2/sections.db-wal"), &log) == 0 &&
           log.st_size == 0;
}

/* Read without locks, an edit in between is noticed all the same, and a look is none. */
static int edited_between(void) {
    struct table table;
    struct table_db *db = NULL;
    if (setegid(65534) < 0 || seteuid(65534) < 0)
        return 100;
    if (table_db_open(&db, path, error, sizeof error) < 0)
        return 101;
    int64_t before = table_db_version(db);
    if (before < 0 || table_db_version(db) != before)
        return 102;
    if (seteuid(0) < 0)
        return 103;
    if (!look_leaves_log() || table_db_version(db) != before)
        return 106;
    edit("INSERT INTO section(name, owner, size) VALUES('new', 'eye', 1000)");
    if (table_db_version(db) == before)
        return 104;
    int r = table_db_load(db, &table, error, sizeof error);
    table_db_close(db);
    return r == -EBUSY && strstr(error, " is being edited: try again") != NULL ? 0 : 105;
}

START_TEST(edits_without_locks) {
    if (geteuid() != 0)
        return; /* who can't leave root can't be kept out by it */
    ck_assert_int_eq(chmod(temp_dir, 0755), 0);
    ck_assert_int_eq(mkdir(temp_path("root2"), 0755), 0);
    make("root2/sections.db");
    ck_assert_int_eq(chmod(path, 0644), 0);
    ck_assert_int_eq(in_child(edited_between), 0);
}
END_TEST

UNIT_MAIN("table_file", created, created_by_many, old_logs_stay_old, other_files, damaged_files,
          version_follows_commits, editors_with_locks, directories_of_others, edits_without_locks)
