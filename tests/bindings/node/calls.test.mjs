// SPDX-License-Identifier: Apache-2.0
//
// Each call, and each of its errors that a user may meet.
import test from 'node:test';
import { assert, attachBoth, busyOrSlow, code, shm, until } from './common.mjs';

const { driver, reader } = await attachBoth();

test('attaching', async () => {
    assert.equal(driver.worker, 'driver');
    assert.equal(reader.worker, undefined);
    await assert.rejects(shm.attach({ worker: 'nobody' }), code('ENOENT'));
    await assert.rejects(shm.attach({ worker: 'driver' }), (error) => {
        assert.equal(error.holder, process.pid);
        assert(error instanceof shm.ShmError && error instanceof Error);
        assert.equal(error.errno, -16);
        assert.match(error.message, /is held by process/);
        return code('EBUSY')(error);
    });
    await assert.rejects(shm.attach(0x40000001), code('ENOENT'));
    await assert.rejects(shm.attach({ worker: 'x'.repeat(70) }), code('EINVAL'));
    await assert.rejects(shm.attach({ worker: 'driver', timeout: 30 }), busyOrSlow);
    const aborted = AbortSignal.timeout(20);
    await assert.rejects(shm.attach({ worker: 'driver', timeout: 1e6, signal: aborted }),
        { name: 'TimeoutError' });
    const anonymous = await shm.attach({ anonymous: true });
    assert.equal(reader.attachments().filter(({ pid }) => pid === process.pid).length, 1);
    anonymous.detach();
    assert(anonymous.detached);
    anonymous.detach();
});

test('looking around', () => {
    const info = reader.info();
    assert.equal(info.key, Number(process.env.SHMC_KEY));
    assert.equal(info.managerPid, Number(process.env.MANAGER));
    assert.equal(info.managerAlive, true);
    const temps = reader.sections().find(({ name }) => name === 'states');
    assert.equal(temps.owner, 'driver');
    assert.equal(temps.kind, 'snapshot');
    assert.equal(temps.size, 65536);
    assert.equal(temps.writer, 'alive');
    const [worker] = reader.workers();
    assert.equal(worker.pid, process.pid);
    assert.equal(worker.state, 'alive');
});

test('opening', () => {
    assert.throws(() => reader.open('absent'), code('ENOENT'));
    assert.throws(() => reader.open('states', { kind: 'raw' }), code('EPROTOTYPE'));
    assert.throws(() => reader.open('states', { format: 'states/2' }), code('EPROTOTYPE'));
    assert.throws(() => reader.open('states', { minSize: 65537 }), code('EPROTOTYPE'));
    const temps = reader.open('states', { kind: 'snapshot', format: 'states/1', minSize: 65536 });
    assert(temps instanceof shm.Snapshot);
    assert.equal(temps.kind, 'snapshot');
    assert.equal(temps.name, 'states');
    temps.close();
    assert(temps.closed);
    assert.throws(() => temps.read(), code('EBADF'));
});

test('snapshots', () => {
    const writer = driver.open('states'), temps = reader.open('states');
    assert.throws(() => temps.read(), code('ENODATA'));
    assert.throws(() => temps.publish('x'), code('EACCES'));
    assert.equal(temps.tryNext(), null);
    const numbers = new Float64Array([20.5, 21]);
    for (const data of [numbers, numbers.buffer, new DataView(numbers.buffer), Buffer.from(numbers.buffer)]) {
        writer.publish(data);
        assert.deepEqual(new Float64Array(new Uint8Array(temps.read().data).buffer), numbers);
    }
    writer.publish(new Uint16Array([1, 2, 3, 4]).subarray(1, 3));
    assert.deepEqual([...temps.read().data], [2, 0, 3, 0]);
    writer.publish('grün');
    const value = temps.tryNext();
    assert.equal(value.data.toString(), 'grün');
    assert.equal(value.version, 6);
    assert.equal(value.missed, 0);
    assert.equal(value.writer, 'alive');
    assert.equal(value.stale, false);
    assert(value.ageMs >= 0 && value.realNs > 0n && value.incarnation > 0n);
    assert.equal(temps.tryNext(), null);
    writer.publish('');
    assert.equal(temps.tryNext().data.length, 0);
    for (let i = 0; i < 5; i++) writer.publish(`${i}`);
    for (let i = 0; i < 5; i++) assert.equal(temps.tryNext({ every: true }).data.toString(), `${i}`);
    for (let i = 0; i < 5; i++) writer.publish(`${i}`);
    assert.deepEqual(temps.tryNext().missed, 4);
    const large = Buffer.alloc(65536, 7);
    writer.publish(large);
    assert.deepEqual(temps.read().data, large);
    assert.throws(() => writer.publish(Buffer.alloc(65537)), code('EMSGSIZE'));
    assert.throws(() => temps.read({ into: Buffer.alloc(10) }), code('EMSGSIZE'));
    const into = new Uint32Array(20000);
    assert.equal(temps.read({ into }).data.buffer, into.buffer);
    assert.equal(into[16383], 0x07070707);
    assert.equal(temps.info().version, Number(temps.read().version));
});

test('raw', () => {
    const writer = driver.open('plain'), plain = reader.open('plain');
    assert.equal(plain.size, 10000);
    assert.equal(writer.write('abc', 9997), 3);
    assert.equal(plain.read(9996).toString('latin1'), '\0abc');
    assert.equal(plain.read(9997, 2).toString(), 'ab');
    assert.equal(plain.read().length, 10000);
    assert.equal(plain.read(9998, undefined, { into: Buffer.alloc(1) }).toString(), 'b');
    assert.equal(plain.read(10000).length, 0);
    assert.throws(() => plain.read(9998, 3), code('EINVAL'));
    assert.throws(() => plain.read(10001), code('EINVAL'));
    assert.throws(() => writer.write('abc', 9998), code('EINVAL'));
    assert.throws(() => plain.write('abc', 0), code('EACCES'));
});

