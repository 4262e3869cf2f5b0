// SPDX-License-Identifier: Apache-2.0
//
// Bytes in place: a view of a value, or of a raw section.
'use strict';
const { native } = require('./native.js');
const { ShmError, errno } = require('./errors.js');

class View {
    #lender;
    #data;

    constructor(data, lender, about) {
        this.#data = data;
        this.#lender = lender;
        Object.assign(this, about);
    }

    // Memory that can only be read, unless `copied`: a store into it is a segmentation fault.
    get data() {
        return this.#data;
    }

    get copied() {
        return this.#lender === 0;
    }

    // Were all bytes that were read until now those of this value?  To be asked behind reading.
    valid() {
        if (this.#data === undefined)
            throw new ShmError(-errno.EBADF, 'this view was released; take another one');
        return this.#lender === 0 || native.valid(this.#lender) === 1;
    }

    // Gives it back before it is collected.  Its buffer has no bytes then.
    release() {
        if (this.#lender !== 0 && this.#data !== undefined)
            native.release(this.#lender, this.#data.buffer);
        this.#data = undefined;
    }
}
if (Symbol.dispose) View.prototype[Symbol.dispose] = View.prototype.release;

module.exports = { View };
