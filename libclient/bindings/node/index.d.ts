// SPDX-License-Identifier: Apache-2.0
//
// The calls of shmclient.  Errors of the library are thrown as ShmError, wrong arguments as TypeError
// or RangeError; what a call's errors mean is in its man page, see libshmclient(3).
/// <reference types="node" />

export type Bytes = string | ArrayBufferView | ArrayBuffer | SharedArrayBuffer;
export type Room = ArrayBufferView | ArrayBuffer | SharedArrayBuffer;
export type Kind = 'raw' | 'snapshot' | 'slots' | 'queue';
export type Alive = 'gone' | 'alive' | 'unknown';

export class ShmError extends Error {
    /** The errno's name: 'EBUSY'. */
    code: string;
    /** Its negative number, as in Node's own errors. */
    errno: number;
    /** attach() with EBUSY: the process that is the worker. */
    holder?: number;
    /** manager(): what it answered beside the error. */
    reply?: unknown;
}

export interface Wait {
    /** Milliseconds; 0: don't wait; Infinity or -1: for ever, which is the default. */
    timeout?: number;
    signal?: AbortSignal;
}

export interface AttachOptions {
    /** Who we are, by the table; left out: a reader. */
    worker?: string;
    /** Without a name, to write the slots and queues that the table lets this user write. */
    anonymous?: boolean;
    /** Default: $SHMC_RUNTIME_DIR, else /run/shm-manager. */
    runtimeDir?: string;
    /** For the segment to appear, the manager to answer, a holder to go; default: 0. */
    timeout?: number;
    signal?: AbortSignal;
}

/** `key` left out, null or 0: $SHMC_KEY, else DEFAULT_KEY. */
export function attach(key?: number | null, options?: AttachOptions): Promise<Segment>;
export function attach(options: AttachOptions): Promise<Segment>;

/** "status", "plan", "history", "reload" ...: see shmc_manager(3). */
export function manager(request: string,
    options?: { key?: number | null; runtimeDir?: string; timeout?: number }): Promise<any>;

/** The library's. */
export const version: string;
export const DEFAULT_KEY: number;

export interface SectionInfo {
    name: string; owner: string; format: string; kind: Kind; writer: Alive;
    sectionId: bigint; incarnation: bigint; generation: number; offset: number; bytes: number;
    size: number; count: number; persist: boolean; shared: boolean; pinned: boolean; own: boolean;
    staleMs: number; version: number; length: number; realNs: bigint; ageMs: number | null;
    stale: boolean; moving: boolean; made: boolean; transient: boolean; aborted: number;
    wakes: number; wakeErrors: number; messages: number;
}

export interface WorkerInfo {
    name: string; state: Alive; granted: boolean; epoch: number; pid: number; uid: number;
    sinceRealNs: bigint; endedRealNs: bigint; endReason: number; endDetail: number;
    attachment: number;
}

export interface AttachmentInfo {
    attachment: number; granted: boolean; epoch: number; pid: number; uid: number;
    sinceRealNs: bigint;
}

export interface SegmentInfo {
    key: number; id: number; abi: number; backend: number; bytes: number; arenaBytes: number;
    generation: number; sections: number; workers: number; state: number; managerAlive: boolean;
    managerPid: number; heartbeatAgeMs: number | null; createdRealNs: bigint;
}

export interface CreateOptions {
    kind?: Kind; count?: number; bytes?: number; format?: string; readGroup?: string;
    writeGroup?: string; staleMs?: number; stamp?: 'precise' | 'coarse' | 'none';
    notify?: 'demand' | 'always' | 'never'; exclusive?: boolean; transient?: boolean;
    persist?: boolean; shared?: boolean; pregrab?: boolean; clear?: boolean | 'restart';
}

export class Segment {
    private constructor();
    readonly worker: string | undefined;
    readonly detached: boolean;
    open(name: string, expected: { kind: 'snapshot'; format?: string; minSize?: number }): Snapshot;
    open(name: string, expected: { kind: 'raw'; format?: string; minSize?: number }): Raw;
    open(name: string, expected: { kind: 'slots'; format?: string; minSize?: number }): Slots;
    open(name: string, expected: { kind: 'queue'; format?: string; minSize?: number }): Queue;
    /** By its kind: `instanceof` tells which, and so does `kind`. */
    open(name: string, expected?: { format?: string; minSize?: number }): any;
    info(): SegmentInfo;
    sections(): SectionInfo[];
    workers(): WorkerInfo[];
    attachments(): AttachmentInfo[];
    create(name: string, options: CreateOptions): Promise<void>;
    drop(name: string): Promise<void>;
    /** Gives the lease up; sections are of no more use, views are. */
    detach(): void;
    [Symbol.dispose](): void;
}

declare abstract class Section {
    readonly segment: Segment;
    readonly name: string;
    readonly kind: Kind;
    readonly closed: boolean;
    info(): SectionInfo;
    /** Does what waits here keep the process running?  It does at first. */
    readonly referenced: boolean;
    ref(): this;
    unref(): this;
    close(): void;
    [Symbol.dispose](): void;
}

