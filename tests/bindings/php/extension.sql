-- What tests/bindings/php/extension.php works on.
INSERT INTO worker(name, may_create) VALUES('maker', 1048576);
INSERT INTO section(name, owner, size, format) VALUES('text', 'author', 10000, 'text/1');
INSERT INTO section(name, owner, size, stale_ms) VALUES('brief', 'author', 64, 200);
INSERT INTO section(name, owner, size, count) VALUES('numbers', 'counter', 10240, 3);
INSERT INTO section(name, owner, size) VALUES('never', 'nobody', 64);
INSERT INTO section(name, owner, kind, size) VALUES('plain', 'php', 'raw', 5000);
INSERT INTO section(name, owner, kind, size, count) VALUES('board', 'php', 'slots', 64, 4);
INSERT INTO section(name, owner, kind, size, count, shared) VALUES('pool', 'php', 'slots', 64, 4, 1);
INSERT INTO section(name, owner, kind, size, count) VALUES('jobs', 'php', 'queue', 4096, 4);
