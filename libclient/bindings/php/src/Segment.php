<?php
// SPDX-License-Identifier: Apache-2.0
//
// A segment of shm-manager, read with nothing but shmop_* and unpack(): shm-segment(7) transcribed.
// What was copied counts only once the checks behind the copy have held; until then it is retried.
// A segment that gets another size is followed to its successor.
declare(strict_types=1);

namespace Shm\Shmop;

require_once __DIR__ . '/SegmentException.php'; // for who has no autoloader

final class Segment
{
    private const HEADER = 'a8magic/Vabi/Vheader_bytes/Pcompatible/Pincompatible/Vbyte_order/Vkey/'
        . 'Psegment_bytes/Vbackend/Vpage_bytes/Psegment_id/a16boot_id/Pcreated_real_ns/'
        . 'Vworkers_off/Vworkers_capacity/Vattachments_off/Vattachments_capacity/'
        . 'Vbells_capacity/Varena_start/a12reserved/Vcrc/'
        . 'Pgeneration/Vstate/Vbell_id/Poffset0/Pbytes0/Poffset1/Pbytes1/Psuccessor/a8reserved2/'
        . 'Pheartbeat_mono_ns/Pheartbeat_real_ns/Vheartbeat_interval_ms/Vmanager_pid/'
        . 'Pmanager_start/Pmanager_epoch';
    private const DIRECTORY = 'Pgeneration/Ppublished_real_ns/Vindex_count/Vslots_used/Vcapacity/'
        . 'Varenas_used/Varenas_capacity/Vworkers_used/Vindex_off/Vsections_off/Varenas_off/'
        . 'Vreserved/Vindex_crc/Vcrc';
    private const SECTION = 'Z64name/Z64owner/Z64format/Psection_id/Pincarnation/Pchanged_gen/'
        . 'Poffset/Pbytes/Pctl_off/Pold_ctl_off/Pretired_gen/Psize/Pstale_ms/Vkind/Vstate/Vflags/'
        . 'Vcount/Vowner_index/Vbell_index/Varena_index/Vread_class/Vold_slot/a72reserved/Vcrc';
    private const ARENA = 'Poffset/Pbytes/Pincarnation/Pretired_gen/Vowner_index/Vstate/'
        . 'Vread_class/a16reserved/Vcrc';
    private const WORKER = 'Z64name/Pword/Vattachment/Vpid/Ppid_start/Psince_real_ns/'
        . 'Pended_real_ns/Vend_reason/Vend_detail/Vuid/Vprevious_pid/Vreserved/Vname_crc';
    private const CONTROL = 'a4magic/Vabi/Vcount/Vbell_index/Psection_id/Pincarnation/Pstride/'
        . 'Pbuf_off/Vflags/a8reserved/Vcrc';
    private const BUFFER = 'Pseq/Plen/Pmono_ns/Preal_ns/Vepoch/Vcrc';

    public const RAW = 1;
    public const SNAPSHOT = 2;
    public const SLOTS = 3;
    public const QUEUE = 4;
    private const LIVE = 1;
    private const MOVING = 2;
    private const QUARANTINED = 4;
    private const REPLACED = 3;
    private const LEASED = 2;
    private const SHARED = 2;
    private const EARLIER_BOOT = -1;
    private const TRIES = 10000;
    private const PATIENCE = 5.0; // seconds, for a successor that is being made

    private int $key;
    private \Shmop $memory;
    private int $bytes;
    private int $id;
    /** @var array<string, array<string, mixed>> sections by name, of $generation */
    private array $sections = [];
    private int $generation = -1;
    /** @var array<int, array<string, mixed>> control lines by offset, of $generation as well */
    private array $controls = [];

    /** Attaches.  A key may be a text as "0x53484d31"; without one it is $SHMC_KEY, or "SHM1". */
    public function __construct(int|string|null $key = null, private bool $writable = false)
    {
        $key ??= getenv('SHMC_KEY') ?: 0x53484d31;
        $number = is_int($key) ? $key : filter_var($key, FILTER_VALIDATE_INT,
            FILTER_FLAG_ALLOW_HEX);
        if ($number === false || $number <= 0 || $number > 0xffffffff) {
            throw new \ValueError("key '$key': it takes a number of 32 bits above 0");
        }
        $this->key = $number;
        $this->attach();
    }

