-- Version 1 of the schema, as files have it that an earlier shm-manager made: they are read still, and
-- `shmtool table upgrade` makes table-schema.sql of it.

CREATE TABLE segment (
    id INTEGER PRIMARY KEY DEFAULT 1
        CONSTRAINT "there is one segment row, with id 1: UPDATE segment SET ... changes it" CHECK (id = 1),
    key ANY NOT NULL DEFAULT '0x53484D31'
        CONSTRAINT "segment.key takes a number from 1 to 4294967295, or hex as '0x53484D31'" CHECK (
            (typeof(key) = 'integer' AND key BETWEEN 1 AND 4294967295)
            OR (typeof(key) = 'text' AND length(key) BETWEEN 3 AND 10 AND substr(key, 1, 2) IN ('0x', '0X')
                AND substr(key, 3) NOT GLOB '*[^0-9A-Fa-f]*' AND trim(substr(key, 3), '0') <> '')
            OR (typeof(key) = 'text' AND key NOT GLOB '*[^0-9]*' AND length(key) BETWEEN 1 AND 10
                AND CAST(key AS INTEGER) BETWEEN 1 AND 4294967295)),
    size INTEGER NOT NULL DEFAULT 67108864
        CONSTRAINT "segment.size takes a multiple of 4096 bytes from 1048576 (1 MiB) to 70368744177664 (64 TiB)"
        CHECK (size BETWEEN 1048576 AND 70368744177664 AND size % 4096 = 0),
    backend TEXT NOT NULL DEFAULT 'sysv'
        CONSTRAINT "segment.backend takes 'sysv' or 'memfd'" CHECK (backend IN ('sysv', 'memfd')),
    mode TEXT NOT NULL DEFAULT '0660'
        CONSTRAINT "segment.mode takes '0660' (only the group attaches) or '0664' (others may read)"
        CHECK (mode IN ('0660', '0664')),
    group_name TEXT NOT NULL DEFAULT 'shm-workers'
        CONSTRAINT "segment.group_name takes a group's name or number" CHECK (
            length(group_name) BETWEEN 1 AND 63 AND group_name NOT GLOB '*[^A-Za-z0-9_.-]*'),
    lock_memory INTEGER NOT NULL DEFAULT 0
        CONSTRAINT "segment.lock_memory takes 0 or 1" CHECK (lock_memory IN (0, 1)),
    auto_apply INTEGER NOT NULL DEFAULT 1
        CONSTRAINT "segment.auto_apply takes 0 or 1" CHECK (auto_apply IN (0, 1))
) STRICT;

CREATE TABLE worker (
    name TEXT PRIMARY KEY NOT NULL COLLATE NOCASE
        CONSTRAINT "worker.name takes 1 to 63 letters, digits, _ . or -, and begins with a letter" CHECK (
            length(CAST(name AS BLOB)) BETWEEN 1 AND 63 AND name GLOB '[A-Za-z]*'
            AND name NOT GLOB '*[^A-Za-z0-9_.-]*'),
    user TEXT
        CONSTRAINT "worker.user takes an account's name or number, or NULL for any that may attach" CHECK (
            user IS NULL OR (length(user) BETWEEN 1 AND 63 AND user NOT GLOB '*[^A-Za-z0-9_.-]*')),
    instances INTEGER NOT NULL DEFAULT 1
        CONSTRAINT "worker.instances takes 1 to 1024" CHECK (instances BETWEEN 1 AND 1024),
    may_create INTEGER NOT NULL DEFAULT 0
        CONSTRAINT "worker.may_create takes the bytes that it may create sections for, 0 for none"
        CHECK (may_create BETWEEN 0 AND 70368744177664)
) STRICT, WITHOUT ROWID;