export interface About {
    version: number;
    /** Versions between the one that this section object gave before, and this. */
    missed: number;
    /** null: unknown */
    ageMs: number | null;
    writer: Alive;
    stale: boolean;
    /** When it was published, in ns since 1970; 0n: not stamped. */
    realNs: bigint;
    /** Versions compare only within one. */
    incarnation: bigint;
}

export interface Value extends About {
    data: Buffer;
}

/** What may be read, and not written. */
export interface ReadonlyBytes extends Omit<Buffer, 'fill' | 'copyWithin' | 'set' | 'reverse' | 'sort' |
    'swap16' | 'swap32' | 'swap64' | `write${string}`> {
    readonly [index: number]: number;
}

export interface View {
    /** A store into it is a segmentation fault, unless `copied`. */
    readonly data: ReadonlyBytes;
    readonly copied: boolean;
    /** To be asked behind reading: were these the bytes of that value? */
    valid(): boolean;
    release(): void;
    [Symbol.dispose](): void;
}

export class Snapshot extends Section {
    private constructor();
    readonly kind: 'snapshot';
    publish(data: Bytes): void;
    read(options?: { into?: Room }): Value;
    view(options?: { copy?: boolean }): View & About;
    /** Newer than the last that this object gave; with `every` the next in order. */
    next(options?: Wait & { every?: boolean; into?: Room }): Promise<Value>;
    tryNext(options?: { every?: boolean; into?: Room }): Value | null;
    /** There is a newer one, which isn't taken. */
    changed(options?: Wait): Promise<true>;
    values(options?: Wait & { every?: boolean; stale?: 'throw' }): AsyncIterableIterator<Value>;
    [Symbol.asyncIterator](): AsyncIterableIterator<Value>;
}

export class Raw extends Section {
    private constructor();
    readonly kind: 'raw';
    readonly size: number;
    read(offset?: number, length?: number, options?: { into?: Room }): Buffer;
    write(data: Bytes, offset?: number): number;
    view(options?: { copy?: boolean }): View;
}

export interface Slot {
    slot: number;
    /** The holder's; where nobody holds it, of who did last; 0: nobody. */
    pid: number;
    worker: string;
    inUse: boolean; held: boolean; offered: boolean; stays: boolean; hasData: boolean;
    sinceRealNs: bigint; grabs: number; version: number; length: number; realNs: bigint;
    ageMs: number | null;
}

export class Slots extends Section {
    private constructor();
    readonly kind: 'slots';
    readonly count: number;
    readonly free: number;
    readonly slotSize: number;
    /** The lowest that is free. */
    grab(options?: { stays?: boolean }): number;
    fgrab(slot: number, options?: { stays?: boolean }): void;
    release(slot: number): void;
    put(slot: number, data: Bytes): void;
    get(slot: number, options?: { into?: Room }): Slot & { data: Buffer };
    /** Until the callback returns false. */
    each(callback: (slot: Slot) => unknown, options?: { inUse?: boolean }): void;
    [Symbol.iterator](): IterableIterator<Slot>;
    offer(slot: number): bigint;
    take(slot: number, ticket: bigint): void;
}

export interface Message {
    data: Buffer;
    type: number;
    length: number;
    /** (lane, id) tells messages apart. */
    id: number; lane: number;
    /** The sender's. */
    pid: number; worker: string;
    ageMs: number | null;
    realNs: bigint;
    redelivered: boolean; truncated: boolean;
}

export interface PeekedMessage extends Message {
    /** It was done, and goes. */
    ack(): void;
    /** It is to be received again. */
    abandon(): void;
}

/** Of all (0, the default), of that type, or below 0 of the lowest type up to -type. */
export interface Filter {
    type?: number;
    /** Any type but that. */
    except?: boolean;
}

export interface QueueStat {
    messages: number; bytes: number; laneMessages: number; laneBytes: number; messageBytes: number;
    lanes: number; lanesHeld: number; lanesBad: number; sent: number; received: number;
    sentBytes: number; refused: number; blockedMs: number; relocated: number; takeovers: number;
    wakes: number; highMessages: number; highBytes: number; oldestRealNs: bigint;
    lastSendPid: number; lastReceivePid: number; lastSendRealNs: bigint; lastReceiveRealNs: bigint;
    changedGeneration: number;
    changedRealNs: bigint;
}

export class Queue extends Section {
    private constructor();
    readonly kind: 'queue';
    /** Resolves when it is there for all; `type` is 1, or above. */
    send(data: Bytes, options?: Wait & { type?: number }): Promise<void>;
    /** False: there is no room. */
    trySend(data: Bytes, options?: { type?: number }): boolean;
    receive(options?: Wait & Filter & { into?: Room; truncate?: boolean }): Promise<Message>;
    tryReceive(options?: Filter & { into?: Room; truncate?: boolean }): Message | null;
    /** It stays in the queue, for nobody else to have, until its ack() or abandon(). */
    peek(options?: Wait & Filter): Promise<PeekedMessage>;
    /** What would be received as number `index`, without taking it. */
    look(index?: number, options?: { into?: Room }): Message | null;
    stat(): QueueStat;
    messages(options?: Wait & Filter): AsyncIterableIterator<Message>;
    [Symbol.asyncIterator](): AsyncIterableIterator<Message>;
}
