// SPDX-License-Identifier: Apache-2.0
//
// Those who wait on one section object, in the order in which they came.  Its watch is armed while
// there are any; each time it fires they try again, until one finds nothing.
'use strict';
const { native, waiting, hold } = require('./native.js');
const { ShmError, errno } = require('./errors.js');

const ENDED = Symbol('ended');
const STREAK = 100;

// Who always finds something at once would run for ever without a turn of the event loop, as
// promises alone don't make one: now and then one is made.
let streak = 0;
function paced(found) {
    if (++streak < STREAK) return found;
    streak = 0;
    return new Promise((resolve) => setImmediate(resolve, found));
}

class Channel {
    #section;
    #waiters = [];

    constructor(section, id) {
        this.#section = section;
        this.id = id;
    }

    get segment() {
        return this.#section.segment;
    }

    get busy() {
        return this.#waiters.length > 0;
    }

    // `attempt` gives what is waited for, undefined when it isn't there, or throws.  `cancels` is a
    // set that gets a function by which the wait ends, with ENDED.
    wait(attempt, { timeout, signal, cancels }) {
        if (signal?.aborted) throw signal.reason;
        if (!this.busy) {
            const found = attempt();
            if (found !== undefined) return paced(found);
        }
        if (timeout === 0)
            throw new ShmError(-errno.EAGAIN, `section '${this.#section.name}': nothing is there`);
        return this.#join(attempt, timeout, signal, cancels);
    }

    #join(attempt, timeout, signal, cancels) {
        return new Promise((resolve, reject) => {
            const waiter = { attempt };
            waiter.settle = (how, result) => {
                const at = this.#waiters.indexOf(waiter);
                if (at < 0) return;
                this.#waiters.splice(at, 1);
                clearTimeout(waiter.timer);
                signal?.removeEventListener('abort', waiter.abort);
                cancels?.delete(waiter.cancel);
                if (this.#section.referenced) hold(-1);
                if (!this.busy) waiting.delete(this.id);
                how(result);
            };
            waiter.resolve = (value) => waiter.settle(resolve, value);
            waiter.reject = (error) => waiter.settle(reject, error);
            waiter.abort = () => waiter.reject(signal.reason);
            waiter.cancel = () => waiter.resolve(ENDED);
            if (timeout > 0) waiter.timer = this.#timer(waiter, timeout);
            signal?.addEventListener('abort', waiter.abort, { once: true });
            cancels?.add(waiter.cancel);
            this.#waiters.push(waiter);
            waiting.set(this.id, this);
            if (this.#section.referenced) hold(1);
            if (this.#waiters.length === 1) this.#arm();
        });
    }

    #timer(waiter, timeout) {
        const timer = setTimeout(() => waiter.reject(new ShmError(-errno.ETIMEDOUT,
            `section '${this.#section.name}': nothing came within ${timeout} ms`)), timeout);
        if (!this.#section.referenced) timer.unref();
        return timer;
    }

    #arm() {
        const result = native.watch(this.id);
        if (result < 0) this.end(this.#section.error(result));
    }

    woken() {
        while (this.busy) {
            const [waiter] = this.#waiters;
            let found;
            try {
                found = waiter.attempt();
            } catch (error) {
                waiter.reject(error);
                continue;
            }
            if (found === undefined) return this.#arm();
            waiter.resolve(found);
        }
    }

    // Nobody waits any more.
    end(error) {
        while (this.busy) this.#waiters[0].reject(error);
    }

    // The section was referenced, or unreferenced.
    reference(referenced) {
        hold(referenced ? this.#waiters.length : -this.#waiters.length);
        for (const { timer } of this.#waiters) if (timer) referenced ? timer.ref() : timer.unref();
    }
}

// `for await`: what next() gives, until it is left, the section is closed, or the signal aborts.
class Iteration {
    #next;
    #section;
    #ended = false;
    #cancels = new Set();

    constructor(section, next) {
        this.#section = section;
        this.#next = next;
    }

    async next() {
        const done = { value: undefined, done: true };
        if (this.#ended || this.#section.closed) return done;
        try {
            const value = await this.#next(this.#cancels);
            return value === ENDED ? done : { value, done: false };
        } catch (error) {
            this.#ended = true;
            if (this.#section.closed && error.code === 'EBADF') return done;
            throw error;
        }
    }

    async return(value) {
        this.#ended = true;
        for (const cancel of this.#cancels) cancel();
        return { value, done: true };
    }

    [Symbol.asyncIterator]() {
        return this;
    }
}

module.exports = { Channel, Iteration, paced };