CREATE TABLE section (
    id INTEGER PRIMARY KEY AUTOINCREMENT
        CONSTRAINT "section.id is 1 or more; leave it out and it is chosen" CHECK (id >= 1),
    name TEXT NOT NULL COLLATE NOCASE UNIQUE
        CONSTRAINT "section.name takes 1 to 63 letters, digits, _ . or -, and begins with a letter" CHECK (
            length(CAST(name AS BLOB)) BETWEEN 1 AND 63 AND name GLOB '[A-Za-z]*'
            AND name NOT GLOB '*[^A-Za-z0-9_.-]*'),
    owner TEXT NOT NULL
        CONSTRAINT "section.owner takes a worker's name, or one of its instances as 'worker#2'" CHECK (
            length(CAST(owner AS BLOB)) BETWEEN 1 AND 63 AND owner GLOB '[A-Za-z]*'
            AND owner NOT GLOB '*[^A-Za-z0-9_.#-]*'
            AND (instr(owner, '#') = 0 OR (substr(owner, instr(owner, '#') + 1) GLOB '[1-9]*'
                AND substr(owner, instr(owner, '#') + 1) NOT GLOB '*[^0-9]*'))),
    kind TEXT NOT NULL DEFAULT 'snapshot'
        CONSTRAINT "section.kind takes 'raw', 'snapshot', 'slots' or 'queue'"
        CHECK (kind IN ('raw', 'snapshot', 'slots', 'queue')),
    size INTEGER NOT NULL
        CONSTRAINT "section.size takes bytes, 1 or more: the largest value (snapshot), all of it (raw), one item (slots), one lane (queue)"
        CHECK (size BETWEEN 1 AND 70368744177664),
    count INTEGER
        CONSTRAINT "section.count takes 2 to 256 buffers (snapshot; NULL = 4), 1 to 65536 items (slots), 1 to 16383 lanes (queue), and NULL for raw"
        CHECK (CASE kind
            WHEN 'snapshot' THEN count IS NULL OR count BETWEEN 2 AND 256
            WHEN 'slots' THEN count IS NOT NULL AND count BETWEEN 1 AND 65536
            WHEN 'queue' THEN count IS NOT NULL AND count BETWEEN 1 AND 16383
            ELSE count IS NULL END),
    offset INTEGER
        CONSTRAINT "section.offset takes a multiple of 4096, or NULL to let the manager choose"
        CHECK (offset IS NULL OR (offset BETWEEN 0 AND 70368744177664 AND offset % 4096 = 0)),
    read_group TEXT
        CONSTRAINT "section.read_group takes a group's name or number, or NULL for all who may attach" CHECK (
            read_group IS NULL OR (length(read_group) BETWEEN 1 AND 63 AND read_group NOT GLOB '*[^A-Za-z0-9_.-]*')),
    write_group TEXT
        CONSTRAINT "section.write_group takes a group's name or number (slots and queues only), or NULL" CHECK (
            write_group IS NULL OR (kind IN ('slots', 'queue') AND length(write_group) BETWEEN 1 AND 63
                AND write_group NOT GLOB '*[^A-Za-z0-9_.-]*')),
    shared INTEGER NOT NULL DEFAULT 0
        CONSTRAINT "section.shared takes 0, or 1 for raw and slots that many write in place"
        CHECK (shared IN (0, 1) AND (shared = 0 OR kind IN ('raw', 'slots'))),
    persist INTEGER NOT NULL DEFAULT 0
        CONSTRAINT "section.persist takes 0 or 1" CHECK (persist IN (0, 1)),
    stale_ms INTEGER NOT NULL DEFAULT 0
        CONSTRAINT "section.stale_ms takes milliseconds up to a year, 0 for never; a raw section and stamp 'none' have no time to tell by"
        CHECK (stale_ms BETWEEN 0 AND 31622400000 AND (stale_ms = 0 OR (kind <> 'raw' AND stamp <> 'none'))),
    format TEXT
        CONSTRAINT "section.format takes up to 63 printable ASCII characters, or NULL" CHECK (
            format IS NULL OR (length(CAST(format AS BLOB)) <= 63 AND format NOT GLOB '*[^ -~]*')),
    stamp TEXT NOT NULL DEFAULT 'precise'
        CONSTRAINT "section.stamp takes 'precise', 'coarse' or 'none'" CHECK (stamp IN ('precise', 'coarse', 'none')),
    notify TEXT NOT NULL DEFAULT 'demand'
        CONSTRAINT "section.notify takes 'demand', 'always' or 'never'" CHECK (notify IN ('demand', 'always', 'never'))
) STRICT;

-- decimal or hex in, hex out
CREATE TRIGGER segment_key AFTER UPDATE OF key ON segment
WHEN typeof(new.key) = 'integer' OR substr(new.key, 1, 2) NOT IN ('0x', '0X')
BEGIN
    UPDATE segment SET key = printf('0x%08X', CAST(new.key AS INTEGER)) WHERE id = new.id;
END;

CREATE TRIGGER segment_stays BEFORE DELETE ON segment
BEGIN
    SELECT RAISE(ABORT, 'the segment row stays: change it by UPDATE segment SET ...; shmtool destroy removes the memory');
END;

-- Exact duplicates are left to UNIQUE, so that INSERT ... ON CONFLICT DO UPDATE works.
CREATE TRIGGER section_insert BEFORE INSERT ON section
BEGIN
    SELECT RAISE(ABORT, 'a section has that name but for its case, and upper and lower case are the same: choose another name')
        FROM section WHERE name = new.name AND name <> new.name COLLATE BINARY;
    SELECT RAISE(ABORT, 'section.read_group: the sysv backend can''t enforce one, who may attach may read: leave it NULL')
        FROM segment WHERE backend = 'sysv' AND new.read_group IS NOT NULL;
    SELECT RAISE(ABORT, 'section.size times section.count is more than segment.size: lower them, or make the segment larger first')
        FROM segment WHERE new.size * coalesce(new.count, CASE new.kind WHEN 'snapshot' THEN 4 ELSE 1 END) > size;
