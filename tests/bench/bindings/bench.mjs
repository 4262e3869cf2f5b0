// SPDX-License-Identifier: Apache-2.0
//
// What publish and read take in Node.js: by the binding, and by what is there without it, a process
// that keeps the value, and is told and asked for it through a Unix socket.
//
//     bench.mjs ROUNDS OPERATIONS: prints for each round "SIZE CALL OURS THEIRS", in nanoseconds
import { fork } from 'node:child_process';
import net from 'node:net';
import { fileURLToPath } from 'node:url';

// Frames: a length, a letter, and as many bytes.
function frame(letter, data = Buffer.alloc(0)) {
    const head = Buffer.alloc(5);
    head.writeUInt32LE(data.length);
    head[4] = letter.charCodeAt(0);
    return Buffer.concat([head, data]);
}

function frames(socket, take) {
    let parts = [], bytes = 0;
    socket.on('data', (part) => {
        parts.push(part);
        bytes += part.length;
        for (;;) {
            if (bytes < 5) return;
            if (parts[0].length < 5) parts = [Buffer.concat(parts)];
            const length = 5 + parts[0].readUInt32LE();
            if (bytes < length) return;
            const all = parts.length > 1 ? Buffer.concat(parts) : parts[0];
            parts = all.length > length ? [all.subarray(length)] : [];
            bytes -= length;
            take(String.fromCharCode(all[4]), all.subarray(5, length));
        }
    });
}

// "p": keep this; "g": give it; "s": say when you are here.
function keep(file) {
    const server = net.createServer((socket) => {
        let value = Buffer.alloc(0);
        frames(socket, (letter, data) => {
            if (letter === 'p') value = data;
            else socket.write(frame(letter, letter === 'g' ? value : undefined));
        });
        socket.on('close', () => server.close());
    });
    server.listen(file, () => process.send('listening'));
    process.on('disconnect', () => process.exit());
}

async function timed(operations, call, values = [undefined, undefined], finish = () => {}) {
    const start = process.hrtime.bigint();
    for (let i = 0; i < operations; i++) {
        const waits = call(values[i & 1]);
        if (waits !== undefined) await waits;
    }
    await finish();
    return Number(process.hrtime.bigint() - start) / operations;
}

// The calls of who talks to that process.
function talk(socket) {
    let answered;
    frames(socket, (letter, data) => answered(data));
    const ask = (letter) => new Promise((resolve) => {
        answered = resolve;
        socket.write(frame(letter));
    });
    return {
        get: () => ask('g'),
        arrived: () => ask('s'),
        put: (value) => (socket.write(frame('p', value)) ? undefined
            : new Promise((resolve) => { socket.once('drain', resolve); })),
    };
}

async function main(rounds, operations) {
    const { attach } = await import('shmclient');
    const file = fileURLToPath(new URL('socket', import.meta.url));
    const keeper = fork(fileURLToPath(import.meta.url), ['--keep', file]);
    await new Promise((resolve) => { keeper.once('message', resolve); });
    const socket = net.connect(file);
    const { get, put, arrived } = talk(socket);
    const writer = await attach({ worker: 'bench', timeout: 60000 });
    const reader = await attach();
    for (const size of [64, 10240, 65536]) {
        const values = [Buffer.alloc(size, 1), Buffer.alloc(size, 2)];
        const ours = writer.open(`v${size}`), there = reader.open(`v${size}`);
        const last = values[(operations - 1) & 1];
        for (let round = 0; round < rounds; round++) {
            const publish = await timed(operations, (value) => { ours.publish(value); }, values);
            console.log(size, 'publish', publish, await timed(operations, put, values, arrived));
            const read = await timed(operations, () => { there.read(); });
            console.log(size, 'read', read, await timed(operations, get));
            if (!there.read().data.equals(last) || !(await get()).equals(last))
                throw new Error(`${size} bytes came out as others`);
        }
    }
    socket.destroy();
    keeper.disconnect();
    writer.detach();
    reader.detach();
}

if (process.argv[2] === '--keep') keep(process.argv[3]);
else await main(...process.argv.slice(2).map(Number));
