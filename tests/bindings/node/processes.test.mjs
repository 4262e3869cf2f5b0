// SPDX-License-Identifier: Apache-2.0
//
// Threads, processes, and the manager's death.
import { fork } from 'node:child_process';
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
