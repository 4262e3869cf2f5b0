// SPDX-License-Identifier: Apache-2.0
//
// Waiting: it holds up nobody, and ends when it is to end.
import fs from 'node:fs/promises';
import test from 'node:test';
import { assert, attachBoth, busyOrSlow, code, LONG, pause, program, shm, until } from './common.mjs';

const { driver, reader } = await attachBoth();
const writer = driver.open('states');

test('next() is there when it is published', async () => {
    const temps = reader.open('states');
    writer.publish('old');
    temps.read();
    const both = [temps.next(), temps.next({ timeout: LONG })];
    writer.publish('first');
    assert.equal((await both[0]).data.toString(), 'first');
    writer.publish('second');
    assert.equal((await both[1]).data.toString(), 'second');
    await assert.rejects(temps.next({ timeout: 20 }), code('ETIMEDOUT'));
    await assert.rejects(temps.next({ timeout: 0 }), code('EAGAIN'));
    const changed = temps.changed({ timeout: LONG });
    writer.publish('third');
    assert.equal(await changed, true);
    assert.equal(await temps.changed(), true);
    assert.equal(temps.read().data.toString(), 'third');
    await assert.rejects(temps.changed({ timeout: 20 }), code('ETIMEDOUT'));
});

test('an AbortSignal ends a wait', async () => {
    const temps = reader.open('states'), controller = new AbortController();
    temps.read();
    const waits = [temps.next({ signal: controller.signal }), temps.changed({ signal: controller.signal })];
    controller.abort();
    for (const wait of waits) await assert.rejects(wait, { name: 'AbortError' });
    await assert.rejects(temps.next({ signal: controller.signal }), { name: 'AbortError' });
    writer.publish('behind it');
    assert.equal((await temps.next()).data.toString(), 'behind it');
});

test('iteration sees all newer values, and ends', async () => {
    const temps = reader.open('states'), got = [];
    temps.read();
    const iterated = (async () => {
        for await (const value of temps.values({ every: true })) {
            got.push(value.data.readUInt32LE());
            if (got.length === 200) break;
        }
    })();
    for (let i = 0; i < 200; i++) {
        writer.publish(new Uint32Array([i]));
        if (i % 4 === 3) await until(() => got.length > i, `value ${i}`);
    }
    await iterated;
    assert.deepEqual(got, Array.from({ length: 200 }, (_, i) => i));
});

test('a writer who is faster than the loop leaves the event loop its turns', async () => {
    const temps = reader.open('states'), jobs = driver.open('jobs');
    let stop = false;
    setTimeout(() => { stop = true; }, 10);
    writer.publish('one');
    for await (const { version } of temps) {
        if (stop) break;
        writer.publish(`behind ${version}`);
    }
    stop = false;
    setTimeout(() => { stop = true; }, 10);
    while (!stop) {
        await jobs.send('job');
        await jobs.receive();
    }
});

test('close, detach and return end an iteration; abort and errors throw', async () => {
    const other = await shm.attach();
    const ends = [
        [(section) => section.close(), null],
        [() => other.detach(), null],
        [(section, iteration) => iteration.return(), null],
        [(section, iteration, controller) => controller.abort(), 'AbortError'],
    ];
    for (const [end, name] of ends) {
        const section = (ends[1][0] === end ? other : reader).open('quiet');
        const controller = new AbortController();
        const iteration = section.values({ signal: controller.signal });
        const next = iteration.next();
        await pause(1);
        end(section, iteration, controller);
        if (name) await assert.rejects(next, { name });
        else assert.equal((await next).done, true);
        assert.equal((await iteration.next()).done, true);
    }
});

test('what was removed ends a wait', async () => {
    const quiet = reader.open('quiet');
    const closed = assert.rejects(quiet.next(), code('EBADF'));
    await driver.create('brief', { bytes: 10 });
    const removed = assert.rejects(reader.open('brief').next(), code('EIDRM'));
    await driver.drop('brief');
    await removed;
    quiet.close();
    await closed;
});

