// SPDX-License-Identifier: Apache-2.0
//
// Views: in place, told from what is no more, and there until nobody has them.
import { once } from 'node:events';
import test from 'node:test';
import { Worker } from 'node:worker_threads';
import { assert, attachBoth, code, pause, program, shm, until } from './common.mjs';

const { driver } = await attachBoth();
const writer = driver.open('states');
const fill = (n, bytes = 60000) => writer.publish(Buffer.alloc(bytes, n));

test('a view is the value in place, until the writer comes round', async () => {
    const reader = await shm.attach(), temps = reader.open('states');
    fill(1);
    const view = temps.view();
    assert.equal(view.copied, false);
    assert.equal(view.data.length, 60000);
    assert(view.data.every((byte) => byte === 1));
    assert(view.valid());
    assert.equal(temps.tryNext(), null); // a view has seen it
    for (let i = 2; i < 20; i++) fill(i);
    assert.equal(view.valid(), false);
    assert.equal(temps.view().missed, 17);
    reader.detach();
});

test('small ones, and where it is asked for, are copies', async () => {
    const reader = await shm.attach(), temps = reader.open('states');
    fill(1, 100);
    for (const view of [temps.view(), temps.view({ copy: true })]) {
        assert.equal(view.copied, true);
        assert.equal(view.data.length, 100);
        view.data[0] = 2;
        assert(view.valid());
    }
    fill(3);
    assert.equal(temps.view({ copy: true }).copied, true);
    assert.throws(() => reader.open('never').view(), code('ENODATA'));
    reader.detach();
});

test('views outlive section and segment, the lease does not', async () => {
    fill(5);
    const segment = await shm.attach({ anonymous: true });
    const reader = await shm.attach();
    const views = [], raw = [];
    for (const from of [segment, reader]) {
        const temps = from.open('states'), plain = from.open('plain');
        views.push(temps.view(), temps.view());
        raw.push(plain.view());
        temps.close();
    }
    const before = driver.attachments().length;
    segment.detach();
    await until(() => driver.attachments().length === before - 1, 'the end of the lease');
    reader.detach();
    for (let i = 0; i < 3; i++) {
        gc();
        await pause(1);
    }
    for (const view of views) {
        assert.equal(view.copied, false);
        assert.equal(view.data[59999], 5);
        assert(view.valid());
    }
    driver.open('plain').write('now', 100);
    for (const view of raw) {
        assert.equal(view.data.toString('latin1', 100, 103), 'now');
        assert(view.valid());
    }
    fill(6);
    assert(views.every((view) => view.valid()));
});

test('what is released has no bytes any more', async () => {
    const reader = await shm.attach(), temps = reader.open('states');
    const view = temps.view(), { data } = view;
    const words = new Uint32Array(data.buffer, data.byteOffset, 10);
    view.release();
    assert.equal(data.length, 0);
    assert.equal(words.length, 0);
    assert.equal(view.data, undefined);
    assert.throws(() => view.valid(), code('EBADF'));
    view.release();
    reader.detach();
});

test('a store into one ends the program that made it, and changes nothing', async () => {
    fill(9);
    const stray = program(`import * as shm from 'shmclient';
        const view = (await shm.attach()).open('states').view();
        view.data[0] = 1;`);
    assert.equal(await stray.status, 'SIGSEGV');
    assert(driver.open('states').read().data.equals(Buffer.alloc(60000, 9)));
    fill(6);
});

test('there are no more in place than a few dozen, the others are copies', async () => {
    const reader = await shm.attach(), temps = reader.open('states');
    let views = Array.from({ length: 200 }, () => temps.view());
    const inPlace = views.filter(({ copied }) => !copied).length;
    assert(inPlace > 0 && inPlace < 100, `${inPlace} in place`);
    assert(views.every((view) => view.valid() && view.data[59999] === 6));
    views = null;
    await until(() => { gc(); return !temps.view().copied; }, 'the collection of views');
    assert.equal(temps.view().copied, false); // those that were collected were given back
    reader.detach();
});

test('threads have views, and end with them', async () => {
    for (let i = 0; i < 3; i++) {
        const worker = new Worker(`
            const shm = require('shmclient');
            const { parentPort } = require('node:worker_threads');
            (async () => {
                const segment = await shm.attach(), temps = segment.open('states');
                globalThis.view = temps.view();
                temps.next();
                parentPort.postMessage(globalThis.view.data[100]);
            })();`, { eval: true });
        const [byte] = await once(worker, 'message');
        await worker.terminate();
        assert.equal(byte, 6);
    }
});
