// SPDX-License-Identifier: Apache-2.0
//
// Slots: items that processes grab.
'use strict';
const { native } = require('./native.js');
const { errno, bytes, integer, options, room, wrongType } = require('./errors.js');
const { Section } = require('./section.js');

const STAYS = 1, IN_USE = 2;
const number = (slot) => integer(slot, 'slot', 0, 0x7fffffff);
const stays = (given) => (options(given).stays ? STAYS : 0);

class Slots extends Section {
    #guess = 0;

    get kind() {
        return 'slots';
    }

    get count() {
        return this.check(native.slotCount(this.id, 0));
    }

    get free() {
        return this.check(native.slotCount(this.id, 1));
    }

    get slotSize() {
        return this.check(native.slotCount(this.id, 2));
    }

    grab(given) {
        return this.check(native.slotGrab(this.id, stays(given)));
    }

    fgrab(slot, given) {
        this.check(native.slotFgrab(this.id, number(slot), stays(given)));
    }

    release(slot) {
        this.check(native.slotRelease(this.id, number(slot)));
    }

    put(slot, data) {
        this.check(native.slotPut(this.id, number(slot), bytes(data)));
    }

    get(slot, given) {
        const into = room(options(given).into);
        let buffer = into ?? Buffer.allocUnsafe(this.#guess);
        for (;;) {
            const { result, ...found } = this.check(native.slotGet(this.id, number(slot), buffer));
            if (result >= 0) {
                this.#guess = result;
                // of a shared slot as many bytes as fit are there
                if (into !== undefined || found.length <= result)
                    return { ...found, data: buffer.subarray(0, result) };
            } else if (result !== -errno.EMSGSIZE || into !== undefined ||
                       found.length <= buffer.length) {
                throw this.error(result);
            }
            buffer = Buffer.allocUnsafe(found.length);
        }
    }

    // What is known of each, or of those in use, without their data.
    each(callback, given) {
        if (typeof callback !== 'function') throw wrongType('callback', 'a function', callback);
        const flags = options(given).inUse ? IN_USE : 0;
        for (const slot of this.check(native.slotEach(this.id, flags)))
            if (callback(slot) === false) return;
    }

    *[Symbol.iterator]() {
        yield* this.check(native.slotEach(this.id, 0));
    }

    // A ticket, by which another process takes it, with its value.
    offer(slot) {
        return this.check(native.slotOffer(this.id, number(slot)));
    }

    take(slot, ticket) {
        if (typeof ticket !== 'bigint') throw wrongType('ticket', 'a BigInt', ticket);
        this.check(native.slotTake(this.id, number(slot), ticket));
    }
}

module.exports = { Slots };
