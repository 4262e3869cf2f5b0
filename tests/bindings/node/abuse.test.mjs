// SPDX-License-Identifier: Apache-2.0
//
// Wrong types, wrong order, what was closed, and collection at bad moments: an exception each, and
// never a crash.
import { createRequire } from 'node:module';
import test from 'node:test';
import { assert, attachBoth, code, program, shm, until } from './common.mjs';

const { driver } = await attachBoth();
const kinds = { states: 'snapshot', plain: 'raw', board: 'slots', jobs: 'queue' };
const nonsense = [undefined, null, true, -1, 0.5, NaN, 2 ** 60, 1n, '', 'x\0y', Symbol('s'), {}, [], () => 0,
    new Proxy({}, {}), new Date(), /x/, new Map(), Object.create(null)];

// All that is callable on it, by anybody who plays.
function methods(object) {
    const names = new Set();
    for (let from = object; from !== Object.prototype; from = Object.getPrototypeOf(from))
        for (const name of Object.getOwnPropertyNames(from)) names.add(name);
    return [...names].filter((name) => name !== 'constructor' && name !== 'close' && name !== 'detach');
}

function proper(error) {
    assert(error instanceof Error, String(error));
    assert(['Error', 'TypeError', 'RangeError', 'ShmError'].includes(error.name), error.stack);
}

async function attempt(call) {
    try {
        let result = call();
        if (typeof result?.next === 'function') result = result.next();
        await result;
    } catch (error) {
        proper(error);
    }
}

// Closes it in the end, so that what waits has an end.
async function play(object) {
    const pending = [];
    for (const name of methods(object))
        for (const first of nonsense)
            for (const second of [undefined, { timeout: 0 }, first])
                pending.push(attempt(() => {
                    const member = object[name];
                    return typeof member === 'function' && member.call(object, first, second);
                }));
    object.close();
    await Promise.all(pending);
}

test('wrong types', async () => {
    for (const name of Object.keys(kinds)) {
        await play(driver.open(name));
    }
    for (const first of nonsense)
        for (const second of nonsense)
            if (first !== undefined && first !== null && first !== '') {
                await attempt(() => driver.open(first, second));
                await attempt(() => driver.create(first, second));
                await attempt(() => driver.drop(first));
                await attempt(() => shm.manager(first, second));
            }
    for (const key of nonsense.slice(2)) await attempt(async () => (await shm.attach(key)).detach());
    for (const worker of nonsense.slice(2)) await attempt(async () => (await shm.attach({ worker })).detach());
    assert.throws(() => driver.open('states').publish(7), { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' });
    assert.throws(() => driver.open('plain').read(-1), { name: 'RangeError', code: 'ERR_OUT_OF_RANGE' });
    assert.throws(() => shm.Snapshot.prototype.read.call({}), TypeError);
    assert.throws(() => shm.Queue.prototype.trySend.call(driver.open('states'), 'x'), TypeError);
});

test('the addon itself', async () => {
    const addon = createRequire(import.meta.url)('./node_modules/shmclient/build/shmclient.node');
    assert.throws(() => addon.start(() => {}, addon), /started already/);
    const goes = setInterval(() => {}, 1000), pending = []; // a promise of its own keeps nothing
    const numbers = [...nonsense, 0, 1, 2, 3, 4, 5, 6, 7, 2 ** 32 - 1, Buffer.alloc(10)];
    for (const [name, call] of Object.entries(addon)) {
        if (['start', 'hold', 'close', 'detach', 'attach'].includes(name)) continue;
        for (const first of numbers) {
            for (const second of numbers)
                pending.push(attempt(() => call(first, second, {}, Buffer.alloc(5))));
            await Promise.all(pending.splice(0));
        }
    }
    clearInterval(goes);
    const fresh = program(`import { createRequire } from 'node:module';
        const addon = createRequire(process.cwd() + '/')('./node_modules/shmclient/build/shmclient.node');
        console.log(Object.keys(addon).join());
        try { addon.start(7) } catch (error) { console.log(error.name) }
        process.disconnect();`);
    assert.equal(await fresh.out, 'start\nError\n');
    assert.equal(await fresh.status, 0);
});

test('the wrong kind', () => {
    for (const Kind of [shm.Snapshot, shm.Raw, shm.Slots, shm.Queue])
        for (const [name, kind] of Object.entries(kinds)) {
            const section = driver.open(name);
            if (section.kind === new Kind(driver, name, 0).kind) continue;
            const pretended = new Kind(driver, name, section.id);
            for (const call of [() => pretended.read(), () => pretended.trySend('x'), () => pretended.grab()])
                assert.throws(call, (error) => error instanceof TypeError || code('EPROTOTYPE')(error), kind);
        }
});

test('buffers that were taken away', () => {
    const temps = driver.open('states');
    const data = new Uint8Array(100);
    structuredClone(data.buffer, { transfer: [data.buffer] });
    temps.publish(data);
    assert.equal(temps.read().data.length, 0);
    temps.publish('full');
    assert.throws(() => temps.read({ into: data }), TypeError);
    temps.publish(new Uint8Array(new SharedArrayBuffer(10)));
    assert.equal(temps.read({ into: new SharedArrayBuffer(10) }).data.length, 10);
});

test('use after close and detach', async () => {
    const segment = await shm.attach({ anonymous: true });
    const sections = Object.keys(kinds).map((name) => segment.open(name));
    const closed = segment.open('never');
    const wait = closed.next();
    closed.close();
    closed.close();
    await assert.rejects(wait, code('EBADF'));
    segment.detach();
    assert.throws(() => segment.info(), code('EBADF'));
    await assert.rejects(segment.create('x', { bytes: 1 }), code('EBADF'));
    for (const section of [closed, ...sections]) {
        assert(section.closed);
        assert.throws(() => section.info(), code('EBADF'));
        await play(section);
    }
});

test('a job is under way when its segment is detached', async () => {
    const segment = await shm.attach({ anonymous: true });
    const jobs = [segment.create('x', { bytes: 10 }), segment.drop('x'), shm.manager('status')];
    segment.detach();
    for (const { reason } of await Promise.allSettled(jobs))
        assert(reason === undefined || reason instanceof shm.ShmError);
});

test('what nobody has any more goes by itself, in any order', async () => {
    for (let i = 0; i < 30; i++) {
        const segment = await shm.attach();
        const temps = segment.open('states'), again = segment.open('states');
        temps.next({ timeout: 5 }).catch(() => {});
        again.view();
        again.values().next();
        if (i % 3 === 0) segment.detach();
        if (i % 5 === 0) again.close();
    }
    const descriptors = async () => (await import('node:fs')).readdirSync('/proc/self/fd').length;
    const high = await descriptors();
    driver.open('states').publish('x'); // ends the iterations' waits, which keep theirs
    await until(async () => { gc(); return await descriptors() < high - 10; }, 'their descriptors');
});

test('collection in the midst of everything', async () => {
    const busy = program(`import * as shm from 'shmclient';
        process.disconnect();
        const segment = await shm.attach({ anonymous: true });
        for (let i = 0; i < 200; i++) {
            const jobs = segment.open('jobs'), board = segment.open('board'), temps = segment.open('states');
            temps.view(); temps.read(); board.each(() => gc({ type: 'minor' }));
            temps.next({ timeout: 1 }).catch(() => {});
            if (i % 50 === 0) { gc(); await new Promise(setImmediate); }
        }
        segment.detach(); gc();`);
    assert.equal(await busy.status, 0);
});

test('an exception in a callback of ours is the callers', () => {
    assert.throws(() => driver.open('board').each(() => { throw new RangeError('mine'); }), RangeError);
});