    private function attach(): void
    {
        $memory = @shmop_open($this->key, $this->writable ? 'w' : 'a', 0, 0);
        if ($memory === false) {
            throw new SegmentException(SegmentException::ENOENT, sprintf('key 0x%08x: no segment,'
                . ' or none that you may attach; start shm-manager (on its backend memfd nothing'
                . ' can be read without its library)', $this->key));
        }
        $this->trust();
        $this->memory = $memory;
        $this->bytes = shmop_size($memory);
        $this->generation = -1;
        $this->id = $this->ownHeader()['segment_id'];
    }

    /** Whoever makes a key first owns it: that is to be root, this user, or the manager's, as far as
     *  this process may look. */
    private function trust(): void
    {
        $directory = getenv('SHMC_RUNTIME_DIR') ?: '/run/shm-manager';
        foreach (@file('/proc/sysvipc/shm') ?: [] as $line) {
            [$key, $id, , , , , , , , $creator] = preg_split('/\s+/', trim($line));
            if (((int)$key & 0xffffffff) !== $this->key || $creator === '0') {
                continue;
            }
            preg_match('/^Uid:\s+\d+\s+(\d+)/m', @file_get_contents('/proc/self/status'), $self);
            if ($creator !== ($self[1] ?? '') && (int)$creator !== @fileowner($directory)) {
                throw new SegmentException(SegmentException::EPERM, sprintf('shared memory 0x%08x'
                    . ' (shmid %d) was made by uid %d, who is neither root nor the owner of %s: set'
                    . ' SHMC_RUNTIME_DIR to the manager\'s --runtime-dir; if it is, the memory is'
                    . ' somebody else\'s: use another key', $this->key, $id, $creator, $directory));
            }
        }
    }

    /** The header, checked. */
    public function header(): array
    {
        $this->generation(); // follows
        return $this->ownHeader();
    }

    private function ownHeader(): array
    {
        $raw = $this->copy(0, 256);
        $header = unpack(self::HEADER, $raw);
        if ($header['magic'] === str_repeat("\0", 8)) {
            throw new SegmentException(SegmentException::EAGAIN,
                sprintf('segment 0x%08x: it is being made; try again', $this->key));
        }
        $this->need($header['magic'] === 'SHMSEGM1', 'header.magic');
        foreach (['abi' => 1, 'byte_order' => 0x01020304, 'incompatible' => 0] as $field => $known) {
            if ($header[$field] !== $known) {
                throw new SegmentException(SegmentException::EPROTONOSUPPORT, sprintf(
                    'segment 0x%08x: its %s is 0x%x, and this class knows 0x%x: take the one that'
                    . ' came with this shm-manager', $this->key, $field, $header[$field], $known));
            }
        }
        $this->need($header['key'] === $this->key, 'header.key');
        $this->need($header['segment_bytes'] > 0 && $header['segment_bytes'] <= $this->bytes,
            'header.segment_bytes');
        $this->need($header['crc'] === self::crc(substr($raw, 0, 124)), 'header.crc');
        return $header;
    }

    /** The number that changes whenever the directory does; of the successor, if this segment was
     *  replaced, to which this attaches then: it is under the same key. */
    public function generation(): int
    {
        for ($end = null; ; usleep(2000)) {
            $state = unpack('Pgeneration/Vstate/a36/Psuccessor', $this->copy(128, 56));
            if ($state['state'] !== self::REPLACED) {
                return $state['generation'];
            }
            if ($state['successor'] === 0) {
                throw new SegmentException(SegmentException::EIDRM, sprintf(
                    'segment 0x%08x: it was destroyed; attach anew when a manager has made another',
                    $this->key));
            }
            $end ??= microtime(true) + self::PATIENCE;
            [$id, $memory, $bytes] = [$this->id, $this->memory, $this->bytes];
            try {
                $this->attach();
            } catch (SegmentException $error) {
                [$this->memory, $this->bytes] = [$memory, $bytes];
            }
            if ($this->id === $id && microtime(true) > $end) {
                throw new SegmentException(SegmentException::EAGAIN, sprintf(
                    'segment 0x%08x: it was replaced by another, which can\'t be had as yet: %s',
                    $this->key, isset($error) ? $error->getMessage() : 'the key is still this one\'s'));
            }
        }
    }

