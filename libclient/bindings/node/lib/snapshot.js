// SPDX-License-Identifier: Apache-2.0
//
// Snapshot sections: the newest complete value.
'use strict';
const { native, words, longs, alive } = require('./native.js');
const { errno, bytes, options, room, signal, timeout } = require('./errors.js');
const { Channel, Iteration } = require('./channel.js');
const { Copies } = require('./copies.js');
const { Section } = require('./section.js');
const { View } = require('./view.js');

const NEWEST = 0, NEXT = 1, FOLLOWING = 2;

// What the answer says of a value, and its data.
function about(data) {
    return {
        data,
        version: words[0],
        missed: words[2],
        ageMs: words[3] < 0 ? null : words[3],
        writer: alive[words[4]],
        stale: words[5] !== 0,
        realNs: longs[0],
        incarnation: longs[1],
    };
}

class Snapshot extends Section {
    #channel;
    #copies = new Copies();

    constructor(segment, name, id) {
        super(segment, name, id);
        this.#channel = new Channel(this, id);
    }

    get kind() {
        return 'snapshot';
    }

    publish(data) {
        this.check(native.publish(this.id, bytes(data)));
    }

    // A value, or a negative errno.
    #take(how, into) {
        const data = this.#copies.take(into, errno.EMSGSIZE,
            (buffer) => native.read(this.id, buffer, how));
        return typeof data === 'number' ? data : about(data);
    }

    read(given) {
        return this.check(this.#take(NEWEST, room(options(given).into)));
    }

    view(given) {
        const data = this.check(native.view(this.id, options(given).copy === true));
        const { data: ignored, ...rest } = about();
        return new View(data, words[8], rest);
    }

    // Undefined when there is nothing newer.
    #attempt(how, into) {
        const value = this.#take(how, into);
        return value === -errno.EAGAIN ? undefined : this.check(value);
    }

    tryNext(given) {
        const { every, into } = options(given);
        return this.#attempt(every ? FOLLOWING : NEXT, room(into)) ?? null;
    }

    async next(given) {
        const { every, into, ...wait } = options(given);
        const buffer = room(into);
        return this.#wait(() => this.#attempt(every ? FOLLOWING : NEXT, buffer), wait);
    }

    // There is a newer value than the last one that was read here; it isn't taken.
    async changed(given) {
        return this.#wait(() => {
            const result = native.changed(this.id);
            return result === -errno.EAGAIN ? undefined : this.check(result) === 0;
        }, options(given));
    }

    #wait(attempt, given, cancels) {
        if (this.closed) throw this.error(-errno.EBADF);
        return this.#channel.wait(attempt, {
            timeout: timeout(given.timeout), signal: signal(given.signal), cancels,
        });
    }

    // Each newer value that is still there when it is asked for, or with `every` all in order.
    // That one has become stale ends it with `stale: 'throw'` only.
    values(given) {
        const { every, stale, ...wait } = options(given);
        const how = every ? FOLLOWING : NEXT;
        const attempt = () => {
            try {
                return this.#attempt(how);
            } catch (error) {
                if (error.code !== 'ETIME' || stale === 'throw') throw error;
                return this.#attempt(how);
            }
        };
        return new Iteration(this, (cancels) => this.#wait(attempt, wait, cancels));
    }

    [Symbol.asyncIterator]() {
        return this.values();
    }
}

module.exports = { Snapshot };
