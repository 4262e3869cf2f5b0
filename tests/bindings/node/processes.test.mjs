// SPDX-License-Identifier: Apache-2.0
//
// Threads, processes, and the manager's death.
import { execFileSync, fork } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import test from 'node:test';
import { Worker } from 'node:worker_threads';
import { assert, attachBoth, code, LONG, program, shm, until } from './common.mjs';

const { driver, reader } = await attachBoth();
const writer = driver.open('states');

test('a child process is another one', async () => {
    fs.writeFileSync('child.mjs', `import * as shm from 'shmclient';
        const answer = await shm.attach({ worker: 'driver' }).catch((error) => error);
        const segment = await shm.attach();
        process.send([answer.code, answer.holder, segment.open('states').read().data.toString()]);
        process.disconnect();`);
    writer.publish('inherited by nobody');
    const child = fork('./child.mjs', { execArgv: [] });
    const exit = once(child, 'exit');
    const [answer] = await once(child, 'message');
    assert.deepEqual(answer, ['EBUSY', process.pid, 'inherited by nobody']);
    const [status] = await exit;
    assert.equal(status, 0);
    writer.publish('still ours');
});

test('a lease goes with its process, however it ends', async () => {
    driver.detach();
    const held = program(`import * as shm from 'shmclient';
        const segment = await shm.attach({ worker: 'driver', timeout: ${LONG} });
        segment.open('states').publish('from the other');
        process.on('disconnect', () => process.exit()); // until then it stays
        process.send('held');`);
    await once(held.child, 'message');
    await assert.rejects(shm.attach({ worker: 'driver' }), (error) => {
        assert.equal(error.holder, held.child.pid);
        return code('EBUSY')(error);
    });
    const waits = shm.attach({ worker: 'driver', timeout: LONG });
    held.child.kill('SIGKILL');
    const successor = await waits;
    const temps = successor.open('states');
    assert.equal(temps.read().data.toString(), 'from the other');
    temps.publish('taken over');
    successor.detach();
});

const busy = `
    const shm = require('shmclient');
    const { parentPort, workerData } = require('node:worker_threads');
    (async () => {
        const segment = await shm.attach({ anonymous: workerData > 0 });
        const jobs = workerData > 0 && segment.open('jobs');
        const temps = segment.open('states');
        parentPort.postMessage('ready');
        if (jobs) for (let i = 0; i < 200; i++) await jobs.send(workerData + ':' + i);
        else for await (const { data } of temps) if (data.toString() === 'end') break;
        parentPort.postMessage('done');
    })();`;

test('threads attach for themselves', async () => {
    const owner = await shm.attach({ worker: 'driver', timeout: LONG });
    const jobs = owner.open('jobs'), temps = owner.open('states');
    const threads = [0, 1, 2].map((workerData) => new Worker(busy, { eval: true, workerData }));
    const ends = threads.map((thread) => once(thread, 'exit'));
    await Promise.all(threads.map((thread) => once(thread, 'message')));
    const last = [0, -1, -1, -1];
    for (let i = 0; i < 400; i++) {
        const [from, n] = (await jobs.receive({ timeout: LONG })).data.toString().split(':').map(Number);
        assert.equal(n, last[from] + 1); // each sender's in order
        last[from] = n;
    }
    temps.publish('end');
    await Promise.all(ends);
    owner.detach();
});

test('threads that are ended in the midst of it', async () => {
    for (let i = 0; i < 6; i++) {
        const thread = new Worker(busy, { eval: true, workerData: 0 });
        if (i % 2 === 0) await once(thread, 'message');
        await thread.terminate();
    }
});

// An edit of the table; resolves when it is in force.
async function edit(sql) {
    execFileSync('sqlite3', [process.env.TABLE, sql]);
    await shm.manager('reload', { timeout: LONG });
}

