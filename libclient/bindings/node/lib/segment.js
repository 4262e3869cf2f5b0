// SPDX-License-Identifier: Apache-2.0
//
// Attaching, and an attached segment.
'use strict';
const { native, waiting, words, hold } = require('./native.js');
const errors = require('./errors.js');
const { ShmError, errno, integer, text, options, choice, timeout, signal } = errors;
const { Raw } = require('./raw.js');
const { Snapshot } = require('./snapshot.js');
const { Slots } = require('./slots.js');
const { Queue } = require('./queue.js');

const ANONYMOUS = 2;
const KINDS = ['', 'raw', 'snapshot', 'slots', 'queue'];
const STAMPS = ['precise', 'coarse', 'none'];
const NOTIFIES = ['demand', 'always', 'never'];
const classes = { raw: Raw, snapshot: Snapshot, slots: Slots, queue: Queue };

const forgotten = new FinalizationRegistry((id) => native.detach(id));
// A lease is kept until it is given up, whether or not anybody still knows its segment.
const leased = new Set();

// What a job brings; the process goes on until then.  Where the caller gave up, by his signal, what
// comes later is for `discard`.
function finished(promise, aborted, discard) {
    const request = words[9];
    hold(1);
    return new Promise((resolve, reject) => {
        let open = true;
        const end = (how, value) => {
            open = false;
            hold(-1);
            aborted?.removeEventListener('abort', abort);
            how(value);
        };
        const abort = () => {
            native.cancel(request);
            end(reject, aborted.reason);
        };
        aborted?.addEventListener('abort', abort, { once: true });
        promise.then((value) => (open ? end(resolve, value) : discard(value)));
    });
}

class Segment {
    #id;
    #worker;

    constructor(id, { worker, anonymous }) {
        this.#id = id;
        this.#worker = worker;
        if (worker !== undefined || anonymous) leased.add(this);
        else forgotten.register(this, id, this);
    }

    // The worker that this process is; undefined: none.
    get worker() {
        return this.#worker;
    }

    get detached() {
        return this.#id === 0;
    }

    // For the calls of this package: its number.
    get id() {
        if (this.#id === 0) throw this.error(-errno.EBADF);
        return this.#id;
    }

    error(number) {
        if (this.#id === 0) return new ShmError(-errno.EBADF, 'the segment was detached; attach anew');
        return new ShmError(number, native.lastError(this.#id));
    }

    check(result) {
        if (typeof result === 'number' && result < 0) throw this.error(result);
        return result;
    }

    open(name, expected) {
        const { kind, format, minSize } = options(expected, 'expected');
        const id = this.check(native.open(
            this.id, errors.name(name), choice(kind, 'kind', KINDS, 0), text(format, 'format'),
            integer(minSize, 'minSize', 0, Number.MAX_SAFE_INTEGER, 0)));
        const info = native.sectionInfo(id);
        if (typeof info === 'number') {
            const error = this.error(info);
            native.close(id);
            throw error;
        }
        return new classes[info.kind](this, name, id);
    }

    info() {
        return this.check(native.segmentInfo(this.id));
    }

    sections() {
        return this.check(native.sections(this.id));
    }

    workers() {
        return this.check(native.workers(this.id));
    }

    attachments() {
        return this.check(native.attachments(this.id));
    }

    async create(name, given) {
        const { kind, count, bytes, format, readGroup, writeGroup, staleMs, stamp, notify, exclusive,
            transient, persist, shared, pregrab, clear } = options(given);
        const flags = [exclusive, transient, persist, shared, pregrab, clear === true,
            clear === 'restart'].reduce((sum, flag, i) => sum | (flag ? 1 << i : 0), 0);
        const { result, text: line } = await finished(native.create(this.id, errors.name(name), {
            kind: choice(kind, 'kind', KINDS, 0),
            count: integer(count, 'count', 0, 0xffffffff, 0),
            bytes: integer(bytes, 'bytes', 0, Number.MAX_SAFE_INTEGER, 0),
            format: text(format, 'format'),
            readGroup: text(readGroup, 'readGroup'),
            writeGroup: text(writeGroup, 'writeGroup'),
            staleMs: integer(staleMs, 'staleMs', 0, Number.MAX_SAFE_INTEGER, 0),
            stamp: choice(stamp, 'stamp', STAMPS, 0),
            notify: choice(notify, 'notify', NOTIFIES, 0),
            flags,
        }));
        if (result < 0) throw new ShmError(result, line);
    }

    async drop(name) {
        const { result, text: line } = await finished(native.drop(this.id, errors.name(name)));
        if (result < 0) throw new ShmError(result, line);
    }

    // Ends the attachment, and gives the lease up.  Views stay what they are.
    detach() {
        const id = this.#id;
        if (id === 0) return;
        this.#id = 0;
        leased.delete(this);
        forgotten.unregister(this);
        for (const channel of [...waiting.values()])
            if (channel.segment === this) channel.end(this.error(-errno.EBADF));
        native.detach(id);
    }
}
if (Symbol.dispose) Segment.prototype[Symbol.dispose] = Segment.prototype.detach;

const keyOf = (key) => integer(key ?? undefined, 'key', 0, 0xffffffff, 0);

// The key may be left out: attach({ worker: 'temp-driver' }).
async function attach(key, given) {
    if (typeof key === 'object' && key !== null && given === undefined) return attach(undefined, key);
    const { worker, anonymous, runtimeDir, ...rest } = options(given);
    const settings = {
        key: keyOf(key), worker: text(worker, 'worker'), anonymous: anonymous === true,
        runtimeDir: text(runtimeDir, 'runtimeDir'),
    };
    const aborted = signal(rest.signal), wait = timeout(rest.timeout, 0);
    aborted?.throwIfAborted();
    const job = native.attach(settings.key, settings.worker, settings.anonymous ? ANONYMOUS : 0,
        settings.runtimeDir, wait);
    const { result, text: line, holder } = await finished(job, aborted, (late) => {
        if (late.result > 0) native.detach(late.result);
    });
    if (result > 0) return new Segment(result, settings);
    const error = new ShmError(result, line);
    if (holder > 0) error.holder = holder;
    throw error;
}

// Asks the manager; what it answers.
async function manager(request, given) {
    const { key, runtimeDir, ...rest } = options(given);
    const { result, text: line, reply } = await finished(native.manager(
        keyOf(key), text(runtimeDir, 'runtimeDir'), errors.name(request, 'request'),
        timeout(rest.timeout, 5000)));
    const answer = reply === undefined ? undefined : JSON.parse(reply);
    if (result >= 0) return answer;
    const error = new ShmError(result, line);
    if (answer !== undefined) error.reply = answer;
    throw error;
}

module.exports = { attach, manager, version: native.version(), DEFAULT_KEY: 0x53484d31, Segment };
