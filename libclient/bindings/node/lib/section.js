// SPDX-License-Identifier: Apache-2.0
//
// What sections of all kinds have in common.
'use strict';
const { native, waiting } = require('./native.js');
const { ShmError, errno } = require('./errors.js');

// Closes what was forgotten to be closed; `ids` are all of the section's own.
const forgotten = new FinalizationRegistry((ids) => {
    for (const id of ids) native.close(id);
});

class Section {
    #segment;
    #name;
    #ids = new Set();
    #id;
    #referenced = true;

    constructor(segment, name, id) {
        this.#segment = segment;
        this.#name = name;
        this.#id = id;
        this.#ids.add(id);
        forgotten.register(this, this.#ids, this);
    }

    get segment() {
        return this.#segment;
    }

    get name() {
        return this.#name;
    }

    get closed() {
        return this.#ids.size === 0 || this.#segment.detached;
    }

    // For the calls of this package: its number, while it is open.
    get id() {
        if (this.closed) throw this.error(-errno.EBADF);
        return this.#id;
    }

    error(number) {
        if (this.closed) {
            const why = this.#segment.detached ? 'its segment was detached' : 'it was closed';
            return new ShmError(-errno.EBADF, `section '${this.#name}': ${why}; open it anew`);
        }
        return this.#segment.error(number);
    }

    check(result) {
        if (typeof result === 'number' && result < 0) throw this.error(result);
        return result;
    }

    // Another section object of the same section, that goes with this one.
    another() {
        const id = this.#segment.check(native.again(this.id));
        this.#ids.add(id);
        return id;
    }

    without(id) {
        if (this.#ids.delete(id)) native.close(id);
    }

    info() {
        return this.check(native.sectionInfo(this.id));
    }

    // Does what waits here keep the process running?  It does by default.
    get referenced() {
        return this.#referenced;
    }

    #reference(referenced) {
        if (this.#referenced !== referenced) {
            this.#referenced = referenced;
            for (const id of this.#ids) waiting.get(id)?.reference(referenced);
        }
        return this;
    }

    ref() {
        return this.#reference(true);
    }

    unref() {
        return this.#reference(false);
    }

    close() {
        const ids = [...this.#ids];
        forgotten.unregister(this);
        this.#ids.clear();
        for (const id of ids) {
            waiting.get(id)?.end(this.error(-errno.EBADF));
            native.close(id);
        }
    }
}
if (Symbol.dispose) Section.prototype[Symbol.dispose] = Section.prototype.close;

module.exports = { Section };
