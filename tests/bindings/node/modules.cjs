// SPDX-License-Identifier: Apache-2.0
//
// What require() and import give is one, and index.d.ts names what there is, and no more.
'use strict';
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const shmclient = require('shmclient');

import('shmclient').then((module) => {
    const { default: whole, ...named } = module;
    assert.equal(whole, shmclient);
    assert.deepEqual({ ...named }, { ...shmclient });
    assert.match(shmclient.version, /^\d+\.\d+\.\d+$/);
});

// Those that the package's own files call.
const internal = ['constructor', 'id', 'error', 'check', 'another', 'without'];
const types = fs.readFileSync(
    path.join(path.dirname(require.resolve('shmclient')), 'index.d.ts'), 'utf8');

function declared(name) {
    const [, base, body] = types.match(new RegExp(`class ${name}(?: extends (\\w+))? \\{(.*?)\n\\}`, 's'));
    const own = [...body.matchAll(/^ {4}(?:readonly )?(\w+)[(:]/gm)].map(([, member]) => member);
    return [...own, ...(base ? declared(base) : [])];
}

function there(Class) {
    const names = [];
    for (let from = Class.prototype; from !== Object.prototype; from = Object.getPrototypeOf(from))
        names.push(...Object.getOwnPropertyNames(from));
    return names;
}

const sorted = (names) => [...new Set(names)].filter((name) => !internal.includes(name)).sort();
const { ShmError, ...classes } = Object.fromEntries(
    Object.entries(shmclient).filter(([name, value]) => /^[A-Z]/.test(name) && typeof value === 'function'));
for (const [name, Class] of Object.entries(classes))
    assert.deepEqual(sorted(declared(name)), sorted(there(Class)), name);
for (const name of Object.keys(shmclient))
    assert.match(types, new RegExp(`^export (declare )?(class|const|function) ${name}\\b`, 'm'));
assert(new ShmError(-16).code === 'EBUSY');

const old = fs.readFileSync(path.join(path.dirname(require.resolve('shmclient')), 'nodejs-shm.d.ts'), 'utf8');
assert.deepEqual([...old.matchAll(/^export function (\w+)/gm)].map(([, name]) => name).sort(),
    Object.keys(require('shmclient/nodejs-shm')).sort());
