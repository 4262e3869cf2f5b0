// SPDX-License-Identifier: Apache-2.0
//
// Copies of what may have any length: in the caller's buffer, or in one of ours that is as large as
// it takes.
'use strict';
const { words } = require('./native.js');

class Copies {
    #guess = 0; // values and messages are mostly as long as the one before

    // What `call` puts into the buffer that it is given, or the negative errno that it answers; with
    // `small` words[1] is how many bytes it takes.
    take(into, small, call) {
        let buffer = into ?? Buffer.allocUnsafe(this.#guess);
        for (;;) {
            const length = call(buffer);
            if (length >= 0) {
                if (into === undefined) this.#guess = length;
                return length === buffer.length ? buffer : buffer.subarray(0, length);
            }
            if (length !== -small || into !== undefined || words[1] <= buffer.length) return length;
            buffer = Buffer.allocUnsafe(words[1]);
        }
    }
}

module.exports = { Copies };