END;

CREATE TRIGGER section_update BEFORE UPDATE ON section
BEGIN
    SELECT RAISE(ABORT, 'a section has that name but for its case, and upper and lower case are the same: choose another name')
        FROM section WHERE name = new.name AND name <> new.name COLLATE BINARY AND id <> old.id;
    SELECT RAISE(ABORT, 'section.read_group: the sysv backend can''t enforce one, who may attach may read: leave it NULL')
        FROM segment WHERE backend = 'sysv' AND new.read_group IS NOT NULL;
    SELECT RAISE(ABORT, 'section.size times section.count is more than segment.size: lower them, or make the segment larger first')
        FROM segment WHERE new.size * coalesce(new.count, CASE new.kind WHEN 'snapshot' THEN 4 ELSE 1 END) > size;
END;

-- The short form stays short: an owner that is not known yet becomes a worker, and 'web#3' one with
-- three instances.
CREATE TRIGGER section_makes_owner AFTER INSERT ON section
BEGIN
    INSERT INTO worker(name, instances)
        SELECT substr(new.owner, 1, instr(new.owner || '#', '#') - 1),
            CASE instr(new.owner, '#') WHEN 0 THEN 1
                ELSE max(2, CAST(substr(new.owner, instr(new.owner, '#') + 1) AS INTEGER)) END
        WHERE NOT EXISTS (SELECT 1 FROM worker
            WHERE name = substr(new.owner, 1, instr(new.owner || '#', '#') - 1) COLLATE BINARY);
    SELECT RAISE(ABORT, 'section.owner: that worker has several instances: name one, as in ''web#1''')
        FROM worker WHERE name = new.owner AND instances > 1;
    SELECT RAISE(ABORT, 'section.owner: that worker has not so many instances: UPDATE worker SET instances = ... first')
        FROM worker WHERE name = substr(new.owner, 1, instr(new.owner, '#') - 1)
            AND (instances = 1 OR CAST(substr(new.owner, instr(new.owner, '#') + 1) AS INTEGER) > instances);
END;

CREATE TRIGGER section_changes_owner AFTER UPDATE OF owner ON section
BEGIN
    INSERT INTO worker(name, instances)
        SELECT substr(new.owner, 1, instr(new.owner || '#', '#') - 1),
            CASE instr(new.owner, '#') WHEN 0 THEN 1
                ELSE max(2, CAST(substr(new.owner, instr(new.owner, '#') + 1) AS INTEGER)) END
        WHERE NOT EXISTS (SELECT 1 FROM worker
            WHERE name = substr(new.owner, 1, instr(new.owner || '#', '#') - 1) COLLATE BINARY);
    SELECT RAISE(ABORT, 'section.owner: that worker has several instances: name one, as in ''web#1''')
        FROM worker WHERE name = new.owner AND instances > 1;
    SELECT RAISE(ABORT, 'section.owner: that worker has not so many instances: UPDATE worker SET instances = ... first')
        FROM worker WHERE name = substr(new.owner, 1, instr(new.owner, '#') - 1)
            AND (instances = 1 OR CAST(substr(new.owner, instr(new.owner, '#') + 1) AS INTEGER) > instances);
END;

CREATE TRIGGER section_keeps_id BEFORE UPDATE OF id ON section
WHEN new.id <> old.id
BEGIN
    SELECT RAISE(ABORT, 'section.id never changes, as the data follows it: change the name instead');
END;

CREATE TRIGGER worker_insert BEFORE INSERT ON worker
BEGIN
    SELECT RAISE(ABORT, 'a worker has that name but for its case, and upper and lower case are the same: write it as it is there, or choose another name')
        FROM worker WHERE name = new.name AND name <> new.name COLLATE BINARY;
END;

CREATE TRIGGER worker_is_owner BEFORE DELETE ON worker
WHEN EXISTS (SELECT 1 FROM section WHERE substr(owner, 1, instr(owner || '#', '#') - 1) = old.name COLLATE NOCASE)
BEGIN
    SELECT RAISE(ABORT, 'that worker still owns sections: delete those, or give them another owner, first');
END;

CREATE TRIGGER worker_renamed BEFORE UPDATE OF name ON worker
WHEN new.name <> old.name COLLATE BINARY
    AND EXISTS (SELECT 1 FROM section WHERE substr(owner, 1, instr(owner || '#', '#') - 1) = old.name COLLATE NOCASE)
BEGIN
    SELECT RAISE(ABORT, 'that worker owns sections under its name: INSERT the new one and UPDATE section.owner, then DELETE the old one');
END;

INSERT INTO segment DEFAULT VALUES;
