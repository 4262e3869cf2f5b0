INSERT INTO section(name, owner, size, stale_ms, format) VALUES
    ('temps', 'py', 4096, 0, 'temps/1'), ('large', 'py', 1048576, 0, ''),
    ('hasty', 'py', 64, 1, ''), ('other', 'somebody', 64, 0, '');
INSERT INTO section(name, owner, kind, size, shared) VALUES
    ('plain', 'py', 'raw', 5000, 0), ('pool', 'py', 'raw', 4096, 1);
INSERT INTO section(name, owner, kind, size, count) VALUES
    ('board', 'py', 'slots', 64, 8), ('jobs', 'py', 'queue', 65536, 8);
INSERT INTO section(name, owner, kind, size, count, shared) VALUES('score', 'py', 'slots', 16, 4, 1);
UPDATE worker SET may_create = 1048576 WHERE name = 'py';
