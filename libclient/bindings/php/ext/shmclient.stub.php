<?php
// SPDX-License-Identifier: Apache-2.0
//
// What the extension `shmclient` defines: for IDEs, and for its build, which makes the declarations
// in C of this (arginfo.php).  Times are nanoseconds, time limits milliseconds: 0 = do not wait,
// -1 = for ever.  Lists of what there is are arrays with the fields of shmclient.h.

namespace Shm;

/** getCode() is the errno, $name its name, getMessage() the library's line. */
class Exception extends \RuntimeException
{
    public const E2BIG = 7;
    public const EACCES = 13;
    public const EAGAIN = 11;
    public const EBADF = 9;
    public const EBADMSG = 74;
    public const EBUSY = 16;
    public const ECHILD = 10;
    public const EDQUOT = 122;
    public const EEXIST = 17;
    public const EIDRM = 43;
    public const EINTR = 4;
    public const EINVAL = 22;
    public const EKEYREVOKED = 128;
    public const EMSGSIZE = 90;
    public const ENODATA = 61;
    public const ENOENT = 2;
    public const ENOMEM = 12;
    public const ENOMSG = 42;
    public const ENOSPC = 28;
    public const ENOTCONN = 107;
    public const EPERM = 1;
    public const EPROTONOSUPPORT = 93;
    public const EPROTOTYPE = 91;
    public const ESTALE = 116;
    public const ETIME = 62;
    public const ETIMEDOUT = 110;
    public const EUSERS = 87;

    public readonly string $name;
    /** EBUSY of an attach: the process that is the worker. */
    public readonly ?int $holder;
    /** What is known of the value that was to be read; its data is "". */
    public readonly ?Value $value;
}

/** A value of a snapshot section. */
final class Value
{
    public readonly string $data;
    public readonly int $version;
    public readonly int $length;
    /** Versions between the one that this section object returned before, and this. */
    public readonly int $missed;
    public readonly int $realNs;
    /** null: not known. */
    public readonly ?int $ageNs;
    /** Does the process live that may publish?  null: the manager is away, and can't say. */
    public readonly ?bool $writer;
    public readonly bool $stale;
    public readonly int $incarnation;

    private function __construct() {}
}

/** What is known of a slot; $data is null where it wasn't asked for. */
final class Slot
{
    public readonly ?string $data;
    public readonly int $slot;
    public readonly int $pid;
    /** null: nobody, or one who is anonymous. */
    public readonly ?string $worker;
    public readonly bool $inUse;
    public readonly bool $held;
    public readonly bool $offered;
    public readonly bool $stays;
    public readonly bool $hasData;
    public readonly int $sinceRealNs;
    public readonly int $grabs;
    public readonly int $version;
    public readonly int $length;
    public readonly int $realNs;
    public readonly ?int $ageNs;

    private function __construct() {}
}

/** A message of a queue section. */
final class Message
{
    public readonly string $data;
    public readonly int $type;
    /** Of the whole, also where it was cut off. */
    public readonly int $length;
    public readonly int $id;
    public readonly int $lane;
    public readonly int $pid;
    public readonly ?string $worker;
    public readonly int $realNs;
    public readonly int $ageNs;
    public readonly bool $redelivered;
    public readonly bool $truncated;

    private function __construct() {}
}

/**
 * An attachment.  The process keeps it beyond the request: who attaches alike again has the same one.
 * @not-serializable
 */
final class Segment
{
    private function __construct() {}

    /** Without a worker's name, and not anonymous: a reader.  Without a key: $SHMC_KEY, or "SHM1". */
    public static function attach(?string $worker = null, bool $anonymous = false, ?int $key = null, ?string $runtimeDir = null, int $timeout = 0): Segment {}

    /** Gives the lease up, for the whole process; what else it has of this attachment: EBADF. */
    public function detach(): void {}

    /** As the class of the section's kind. */
    public function open(string $name, ?string $format = null, int $minSize = 0): Section {}

    public function raw(string $name, ?string $format = null, int $minSize = 0): Raw {}

    public function snapshot(string $name, ?string $format = null, int $minSize = 0): Snapshot {}

    public function slots(string $name, ?string $format = null, int $minSize = 0): Slots {}

    public function queue(string $name, ?string $format = null, int $minSize = 0): Queue {}

