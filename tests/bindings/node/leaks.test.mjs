// SPDX-License-Identifier: Apache-2.0
//
// 100,000 operations leave neither memory, nor descriptors, nor threads.
import fs from 'node:fs';
import { assert, attachBoth, pause, shm } from './common.mjs';

const OPERATIONS = 100000, ROUND = 25, LIMIT = 40, HEAP_LIMIT = 8;
const { driver, reader } = await attachBoth();
const writer = driver.open('states'), temps = reader.open('states'), every = reader.open('states');
const board = driver.open('board'), jobs = driver.open('jobs'), plain = driver.open('plain');
const small = Buffer.alloc(64, 1), large = Buffer.alloc(5000, 2), into = Buffer.alloc(65536);
board.fgrab(0);

// ROUND operations, of all kinds.
async function round() {
    const next = temps.next();
    writer.publish(large);
    await next;
    temps.read();
    temps.read({ into });
    every.tryNext({ every: true });
    temps.view().valid();
    const view = temps.view();
    view.release();
    for (let i = 0; i < 2; i++) {
        const section = reader.open('states');
        section.tryNext();
        section.close();
    }
    assert.throws(() => temps.publish(small));
    board.put(0, small);
    board.get(0);
    board.each(() => {});
    const got = jobs.receive();
    await jobs.send(small);
    await got;
    await jobs.send(small);
    (await jobs.peek()).ack();
    jobs.stat();
    plain.write(small);
    plain.read(0, 64);
    reader.info();
}

async function attaching() {
    const segment = await shm.attach({ anonymous: true });
    segment.open('states').view();
    segment.open('states').next({ timeout: 1e6 }).catch(() => {});
    await new Promise(setImmediate);
    segment.detach();
}

async function rounds(operations) {
    for (let i = 0; i < operations / ROUND; i++) {
        await round();
        if (i % 40 === 0) await attaching();
        if (i % 100 === 0) await new Promise(setImmediate); // finalizers run there
    }
}

const count = (what) => fs.readdirSync(`/proc/self/${what}`).length;

// What malloc() has of it: the addon's and the library's own, beside which JavaScript's comes and goes.
// A round of ROUND operations that leaks 200 bytes shows here.
function heap() {
    const found = /\[heap\]\n(?:.*\n)*?Rss: *(\d+)/.exec(fs.readFileSync('/proc/self/smaps', 'latin1'));
    return found ? Number(found[1]) * 1024 : 0;
}

async function settled() {
    for (let i = 0; i < 5; i++) {
        gc();
        await pause(10);
    }
    return { rss: process.memoryUsage.rss(), heap: heap(), fds: count('fd'), threads: count('task') };
}

await rounds(OPERATIONS / 2);
let before, after, grown, heapGrown;
// What leaks does so each time; what the collector keeps, or the machine's load, differs.
for (let i = 0; i < 4 && !(grown < LIMIT && heapGrown < HEAP_LIMIT); i++) {
    before = await settled();
    await rounds(OPERATIONS);
    after = await settled();
    grown = (after.rss - before.rss) / OPERATIONS;
    heapGrown = (after.heap - before.heap) / OPERATIONS;
}
console.log(`figure: bindings.node.leak_operations ${OPERATIONS} operations`);
console.log(`figure: bindings.node.leak ${Math.max(grown, 0).toFixed(1)} bytes/operation`);
assert(grown < LIMIT, `${grown} bytes for each operation: ${before.rss} became ${after.rss}`);
assert(heapGrown < HEAP_LIMIT, `${heapGrown} bytes of malloc()'s for each operation`);
assert(after.fds <= before.fds, `${before.fds} descriptors became ${after.fds}`);
assert(after.threads <= before.threads + 1, `${before.threads} threads became ${after.threads}`);
