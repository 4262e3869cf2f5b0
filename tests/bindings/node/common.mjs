// SPDX-License-Identifier: Apache-2.0
//
// What the tests beside it have in common.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import * as shm from 'shmclient';

export { assert, pause, shm };

// Generous, for a machine that stalls.
export const LONG = 60000;

export async function until(condition, what) {
    for (const end = Date.now() + LONG; !await condition(); await pause(5))
        assert(Date.now() < end, `in vain: ${what}`);
}

export const code = (name) => (error) => {
    assert.equal(error.code, name, error.stack);
    assert(error.message.length > 0);
    return true;
};

// Of an attach with little time: on a machine that stalls the manager may not have answered by then.
export const busyOrSlow = (error) => code(error.code === 'ETIMEDOUT' ? 'ETIMEDOUT' : 'EBUSY')(error);

// Once for each process: the worker that owns all sections, and somebody who reads.
export async function attachBoth() {
    const driver = await shm.attach({ worker: 'driver', timeout: LONG });
    return { driver, reader: await shm.attach({ timeout: LONG }) };
}

// A program in a process of its own: {child, out, status}, the latter two when it has ended.
export function program(text, ...args) {
    const child = spawn(process.execPath, ['--expose-gc', '--input-type=module', '-e', text, '--', ...args],
        { stdio: ['pipe', 'pipe', 'inherit', 'ipc'] });
    process.once('exit', () => child.kill('SIGKILL'));
    const out = child.stdout.toArray().then((chunks) => Buffer.concat(chunks).toString());
    const status = once(child, 'close').then(([status, signal]) => signal ?? status);
    return { child, out, status };
}
