// SPDX-License-Identifier: Apache-2.0
//
// The addon, of this thread, and how it answers: see src/addon.h.
'use strict';

let native;
try {
    native = require('../build/shmclient.node');
} catch (cause) {
    const install = require('node:path').join(__dirname, '..', 'install.js');
    throw new Error(`shmclient: the addon can't be loaded (${cause.message.split('\n')[0]}): ` +
        `'node ${install}' makes it, and a libshmclient outside of the system's directories takes ` +
        'LD_LIBRARY_PATH', { cause });
}

// Who waits, by the number of the section object that is watched for him.
const waiting = new Map();
const answer = native.start((id) => waiting.get(id)?.woken(), native);
const words = new Float64Array(answer, 0, 16);
const longs = new BigUint64Array(answer, 16 * 8, 8);
const name = Buffer.from(answer, 24 * 8, 64);

// How many that are referenced wait; while there are any, the event loop goes on.
let held = 0;
function hold(n) {
    const before = held > 0;
    held += n;
    if (before !== held > 0) native.hold(held > 0);
}

// A name in the answer.
function nameThere() {
    return name[0] === 0 ? '' : name.latin1Slice(0, name.indexOf(0));
}

module.exports = { native, waiting, words, longs, nameThere, hold, alive: ['gone', 'alive', 'unknown'] };
