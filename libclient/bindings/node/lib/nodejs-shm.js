// SPDX-License-Identifier: Apache-2.0
//
// The calls of the package nodejs-shm, as its README has them, on any System V segment:
//
//     var shm = require('shmclient/nodejs-shm');
//
// What differs is listed in this package's README.
'use strict';
const { native } = require('./native.js');
const { wrongType } = require('./errors.js');

const MODE = 0o600;        // where 0 is asked for, which nobody could use
const ID_0 = 0x100000000;  // what the identifier 0 is called, as 0 is a failure
const KEY_MIN = -0x80000000, KEY_MAX = 0xffffffff;

// Those that are open, by what openSHM() returned: {block, opens}.
const blocks = new Map();
let message = '';

// Whole numbers, as all arguments are that aren't text or bytes.
function whole(value, what, otherwise) {
    if (value === undefined && otherwise !== undefined) return otherwise;
    if (typeof value !== 'number' || !Number.isFinite(value)) throw wrongType(what, 'a number', value);
    return Math.trunc(value);
}

function failed(why = native.shmopError()) {
    message = why;
    return 0;
}

function known(shmid) {
    const open = blocks.get(whole(shmid, 'shmid'));
    if (open === undefined) failed(`no segment with the id ${shmid} is open here`);
    return open;
}

function openSHM(key, flags, mode, size) {
    const number = whole(key, 'key');
    if (typeof flags !== 'string') throw wrongType('flags', 'a string', flags);
    const bits = whole(mode, 'mode', 0), bytes = whole(size, 'size', 0);
    if (number < KEY_MIN || number > KEY_MAX || flags.includes('\0'))
        return failed(`the key ${number} has more than 32 bits, or flags are no letter`);
    if (bytes < 0) return failed(`size is ${bytes}; it must not be below 0`);
    const block = native.shmopOpen(number >>> 0, flags, (bits & 0o777) || MODE, bytes);
    if (block < 0) return failed();
    const shmid = native.shmopId(block) || ID_0, before = blocks.get(shmid);
    // opened again: it is as it was opened last, and closed as often as it was opened
    if (before !== undefined) native.shmopClose(before.block);
    blocks.set(shmid, { block, opens: (before?.opens ?? 0) + 1 });
    return shmid;
}

function sizeSHM(shmid) {
    const open = known(shmid);
    return open === undefined ? 0 : native.shmopSize(open.block);
}

function writeSHM(shmid, data, offset, data_len) {
    const open = known(shmid);
    if (!(data instanceof Uint8Array)) throw wrongType('data', 'a Buffer', data);
    const at = whole(offset, 'offset', 0), bytes = whole(data_len, 'data_len', data.length);
    if (open === undefined) return 0;
    if (at < 0 || bytes < 0) return failed('offset and data_len must not be below 0');
    const written = native.shmopWrite(open.block, data.subarray(0, bytes), at);
    return written < 0 ? failed() : written;
}

// An Error is returned, and not thrown, as it always was.
function readSHM(shmid, start, length) {
    const open = known(shmid), at = whole(start, 'start', 0), bytes = whole(length, 'length', 0);
    if (open !== undefined) {
        if (at < 0 || bytes < 0 || at + bytes > native.shmopSize(open.block)) {
            failed('start, or start + length, is beyond the segment');
        } else {
            const data = Buffer.allocUnsafe(bytes);
            if (native.shmopRead(open.block, at, data) >= 0) return data;
            failed();
        }
    }
    return new Error(`SHM read error: ${message}`);
}

function deleteSHM(shmid) {
    const open = known(shmid);
    if (open === undefined) return 0;
    return native.shmopDelete(open.block) === 0 ? 1 : failed();
}

function closeSHM(shmid) {
    const open = known(shmid);
    if (open === undefined) return 0;
    if (--open.opens === 0) {
        blocks.delete(whole(shmid, 'shmid'));
        native.shmopClose(open.block);
    }
    return 1;
}

// What went wrong last; '' when nothing did.
function getErrMsg() {
    return message;
}

module.exports = { getErrMsg, openSHM, readSHM, closeSHM, sizeSHM, writeSHM, deleteSHM };
