// SPDX-License-Identifier: Apache-2.0
//
// The matrix's part in JavaScript, under Node: as matrix.c.
import { readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { createRequire } from 'node:module';

// By require(), which minds $NODE_PATH.
const { attach } = createRequire(import.meta.url)('shmclient');
const timeout = 60000;

const verbs = {
    'read raw': (section, file) => writeFileSync(file, section.read()),
    'read snapshot': (section, file) => writeFileSync(file, section.read().data),
    'read queue': async (section, file) =>
        writeFileSync(file, (await section.receive({ type: 1, timeout })).data),
    'write raw': (section, file) => section.write(readFileSync(file)),
    'write snapshot': (section, file) => section.publish(readFileSync(file)),
    'write queue': (section, file) => section.send(readFileSync(file), { type: 1, timeout }),
};

async function obey(segment, line) {
    const [verb, kind, name, file] = line.split(' ');
    try {
        const section = segment.open(name);
        await verbs[`${verb} ${kind}`](section, file);
        section.close();
        console.log('ok');
    } catch (error) {
        console.log(`${error.code}: ${error.message}`);
    }
}

const segment = await attach({ worker: process.argv[2], timeout });
for await (const line of createInterface({ input: process.stdin })) await obey(segment, line);
segment.detach();
