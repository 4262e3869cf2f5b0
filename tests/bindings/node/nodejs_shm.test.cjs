// SPDX-License-Identifier: Apache-2.0
//
// The calls of nodejs-shm: what its README says, and what became of its bugs.  The argument is a key
// that is free.
'use strict';
const assert = require('node:assert/strict');
const { execFileSync } = require('node:child_process');
const test = require('node:test');
const { Worker } = require('node:worker_threads');
const shm = require('shmclient/nodejs-shm');

const key = Number(process.argv[2]);
const text = (...read) => shm.readSHM(...read).toString('latin1');
const refused = (result) => {
    assert.equal(result, 0);
    assert.notEqual(shm.getErrMsg(), '');
};
const ipcs = () => execFileSync('ipcs', ['-m']).toString().split('\n')
    .map((line) => line.split(/\s+/)).find(([found]) => Number(found) === (key >>> 0));

test('the flags', () => {
    refused(shm.openSHM(key, 'a', 0, 0));
    refused(shm.openSHM(key, 'w', 0, 0));
    refused(shm.openSHM(key, 'c', 0o600, 0));
    for (const flags of ['', 'x', 'cc', 'c\0']) refused(shm.openSHM(key, flags, 0o600, 100));
    const made = shm.openSHM(key, 'n', 0o640, 100);
    const [, id, , mode, bytes] = ipcs();
    assert.deepEqual([made, 0o640, 100], [Number(id), parseInt(mode, 8), Number(bytes)]);
    refused(shm.openSHM(key, 'n', 0o640, 100));
    assert.equal(shm.openSHM(key, 'c', 0, 10), made);
    assert.equal(shm.sizeSHM(made), 100);
    refused(shm.openSHM(key, 'c', 0, 101));

    assert.equal(shm.writeSHM(made, Buffer.from('abcdef'), 0, 6), 6);
    assert.equal(shm.openSHM(key, 'a', 0, 0), made);
    refused(shm.writeSHM(made, Buffer.from('x'), 0, 1)); // as it was opened last
    assert.equal(text(made, 0, 6), 'abcdef');
    for (let i = 0; i < 3; i++) assert.equal(shm.closeSHM(made), 1);
    refused(shm.closeSHM(made));
    refused(shm.sizeSHM(made));
    const again = shm.openSHM(key, 'w', 0, 0);
    assert.equal(again, made);
    assert.equal(text(again, 2, 3), 'cde');
    assert.equal(shm.deleteSHM(again), 1);
    refused(shm.openSHM(key, 'w', 0, 0));
    assert.equal(text(again, 2, 3), 'cde'); // until it is closed
    assert.equal(shm.closeSHM(again), 1);
    refused(shm.deleteSHM(again));
});

test('bounds', () => {
    const shmid = shm.openSHM(key, 'c', 0, 16);
    assert.equal(ipcs()[3], '600'); // nobody could use a segment of mode 0
    assert.equal(shm.writeSHM(shmid, Buffer.from('0123456789'), 10, 10), 6); // up to its end
    assert.equal(shm.writeSHM(shmid, Buffer.from('x'), 16, 1), 0);
    refused(shm.writeSHM(shmid, Buffer.from('x'), 17, 1));
    refused(shm.writeSHM(shmid, Buffer.from('x'), -1, 1));
    refused(shm.writeSHM(shmid, Buffer.from('x'), 0, -1));
    assert.equal(shm.writeSHM(shmid, Buffer.from('ab'), 0, 1000), 2); // no byte beyond the Buffer
    assert.equal(text(shmid, 10, 6), '012345');
    assert.equal(text(shmid, 0, 3), 'ab\0');
    assert.equal(text(shmid, 16, 0), '');
    assert.equal(text(shmid, 0, 0), '');
    for (const [start, length] of [[0, 17], [17, 0], [-1, 1], [0, -1], [2 ** 53, 1]]) {
        const error = shm.readSHM(shmid, start, length);
        assert(error instanceof Error); // returned, as it was
        assert.match(error.message, /^SHM read error/);
    }
    const read = shm.readSHM(shmid, 0, 2);
    shm.writeSHM(shmid, Buffer.from('zz'), 0, 2);
    assert.equal(read.toString(), 'ab'); // a copy
    assert.equal(shm.deleteSHM(shmid), 1);
    assert.equal(shm.closeSHM(shmid), 1);
});

test('wrong types', () => {
    for (const wrong of [undefined, null, '7', {}, [], NaN, 1n, Symbol('s'), () => 0]) {
        for (const call of [shm.sizeSHM, shm.deleteSHM, shm.closeSHM]) assert.throws(() => call(wrong), TypeError);
        assert.throws(() => shm.openSHM(wrong, 'c', 0, 1), TypeError);
        assert.throws(() => shm.readSHM(wrong, 0, 1), TypeError);
        assert.throws(() => shm.writeSHM(1, wrong, 0, 1), TypeError);
        if (typeof wrong !== 'string') assert.throws(() => shm.openSHM(key, wrong, 0, 1), TypeError);
    }
    for (const unknown of [-1, 0, 12345678, 2 ** 40]) {
        refused(shm.sizeSHM(unknown));
        assert(shm.readSHM(unknown, 0, 1) instanceof Error);
    }
    refused(shm.openSHM(2 ** 32, 'c', 0, 1));
    refused(shm.openSHM(key, 'c', 0, -1));
    refused(shm.openSHM(key, 'c', 0, 2 ** 62));
});

test('more than 32, private ones, and threads', async () => {
    const many = Array.from({ length: 40 }, () => shm.openSHM(0, 'n', 0, 10));
    assert.equal(new Set(many).size, 40);
    assert(many.every((shmid) => shmid > 0 && shm.deleteSHM(shmid) === 1 && shm.closeSHM(shmid) === 1));
    const shmid = shm.openSHM(key, 'c', 0, 10);
    shm.writeSHM(shmid, Buffer.from('shared'), 0, 6);
    const thread = new Worker(`const shm = require('shmclient/nodejs-shm');
        const shmid = shm.openSHM(${key}, 'w', 0, 0);
        require('node:worker_threads').parentPort.postMessage(shm.readSHM(shmid, 0, 6).toString());`,
    { eval: true });
    const said = await new Promise((resolve) => thread.once('message', resolve));
    assert.equal(said, 'shared');
    shm.deleteSHM(shmid);
    shm.closeSHM(shmid);
});