test('sections and segments get another size', async () => {
    let owner = await shm.attach({ worker: 'driver', timeout: LONG });
    const large = Buffer.alloc(50000, 1);
    let out = owner.open('states');
    const temps = reader.open('states'), plain = reader.open('plain');
    out.publish(large);
    owner.open('plain').write('plain', 0);
    const moved = temps.view();
    const next = temps.next({ timeout: LONG });
    await edit("UPDATE section SET size = 131072, count = 6 WHERE name = 'states'");
    out.publish(Buffer.alloc(100000, 2));
    assert.equal((await next).data.length, 100000);
    assert.equal(moved.data[49999], 1);

    owner.detach();
    const raw = plain.view(), view = temps.view();
    assert(raw.valid() && view.valid() && !raw.copied && !view.copied);
    const after = temps.next({ timeout: LONG });
    await edit("UPDATE segment SET size = 96 * 1048576");
    await until(() => reader.info().bytes === 96 * 1048576, 'the larger segment');
    assert(temps.read().data.equals(Buffer.alloc(100000, 2)));
    assert(!view.valid() && !raw.valid());
    assert.equal(view.data[99999], 2); // it is there all the same
    assert.equal(raw.data.toString('latin1', 0, 5), 'plain');
    owner = await shm.attach({ worker: 'driver', timeout: LONG });
    out = owner.open('states');
    out.publish('there');
    assert.equal((await after).data.toString(), 'there');
    assert(plain.view().valid());
    owner.detach();
});

test('a section gets another name, and a new one has its', async () => {
    const make = `INSERT INTO section(name, owner, size) VALUES('first', 'mover', 8192);
        INSERT INTO section(name, owner, kind, size, count) VALUES('line', 'mover', 'queue', 4096, 4)`;
    const publish = async (byte) => {
        const mover = await shm.attach({ worker: 'mover', timeout: LONG });
        mover.open('first').publish(Buffer.alloc(5000, byte));
        mover.detach();
    };
    await edit(make);
    await publish(1);
    const anybody = await shm.attach({ anonymous: true });
    const temps = anybody.open('first'), line = anybody.open('line');
    await edit("UPDATE section SET name = 'old' || name WHERE owner = 'mover'");
    await edit(make);
    await publish(2);
    const view = temps.view();
    assert.equal(view.copied, false);
    assert.equal(view.data[0], 1);
    assert.equal(temps.read().data[0], 1);
    let sent = 1;
    while (line.trySend(Buffer.alloc(500))) sent++;
    const waits = line.send(Buffer.alloc(500)); // by another section object
    const mover = await shm.attach({ worker: 'mover', timeout: LONG });
    for (const old = mover.open('oldline'); sent > 0; sent--) await old.receive({ timeout: LONG });
    await waits;
    assert.equal(mover.open('line').tryReceive(), null);
    mover.detach();
    await edit("DELETE FROM section WHERE name = 'oldfirst'");
    assert.throws(() => temps.view(), code('EIDRM'));
    assert.equal(view.data[4999], 1);
    anybody.detach();
});

test('a lease is taken back', async () => {
    const owner = await shm.attach({ worker: 'driver', timeout: LONG });
    const out = owner.open('states');
    out.publish('ours');
    execFileSync('shmtool', ['revoke', 'driver']);
    assert.throws(() => out.publish('reaches nobody'), code('EKEYREVOKED'));
    assert.equal(reader.open('states').read().data.toString(), 'ours');
    owner.detach();
});

test('the manager dies, and comes back', async () => {
    const owner = await shm.attach({ worker: 'driver', timeout: LONG });
    const out = owner.open('states'), temps = reader.open('states');
    out.publish('before');
    process.kill(Number(process.env.MANAGER), 'SIGKILL');
    await until(async () => shm.attach({ anonymous: true }).then((segment) => segment.detach(),
        (error) => code('ENOTCONN')(error)), 'its end');
    temps.read();
    const next = temps.next();
    out.publish('without it');
    assert.equal((await next).data.toString(), 'without it');
    const view = temps.view({ copy: true });
    assert.equal(view.data.toString(), 'without it');
    await assert.rejects(owner.create('extra', { bytes: 10 }), code('ENOTCONN'));
    await assert.rejects(shm.attach({ worker: 'other' }), (error) => error instanceof shm.ShmError);
    await assert.rejects(shm.manager('status'), code('ENOTCONN'));
    owner.detach();
});
