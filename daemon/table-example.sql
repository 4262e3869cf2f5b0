-- An example for sections.db.  Try it:  shmtool table example | sqlite3 /var/lib/shm-manager/sections.db
-- and see what became of it:             shmtool history --wait
-- Every column: man shm-table

BEGIN;

-- The short form: a section of up to 64 KiB, written by the worker `temp-driver` alone, read by all
-- who may attach.  The worker's row is made with it.
INSERT INTO section(name, owner, size) VALUES ('temps', 'temp-driver', 65536);

-- A value that counts as stale after half a second, and says what its bytes are: a client that expects
-- another format gets a clear error.
INSERT INTO section(name, owner, size, stale_ms, format)
    VALUES ('camera', 'grabber', 100000, 500, 'camera/2');

-- Plain bytes, with no promise about whole values: what a shmop script reads and writes.
INSERT INTO section(name, owner, kind, size) VALUES ('counters', 'php-report', 'raw', 4096);

-- A small value that is read while it is written at full speed: more buffers, and no time stamps.
INSERT INTO section(name, owner, size, count, stamp) VALUES ('pose', 'grabber', 64, 8, 'none');

-- Who may be a worker: only that account.
-- UPDATE worker SET user = 'www-data' WHERE name = 'php-report';

-- A prefork server: web#1 to web#4, the first that is free for each process that attaches as `web`.
-- INSERT INTO worker(name, instances) VALUES ('web', 4);
-- INSERT INTO section(name, owner, size) VALUES ('web-1', 'web#1', 4096), ('web-2', 'web#2', 4096);

-- More memory for all of it (at the next start, after shmtool destroy).
-- UPDATE segment SET size = 268435456;

COMMIT;