    /** The sections in force, by name, sorted. */
    public function sections(): array
    {
        if ($this->generation() !== $this->generation) {
            $this->walk();
        }
        return $this->sections;
    }

    public function section(string $name): array
    {
        return $this->sections()[$name] ?? throw new SegmentException(SegmentException::ENOENT,
            "the segment has no section '$name'");
    }

    /** All arenas in use; a reader needs them for nothing. */
    public function arenas(): array
    {
        return $this->directory(function (array $directory, int $at): array {
            $arenas = [];
            for ($i = 0; $i < $directory['arenas_used']; $i++) {
                $raw = $this->copy($at + $directory['arenas_off'] + 64 * $i, 64);
                $arena = unpack(self::ARENA, $raw);
                if ($arena['state'] !== 0) {
                    $this->need($arena['crc'] === self::crc(substr($raw, 0, 60)), "arena $i: crc");
                    $arenas[$i] = $arena;
                }
            }
            return $arenas;
        });
    }

    /** Who holds a worker's name, and how its last lease ended. */
    public function worker(int $index): array
    {
        $header = $this->header();
        if ($index < 0 || $index >= $header['workers_capacity']) {
            throw new \ValueError("worker $index: there are {$header['workers_capacity']} records");
        }
        $at = $header['workers_off'] + 128 * $index;
        for ($try = 0; $try < self::TRIES; $try++) {
            $raw = $this->copy($at, 128);
            $worker = unpack(self::WORKER, $raw);
            if (unpack('P', $this->copy($at + 64, 8))[1] === $worker['word']) {
                $this->need($worker['name_crc'] === self::crc(substr($raw, 0, 64)), 'worker.name');
                return $worker + ['state' => $worker['word'] & 0xff, 'epoch' => $worker['word'] >> 8];
            }
        }
        throw $this->lapped("worker $index: never at rest");
    }

    /** Bytes of a raw section; without a number the rest of it. */
    public function readRaw(string $name, int $offset = 0, ?int $bytes = null): string
    {
        return $this->retry($name, self::RAW, function (array $section) use ($offset, $bytes): string {
            $bytes ??= $section['size'] - $offset;
            self::inside($section, $offset, $bytes);
            return $this->copy($section['ctl_off'] + $offset, $bytes);
        });
    }

    /** For the owner alone: run as `shmtool run --worker OWNER -- php ...`. */
    public function writeRaw(string $name, int $offset, string $data): void
    {
        $section = $this->section($name);
        self::expect($section, self::RAW);
        self::inside($section, $offset, strlen($data));
        if (!$this->writable) {
            throw new SegmentException(SegmentException::EACCES,
                "section '$name': the segment is attached to read; give it `writable: true`");
        }
        if (!($section['flags'] & self::SHARED)
            && $this->worker($section['owner_index'])['state'] !== self::LEASED) {
            throw new SegmentException(SegmentException::EACCES, "section '$name' belongs to worker"
                . " '{$section['owner']}', which nobody is: run this by"
                . " `shmtool run --worker {$section['owner']} -- php ...`");
        }
        if ($data !== '') {
            shmop_write($this->memory, $data, $section['ctl_off'] + $offset);
        }
    }

    /** The version of a snapshot section's newest value; 0: nothing was published yet. */
    public function version(string $name): int
    {
        return $this->snapshot($name, fn(array $section): array => $this->head($section))['version'];
    }

    /** The newest value of a snapshot section: version, value, real_ns, age_ns (null: not known),
     *  stale, and in how many tries it was had. */
    public function read(string $name): array
    {
        $found = $this->snapshot($name, $this->newest(...));
        if ($found['version'] === 0) {
            throw new SegmentException(SegmentException::ENODATA,
                "section '$name': nothing was published yet");
        }
        $age = match ($found['mono_ns']) {
            0 => null,
            self::EARLIER_BOOT => (int)(microtime(true) * 1e9) - $found['real_ns'],
            default => hrtime(true) - $found['mono_ns'],
        };
        $limit = $this->sections[$name]['stale_ms'] * 1000000;
        return ['version' => $found['version'], 'value' => $found['value'],
            'real_ns' => $found['real_ns'], 'age_ns' => $age === null ? null : max(0, $age),
            'stale' => $age !== null && $limit > 0 && $age > $limit, 'tries' => $found['tries']];
    }