test('slots', async () => {
    const board = driver.open('board'), seen = reader.open('board');
    assert.equal(board.count, 4);
    assert.equal(board.slotSize, 100);
    assert.equal(board.grab(), 0);
    board.fgrab(2, { stays: true });
    assert.equal(board.grab(), 1);
    assert.equal(seen.free, 1);
    assert.throws(() => seen.get(0), code('ENODATA'));
    board.put(0, 'zero');
    const slot = seen.get(0);
    assert.equal(slot.data.toString(), 'zero');
    assert.equal(slot.worker, 'driver');
    assert.equal(slot.pid, process.pid);
    assert.equal(slot.held, true);
    assert.throws(() => board.put(0, Buffer.alloc(101)), code('EMSGSIZE'));
    assert.throws(() => seen.get(0, { into: Buffer.alloc(1) }), code('EMSGSIZE'));
    assert.throws(() => seen.grab(), code('EACCES'));
    assert.throws(() => board.get(4), code('EINVAL'));
    assert.deepEqual([...seen].map(({ inUse }) => inUse), [true, true, true, false]);
    const inUse = [];
    seen.each(({ slot }) => { inUse.push(slot); }, { inUse: true });
    assert.deepEqual(inUse, [0, 1, 2]);
    let first;
    seen.each(({ slot }) => { first = slot; return false; });
    assert.equal(first, 0);
    const other = await shm.attach({ anonymous: true });
    const theirs = other.open('board');
    assert.throws(() => theirs.release(0), code('EBUSY'));
    assert.equal(theirs.grab(), 3);
    assert.throws(() => theirs.grab(), code('ENOSPC'));
    const ticket = board.offer(0);
    theirs.take(0, ticket);
    assert.throws(() => theirs.take(0, ticket), code('ESTALE'));
    assert.throws(() => board.put(0, 'mine'), code('EBUSY'));
    other.detach();
    for (const i of [1, 2]) board.release(i);
    assert.throws(() => board.release(1), code('ENOENT'));
    await until(() => board.free === 4, 'what the other had');
});

test('queues', async () => {
    const jobs = driver.open('jobs'), seen = reader.open('jobs');
    assert.equal(jobs.tryReceive(), null);
    assert.throws(() => seen.trySend('x'), code('EACCES'));
    assert.throws(() => seen.tryReceive(), code('EACCES'));
    await jobs.send('one');
    await jobs.send('three', { type: 3 });
    assert.equal(jobs.trySend('two', { type: 2 }), true);
    assert.equal(seen.look(1).data.toString(), 'three');
    assert.equal(seen.look(3), null);
    assert.equal(seen.stat().messages, 3);
    const message = await jobs.receive({ type: 3 });
    assert.equal(message.data.toString(), 'three');
    assert.equal(message.type, 3);
    assert.equal(message.worker, 'driver');
    assert.equal(message.pid, process.pid);
    assert.equal((await jobs.receive({ type: 1, except: true })).data.toString(), 'two');
    await jobs.send('short');
    assert.throws(() => jobs.tryReceive({ type: 1, into: Buffer.alloc(2) }), code('E2BIG'));
    const cut = jobs.tryReceive({ into: Buffer.alloc(2), truncate: true });
    assert.equal(cut.data.toString(), 'on');
    assert.equal(cut.truncated, true);
    let peeked = await jobs.peek();
    assert.equal(peeked.data.toString(), 'short');
    await assert.rejects(jobs.peek(), code('EBUSY'));
    assert.equal(jobs.tryReceive(), null);
    peeked.abandon();
    assert.throws(() => peeked.ack(), code('EINVAL'));
    peeked = await jobs.peek();
    assert.equal(peeked.redelivered, true);
    peeked.ack();
    assert.equal(jobs.tryReceive(), null);
    await assert.rejects(jobs.send(Buffer.alloc(2049)), code('EMSGSIZE'));
    const large = Buffer.alloc(2048, 5);
    await jobs.send(large);
    assert.deepEqual((await jobs.receive()).data, large);
    await jobs.send('');
    assert.equal((await jobs.receive()).length, 0);
});

test('sections at run time', async () => {
    await driver.create('extra', { bytes: 1000, kind: 'raw' });
    await driver.create('extra', { bytes: 1000, kind: 'raw' });
    await assert.rejects(driver.create('extra', { bytes: 1000, kind: 'raw', exclusive: true }), code('EEXIST'));
    await assert.rejects(driver.create('huge', { bytes: 1e9 }), code('EDQUOT'));
    await assert.rejects(reader.create('other', { bytes: 10 }), code('EACCES'));
    const extra = driver.open('extra');
    assert.equal(extra.write('here'), 4);
    assert.equal(extra.info().made, true);
    await driver.drop('extra');
    await assert.rejects(driver.drop('extra'), code('ENOENT'));
    assert.throws(() => extra.write('gone'), code('EIDRM'));
});

test('the manager', async () => {
    const status = await shm.manager('status');
    assert.equal(typeof status, 'object');
    await assert.rejects(shm.manager('nonsense'), code('EINVAL'));
    await assert.rejects(shm.manager('status', { runtimeDir: '/nonexistent' }), code('ENOTCONN'));
});
