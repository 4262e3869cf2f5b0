// SPDX-License-Identifier: Apache-2.0
//
// What goes wrong: ShmError for what the library answers, TypeError and RangeError for arguments.
'use strict';
const { constants } = require('node:os');
const { inspect, types } = require('node:util');
const { native } = require('./native.js');

const errno = constants.errno;
const FOREVER = -1;

// `code` is the errno's name, `errno` its negative number, as in Node's own errors.
class ShmError extends Error {
    constructor(number, message) {
        super(message || native.errorText(-number));
        this.code = native.errorName(-number);
        this.errno = number;
    }
}
Object.defineProperty(ShmError.prototype, 'name', {
    value: 'ShmError', writable: true, configurable: true,
});

function wrongType(what, expected, value) {
    const error = new TypeError(`${what} takes ${expected}, not ${inspect(value, { depth: 0 })}`);
    error.code = 'ERR_INVALID_ARG_TYPE';
    return error;
}

function wrongRange(what, expected, value) {
    const error = new RangeError(`${what} takes ${expected}, not ${inspect(value)}`);
    error.code = 'ERR_OUT_OF_RANGE';
    return error;
}

function integer(value, what, min, max, otherwise) {
    if (value === undefined && otherwise !== undefined) return otherwise;
    if (typeof value !== 'number') throw wrongType(what, 'a number', value);
    if (!Number.isSafeInteger(value) || value < min || value > max)
        throw wrongRange(what, `a whole number from ${min} to ${max}`, value);
    return value;
}

function text(value, what) {
    if (value === undefined || value === null) return undefined;
    if (typeof value !== 'string') throw wrongType(what, 'a string', value);
    if (value.includes('\0')) throw wrongRange(what, 'a string without zeroes', value);
    return value;
}

function name(value, what = 'name') {
    if (typeof value !== 'string') throw wrongType(what, 'a string', value);
    return text(value, what);
}

function options(value, what = 'options') {
    if (value === undefined || value === null) return {};
    if (typeof value !== 'object') throw wrongType(what, 'an object', value);
    return value;
}

function choice(value, what, choices, otherwise) {
    if (value === undefined) return otherwise;
    const i = choices.indexOf(value);
    if (typeof value !== 'string') throw wrongType(what, 'a string', value);
    if (i < 0) throw wrongRange(what, choices.filter((word) => word !== '').join(', '), value);
    return i;
}

// Milliseconds; -1 and Infinity are for ever.
function timeout(value, otherwise = FOREVER) {
    if (value === undefined) return otherwise;
    if (value === Infinity || value === FOREVER) return FOREVER;
    return integer(value, 'timeout', 0, 0x7fffffff);
}

function signal(value) {
    if (value === undefined || value === null) return undefined;
    if (typeof value.aborted !== 'boolean' || typeof value.addEventListener !== 'function')
        throw wrongType('signal', 'an AbortSignal', value);
    return value;
}

// What has bytes, as a Uint8Array of the same bytes; a string in UTF-8.
function bytes(data, what = 'data') {
    if (typeof data === 'string') return Buffer.from(data);
    if (data instanceof Uint8Array) return data;
    if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    if (types.isAnyArrayBuffer(data)) return new Uint8Array(data);
    throw wrongType(what, 'a string, a Buffer, a TypedArray, a DataView or an ArrayBuffer', data);
}

// Where bytes are to go.
function room(into) {
    if (into === undefined || into === null) return undefined;
    if (typeof into === 'string') throw wrongType('into', 'a Buffer or a TypedArray', into);
    const view = bytes(into, 'into');
    return Buffer.from(view.buffer, view.byteOffset, view.byteLength);
}

module.exports = {
    ShmError, errno, integer, text, name, options, choice, timeout, signal, bytes, room, wrongType, FOREVER,
};