    /** What $use finds in a snapshot section, or where it was before it moved. */
    private function snapshot(string $name, callable $use): array
    {
        $tries = 0;
        return $this->retry($name, self::SNAPSHOT, function (array $section) use ($use, &$tries) {
            $tries++;
            $found = $use($section);
            if ($found !== null && $found['version'] === 0 && isset($section['before'])) {
                $found = $use($section['before']);
                $found = $found === null || $found['moved'] ? null : $found;
            }
            return $found === null ? null : $found + ['tries' => $tries];
        });
    }

    /** Looks a section up and has it used, until that gives something and the generation is the
     *  same behind it: what was found, or found to be wrong, in between counts for nothing. */
    private function retry(string $name, int $kind, callable $use): mixed
    {
        for ($try = 0; $try < self::TRIES; $try++) {
            $section = $this->section($name);
            self::expect($section, $kind);
            $generation = $this->generation;
            $found = $failure = null;
            try {
                $found = $use($section);
            } catch (SegmentException | \ValueError $error) {
                $failure = $error;
            }
            if ($this->generation() === $generation && $this->generation === $generation) {
                if ($failure !== null) {
                    throw $failure;
                }
                if ($found !== null) {
                    return $found;
                }
            }
        }
        throw $this->lapped("section '$name': lapped again and again; raise its count");
    }

    /** Step 1 of reading a snapshot. */
    private function control(array $section): array
    {
        $at = $section['ctl_off'];
        $raw = $this->copy($at, 64);
        $control = unpack(self::CONTROL, $raw);
        $this->need($control['magic'] === 'SNAP', 'control.magic');
        $this->need($control['crc'] === self::crc(substr($raw, 0, 60)), 'control.crc');
        $this->need($control['section_id'] === $section['section_id'], 'control.section_id');
        $this->need($control['incarnation'] === $section['incarnation'], 'control.incarnation');
        $this->need($control['stride'] > 64 && $control['buf_off'] > 0, 'control.stride');
        $end = $at + $control['buf_off'] + $control['count'] * $control['stride'];
        $this->need($end <= $section['offset'] + $section['bytes'], 'control.count');
        return $control;
    }

    /** Step 2. */
    private function head(array $section): array
    {
        $at = $section['ctl_off'];
        $control = $this->controls[$at] ??= $this->control($section);
        $head = unpack('P', $this->copy($at + 64, 8))[1];
        $version = ($head >> 1) & ((1 << 55) - 1);
        $buffer = ($head >> 56) & 0xff;
        $this->need($version === 0 || $buffer < $control['count'], 'head.buffer');
        return ['version' => $version, 'value' => '', 'mono_ns' => 0, 'real_ns' => 0,
            'moved' => (bool)($head & 1), 'room' => $control['stride'] - 64,
            'from' => $at + $control['buf_off'] + $buffer * $control['stride']];
    }

    /** Steps 1 to 5; null when the writer came round. */
    private function newest(array $section): ?array
    {
        $head = $this->head($section);
        if ($head['version'] === 0) {
            return $head;
        }
        $line = unpack(self::BUFFER, $this->copy($head['from'], 40));
        if ($line['seq'] !== 2 * $head['version']) {
            return null;
        }
        $fits = $line['len'] >= 0 && $line['len'] <= $head['room'];
        $value = $this->copy($head['from'] + 64, $fits ? $line['len'] : $head['room']);
        if (unpack('P', $this->copy($head['from'], 8))[1] !== 2 * $head['version']) {
            return null;
        }
        $this->need($fits, 'buffer.len');
        return ['value' => $value, 'mono_ns' => $line['mono_ns'], 'real_ns' => $line['real_ns']] + $head;
    }

    private function walk(): void
    {
        $this->controls = [];
        [$this->generation, $this->sections] = $this->directory(
            function (array $directory, int $at, int $generation): array {
                $raw = $this->copy($at + $directory['index_off'], 4 * $directory['index_count']);
                $this->need($directory['index_crc'] === self::crc($raw), 'directory.index_crc');
                $sections = [];
                foreach (unpack('V*', $raw) ?: [] as $slot) {
                    $this->need($slot < $directory['slots_used'], 'directory.index');
                    $from = $at + $directory['sections_off'];
                    $section = $this->descriptor($from + 384 * $slot, self::LIVE, self::MOVING);
                    if ($section['state'] === self::MOVING) {
                        $this->need($section['old_slot'] < $directory['slots_used'], 'old_slot');
                        $section['before'] = $this->before($section, $from);
                    }
                    $sections[$section['name']] = $section;
                }
                return [$generation, $sections];
            });
    }

