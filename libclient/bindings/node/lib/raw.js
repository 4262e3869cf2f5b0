// SPDX-License-Identifier: Apache-2.0
//
// Raw sections: bytes at an offset, without a protocol.
'use strict';
const { native, words } = require('./native.js');
const { bytes, integer, options, room } = require('./errors.js');
const { Section } = require('./section.js');
const { View } = require('./view.js');

class Raw extends Section {
    get kind() {
        return 'raw';
    }

    get size() {
        return this.check(native.sectionSize(this.id));
    }

    // `length` bytes from `offset` on; without it all the rest, or as many as `into` takes.
    read(offset, length, given) {
        const from = integer(offset, 'offset', 0, Number.MAX_SAFE_INTEGER, 0);
        let into = room(options(given).into);
        if (into === undefined || length !== undefined) {
            const rest = Math.max(this.size - from, 0);
            const wanted = integer(length, 'length', 0, Number.MAX_SAFE_INTEGER, rest);
            // more than there is is refused by the library, whose line says what there is
            into = into?.subarray(0, wanted) ?? Buffer.allocUnsafe(Math.min(wanted, rest + 1));
        }
        return into.subarray(0, this.check(native.rawRead(this.id, from, into)));
    }

    write(data, offset) {
        return this.check(native.rawWrite(
            this.id, integer(offset, 'offset', 0, Number.MAX_SAFE_INTEGER, 0), bytes(data)));
    }

    view(given) {
        const data = this.check(native.rawView(this.id, options(given).copy === true));
        return new View(data, words[8]);
    }
}

module.exports = { Raw };