test('what becomes stale', async () => {
    const aging = reader.open('aging'), out = driver.open('aging');
    out.publish('young');
    assert.equal((await aging.next()).data.toString(), 'young');
    await assert.rejects(aging.next(), code('ETIME'));
    const iteration = aging.values();
    const next = iteration.next();
    await pause(1);
    out.publish('newer');
    assert.equal((await next).value.data.toString(), 'newer');
    await assert.rejects(aging.values({ stale: 'throw' }).next(), code('ETIME'));
});

test('receivers of several types, and senders without room', async () => {
    const jobs = driver.open('jobs'), other = await shm.attach({ anonymous: true });
    const out = other.open('jobs');
    const five = jobs.receive({ type: 5, timeout: LONG }), three = jobs.receive({ type: 3 });
    const low = jobs.receive({ type: -2 });
    await out.send('three', { type: 3 });
    await out.send('one', { type: 1 });
    await out.send('five', { type: 5 });
    assert.equal((await five).data.toString(), 'five');
    assert.equal((await three).data.toString(), 'three');
    assert.equal((await low).data.toString(), 'one');
    await assert.rejects(jobs.receive({ timeout: 20 }), code('ETIMEDOUT'));
    const peeked = jobs.peek();
    await out.send('peeked');
    (await peeked).ack();

    const sent = [];
    for (let i = 0; i < 20; i++) sent.push(out.send(Buffer.alloc(1000, i)));
    assert.equal(out.trySend('x'), false);
    await assert.rejects(out.send(Buffer.alloc(1000), { timeout: 20 }), code('ETIMEDOUT'));
    const got = [];
    for await (const { data } of jobs) {
        got.push(data[999]);
        if (got.length === 20) break;
    }
    await Promise.all(sent);
    assert.deepEqual(got, Array.from({ length: 20 }, (_, i) => i));
    other.detach();
});

test('neither the loop nor its threads are held up', async () => {
    const sections = Array.from({ length: 40 }, () => reader.open('quiet'));
    const waits = sections.map((section) => section.next());
    const attaching = Array.from({ length: 8 },
        () => assert.rejects(shm.attach({ worker: 'driver', timeout: 200 }), busyOrSlow));
    let turns = 0;
    const turn = setInterval(() => turns++, 1);
    for (let i = 0; i < 20; i++) await fs.readFile('/proc/self/stat'); // by libuv's pool
    await Promise.all(attaching);
    await until(() => turns > 20, 'turns of the loop');
    clearInterval(turn);
    driver.open('quiet').publish('all');
    for (const wait of waits) assert.equal((await wait).data.toString(), 'all');
    for (const section of sections) section.close();
});

test('what waits keeps a process, but for what was unreferenced', async () => {
    const begin = `import * as shm from 'shmclient';
        const temps = (await shm.attach()).open('states');
        temps.read();`;
    const waits = program(`${begin} process.send('ready'); process.disconnect();
        console.log((await temps.next()).data.toString())`);
    await new Promise((resolve) => waits.child.once('message', resolve));
    writer.publish('awaited');
    assert.equal(await waits.status, 0);
    assert.equal(await waits.out, 'awaited\n');

    const leaves = program(`${begin} process.disconnect();
        temps.unref().next({ timeout: 1e9 }); temps.changed();`);
    assert.equal(await leaves.status, 0);
    const back = program(`${begin} process.disconnect(); const next = temps.unref().next({ timeout: 1e9 });
        temps.ref(); next.catch((error) => console.log(error.code));
        setTimeout(() => temps.close(), 10);`);
    assert.equal(await back.status, 0);
    assert.equal(await back.out, 'EBADF\n');
    const exits = program(`${begin} process.disconnect(); temps.next();
        shm.attach({ worker: 'driver', timeout: -1 }); setTimeout(() => process.exit(3), 10)`);
    assert.equal(await exits.status, 3);
});