    /** Where a section was that is moving, and where it is to be read until it has moved. */
    private function before(array $section, int $from): array
    {
        $before = $this->descriptor($from + 384 * $section['old_slot'], self::QUARANTINED);
        foreach (['section_id', 'incarnation'] as $field) {
            $this->need($before[$field] === $section[$field], "the place before: $field");
        }
        $this->need($before['ctl_off'] === $section['old_ctl_off'], 'old_ctl_off');
        return $before;
    }

    private function descriptor(int $at, int ...$states): array
    {
        $raw = $this->copy($at, 384);
        $section = unpack(self::SECTION, $raw);
        $name = $section['name'];
        $this->need($section['crc'] === self::crc(substr($raw, 0, 380)), "section '$name': crc");
        $this->need(in_array($section['state'], $states, true), "section '$name': state");
        $end = $section['offset'] + $section['bytes'];
        $this->need($section['offset'] >= 0 && $section['bytes'] > 0 && $end <= $this->bytes
            && $section['ctl_off'] >= $section['offset'] && $section['ctl_off'] < $end
            && ($section['kind'] !== self::RAW
                || ($section['size'] > 0 && $section['ctl_off'] + $section['size'] <= $end)),
            "section '$name': place");
        return $section;
    }

    /** Runs $use on the directory in force, until the generation is the same before and after. */
    private function directory(callable $use): array
    {
        for ($try = 0; $try < self::TRIES; $try++) {
            $header = $this->header();
            $generation = $header['generation'];
            $at = $header['offset' . ($generation & 1)];
            $failure = $result = null;
            try {
                $raw = $this->copy($at, 64);
                $directory = unpack(self::DIRECTORY, $raw);
                $this->need($directory['generation'] === $generation, 'directory.generation');
                $this->need($directory['crc'] === self::crc(substr($raw, 0, 60)), 'directory.crc');
                $this->need($directory['index_count'] <= $directory['slots_used']
                    && $directory['slots_used'] <= $directory['capacity'], 'directory.capacity');
                $result = $use($directory, $at, $generation);
            } catch (SegmentException $error) {
                $failure = $error; // of a directory that was being replaced, or of a damaged one
            }
            if ($this->generation() === $generation) {
                return $result ?? throw $failure;
            }
        }
        throw $this->lapped('directory: never at rest');
    }

    private static function expect(array $section, int $kind): void
    {
        if ($section['kind'] !== $kind) {
            $kinds = [1 => 'raw', 2 => 'snapshot', 3 => 'slots', 4 => 'queue'];
            throw new SegmentException(SegmentException::EPROTOTYPE, sprintf(
                "section '%s' is of kind %s, expected is %s", $section['name'],
                $kinds[$section['kind']] ?? $section['kind'], $kinds[$kind]));
        }
    }

    private static function inside(array $section, int $offset, int $bytes): void
    {
        if ($offset < 0 || $bytes < 0 || $offset > $section['size'] - $bytes) {
            throw new \ValueError("section '{$section['name']}': has {$section['size']} bytes, and"
                . " not $bytes from $offset on");
        }
    }

    /** Sums of what stands in damaged memory may have become floats. */
    private function copy(int|float $offset, int|float $bytes): string
    {
        if ($bytes === 0) {
            return '';
        }
        $this->need(is_int($offset) && is_int($bytes) && $offset >= 0 && $bytes > 0
            && $offset <= $this->bytes - $bytes, 'an offset');
        return shmop_read($this->memory, $offset, $bytes);
    }

    private function need(bool $condition, string $what): void
    {
        if (!$condition) {
            throw new SegmentException(SegmentException::EBADMSG, sprintf(
                'segment 0x%08x: %s is wrong; a manager that runs mends it within a second',
                $this->key, $what));
        }
    }

    private function lapped(string $message): SegmentException
    {
        return new SegmentException(SegmentException::EAGAIN, $message);
    }

    private static function crc(string $bytes): int
    {
        return (int)hexdec(hash('crc32c', $bytes));
    }
}
