// SPDX-License-Identifier: Apache-2.0
//
// Queues.  What finds something at once is done by the section's own object; who waits does so on
// another one, of which there is one for all that wait for the same: the library looks for one
// thing in each.
'use strict';
const { native, words, longs, nameThere } = require('./native.js');
const { ShmError, errno, bytes, integer, options, room, signal, timeout } = require('./errors.js');
const { Channel, Iteration, paced } = require('./channel.js');
const { Copies } = require('./copies.js');
const { Section } = require('./section.js');

const TRUNCATE = 1, EXCEPT = 2;
const CHANNELS_KEPT = 4;

// What the answer says of a message, and its data.
function about(data) {
    return {
        data,
        type: words[0],
        length: words[1],
        id: words[2],
        ageMs: words[3] < 0 ? null : words[3],
        lane: words[4],
        pid: words[5],
        redelivered: words[6] !== 0,
        truncated: words[7] !== 0,
        realNs: longs[0],
        worker: nameThere(),
    };
}

// Which messages: of a type, or of any but that one; 0 is any; below 0 the lowest up to there.
function filterOf({ type, except, truncate }, into) {
    const flags = (except ? EXCEPT : 0) | (truncate && into !== undefined ? TRUNCATE : 0);
    const min = except ? 1 : Number.MIN_SAFE_INTEGER;
    return { type: integer(type, 'type', min, Number.MAX_SAFE_INTEGER, except ? undefined : 0), flags };
}

class Queue extends Section {
    #channels = new Map();
    #copies = new Copies();
    #peeked = false;

    get kind() {
        return 'queue';
    }

    // Those that nobody uses any more go, when there are many.
    #channel(key) {
        let channel = this.#channels.get(key);
        if (channel === undefined) {
            for (const [old, { busy, id }] of this.#channels)
                if (this.#channels.size >= CHANNELS_KEPT && !busy && old !== 'peek') {
                    this.#channels.delete(old);
                    this.without(id);
                }
            channel = new Channel(this, this.another());
            this.#channels.set(key, channel);
        }
        return channel;
    }

    // Behind those who wait for the same; `attempt` is given the section object to try with.
    #wait(key, attempt, given, cancels) {
        const wait = { timeout: timeout(given.timeout), signal: signal(given.signal), cancels };
        if (wait.signal?.aborted) throw wait.signal.reason;
        if (key !== 'peek' && !this.#channels.get(key)?.busy) {
            const found = attempt(this.id);
            if (found !== undefined) return paced(found);
        }
        const channel = this.#channel(key);
        return channel.wait(() => attempt(channel.id), wait);
    }

    #send(id, type, data) {
        const result = native.send(id, type, data);
        return result === -errno.EAGAIN ? undefined : this.check(result) === 0;
    }

    // Resolves when it is there for all.  Those of one process come in the order of the calls.
    async send(data, given) {
        const { type, ...wait } = options(given);
        const what = bytes(data), of = integer(type, 'type', 1, Number.MAX_SAFE_INTEGER, 1);
        await this.#wait('send', (id) => this.#send(id, of, what), wait);
    }

    // False: there is no room now.
    trySend(data, given) {
        const of = integer(options(given).type, 'type', 1, Number.MAX_SAFE_INTEGER, 1);
        if (this.#channels.get('send')?.busy) return false; // others wait for room
        return this.#send(this.id, of, bytes(data)) ?? false;
    }

    // A message, or undefined.
    #copy(into, nothing, call) {
        const data = this.#copies.take(into, errno.E2BIG, call);
        return data === -nothing ? undefined : about(this.check(data));
    }

    #receive(id, { type, flags }, into) {
        return this.#copy(into, errno.EAGAIN, (buffer) => native.receive(id, type, flags, buffer));
    }

    async receive(given) {
        return this.#receiveNext(options(given));
    }

    #receiveNext(given, cancels) {
        const into = room(given.into), filter = filterOf(given, into);
        return this.#wait(`${filter.type}/${filter.flags & EXCEPT}`,
            (id) => this.#receive(id, filter, into), given, cancels);
    }

    // Null: there is none.
    tryReceive(given) {
        const { into, ...rest } = options(given), buffer = room(into);
        return this.#receive(this.id, filterOf(rest, buffer), buffer) ?? null;
    }

    // A message that stays in the queue, for nobody else to have, until its ack() or abandon().
    async peek(given) {
        const filter = filterOf(options(given)), key = 'peek';
        if (this.#peeked)
            throw new ShmError(-errno.EBUSY, `section '${this.name}': a message is peeked, or ` +
                'waited for, already; ack or abandon it first');
        this.#peeked = true;
        try {
            const found = await this.#wait(key, (id) => {
                const data = native.peek(id, filter.type, filter.flags);
                return data === -errno.EAGAIN ? undefined : about(this.check(data));
            }, options(given));
            return this.#peekedMessage(found);
        } catch (error) {
            this.#peeked = false;
            throw error;
        }
    }

    #peekedMessage(found) {
        let done = false;
        const settle = (how) => {
            if (done)
                throw new ShmError(-errno.EINVAL,
                    `section '${this.name}': this message was acked or abandoned already`);
            if (this.closed) throw this.error(-errno.EBADF);
            done = true;
            this.#peeked = false;
            this.check(native.settle(this.#channels.get('peek').id, how));
        };
        return { ...found, ack: () => settle(true), abandon: () => settle(false) };
    }

    // The message that would come as number `index`; null: there are not so many.
    look(index, given) {
        const at = integer(index, 'index', 0, Number.MAX_SAFE_INTEGER, 0), id = this.id;
        return this.#copy(room(options(given).into), errno.ENOMSG,
            (buffer) => native.look(id, at, buffer)) ?? null;
    }

    stat() {
        return this.check(native.queueStat(this.id));
    }

    // Messages as they come, each received.
    messages(given) {
        const wait = options(given);
        return new Iteration(this, (cancels) => this.#receiveNext(wait, cancels));
    }

    [Symbol.asyncIterator]() {
        return this.messages();
    }
}

module.exports = { Queue };