    public function info(): array {}

    /** By name. */
    public function sections(): array {}

    /** By name. */
    public function workers(): array {}

    /** Of processes without a name, by number. */
    public function attachments(): array {}

    public function inspect(string $name): array {}

    public function inspectWorker(string $name): array {}

    /** A section of this worker's own.  $kind, $stamp, $notify and $clear ("never", "free", "restart") as in shm-table(5). */
    public function create(string $name, int $bytes, string $kind = "snapshot", int $count = 0, ?string $format = null, int $staleMs = 0, bool $transient = false, bool $persist = false, bool $shared = false, bool $exclusive = false, bool $pregrab = false, string $clear = "never", string $stamp = "precise", string $notify = "demand", ?string $readGroup = null, ?string $writeGroup = null): void {}

    public function drop(string $name): void {}

    public function lastError(): string {}
}

/** @not-serializable */
abstract class Section
{
    private function __construct() {}

    public function name(): string {}

    public function info(): array {}

    /**
     * For stream_select() and event loops, of a snapshot section or a queue: readable while there may be something
     * new, or room again.  Then call next(), follow(), receive() or send() with timeout 0 until it gives null (send():
     * EAGAIN); don't read the stream.
     * @return resource
     */
    public function stream() {}

    /** Waits of this object look for so long before they sleep. */
    public function setSpin(int $microseconds): void {}

    public function close(): void {}
}

/** @not-serializable */
final class Raw extends Section
{
    /** Without a number of bytes: the rest. */
    public function read(int $offset = 0, ?int $bytes = null): string {}

    public function write(string $data, int $offset = 0): void {}
}

/** @not-serializable */
final class Snapshot extends Section
{
    public function publish(string $data): void {}

    public function read(): Value {}

    /** A part of the newest value; no more than that is copied. */
    public function view(int $offset = 0, ?int $bytes = null): string {}

    /** The newest value, when there is one that this object didn't return yet; null: not in that time. */
    public function next(int $timeout = -1): ?Value {}

    /** As next(), but one version after the other, as far as they are still there. */
    public function follow(int $timeout = -1): ?Value {}

    /** The key of a section in the array that has a newer value; null: none in that time. */
    public static function waitAny(array $sections, int $timeout = -1): int|string|null {}
}

/** @not-serializable */
final class Slots extends Section
{
    /** The lowest that is free. */
    public function grab(bool $stays = false): int {}

    /** That very one. */
    public function fgrab(int $slot, bool $stays = false): void {}

    public function release(int $slot): void {}

    public function put(int $slot, string $data): void {}

    public function get(int $slot): Slot {}

    /** All, or those in use, by number and without data. */
    public function each(bool $inUse = false): array {}

    /** Bytes of a slot in place, in a section that is shared. */
    public function peek(int $slot, int $offset = 0, ?int $bytes = null): string {}

    public function poke(int $slot, string $data, int $offset = 0): void {}

    /** A ticket by which another process takes the slot. */
    public function offer(int $slot): int {}

    public function take(int $slot, int $ticket): void {}

    public function numSlots(): int {}

    public function numFree(): int {}

    public function slotSize(): int {}
}

/** @not-serializable */
final class Queue extends Section
{
    public function send(string $data, int $type = 1, int $timeout = -1): void {}

    /** How many of them, in order; waits for room for the first. */
    public function sendBatch(array $messages, int $type = 1, int $timeout = -1): int {}

    /** null: none in that time.  With $truncate a longer one is cut off, else it is as long as it is. */
    public function receive(int $type = 0, int $timeout = -1, bool $except = false, ?int $truncate = null): ?Message {}

    /** As receive(), but it stays until ack(), and comes again if this process dies before. */
    public function peek(int $type = 0, int $timeout = -1, bool $except = false): ?Message {}

    public function ack(): void {}

    public function abandon(): void {}

    /** The message that would be received as that number, which stays; null: there are not so many. */
    public function look(int $index): ?Message {}

    public function stat(): array {}
}

/** Asks the manager ("status", "table", "plan", "history", "reload", "destroy"); its answer in JSON. */
function manager(string $request, ?int $key = null, ?string $runtimeDir = null, int $timeout = 5000): string {}

/** The library's. */
function version(): string {}
