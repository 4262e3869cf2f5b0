<?php
// SPDX-License-Identifier: Apache-2.0
//
// A segment of shm-manager, read with nothing but shmop_* and unpack(): shm-segment(7) transcribed.
// What was copied counts only once the checks behind the copy have held; until then it is retried.
declare(strict_types=1);

final class SegmentError extends RuntimeException
{
}

final class Segment
{
    private const HEADER = 'a8magic/Vabi/Vheader_bytes/Pcompatible/Pincompatible/Vbyte_order/Vkey/'
        . 'Psegment_bytes/Vbackend/Vpage_bytes/Psegment_id/a16boot_id/Pcreated_real_ns/'
        . 'Vworkers_off/Vworkers_capacity/Vattachments_off/Vattachments_capacity/'
        . 'Vbells_capacity/Varena_start/a12reserved/Vcrc/'
        . 'Pgeneration/Vstate/Vbell_id/Poffset0/Pbytes0/Poffset1/Pbytes1/a16reserved2/'
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
    private const LIVE = 1;
    private const MOVING = 2;
    private const QUARANTINED = 4;
    private const TRIES = 10000;

    private Shmop $memory;
    private int $bytes;
    /** @var array<string, array<string, mixed>> sections by name, of $generation */
    private array $sections = [];
    private int $generation = -1;

    public function __construct(private int $key, bool $writable = false)
    {
        $memory = @shmop_open($key, $writable ? 'w' : 'a', 0, 0);
        if ($memory === false) {
            throw new SegmentError(sprintf(
                'key 0x%08x: no segment, or none that you may attach; start shm-manager', $key));
        }
        $this->memory = $memory;
        $this->bytes = shmop_size($memory);
        $this->header();
    }

    /** The header, checked. */
    public function header(): array
    {
        $raw = $this->copy(0, 256);
        $header = unpack(self::HEADER, $raw);
        if ($header['magic'] === str_repeat("\0", 8)) {
            throw new SegmentError('the segment is being made; try again');
        }
        $this->need($header['magic'] === 'SHMSEGM1', 'header.magic');
        $this->need($header['abi'] === 1, 'header.abi');
        $this->need($header['byte_order'] === 0x01020304, 'header.byte_order');
        $this->need($header['incompatible'] === 0, 'header.incompatible');
        $this->need($header['key'] === ($this->key & 0xffffffff), 'header.key');
        $this->need($header['segment_bytes'] <= $this->bytes, 'header.segment_bytes');
        $this->need($header['crc'] === self::crc(substr($raw, 0, 124)), 'header.crc');
        return $header;
    }

    /** The number that changes whenever the directory does. */
    public function generation(): int
    {
        return unpack('P', $this->copy(128, 8))[1];
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
        return $this->sections()[$name] ?? throw new SegmentError("section '$name': there is none");
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
        $at = $this->header()['workers_off'] + 128 * $index;
        for ($try = 0; $try < self::TRIES; $try++) {
            $raw = $this->copy($at, 128);
            $worker = unpack(self::WORKER, $raw);
            if (unpack('P', $this->copy($at + 64, 8))[1] === $worker['word']) {
                $this->need($worker['name_crc'] === self::crc(substr($raw, 0, 64)), 'worker.name');
                return $worker + ['state' => $worker['word'] & 0xff, 'epoch' => $worker['word'] >> 8];
            }
        }
        throw new SegmentError("worker $index: never at rest");
    }

    /** Bytes of a raw section. */
    public function readRaw(string $name, int $offset = 0, ?int $bytes = null): string
    {
        $section = $this->section($name);
        $bytes ??= $section['size'] - $offset;
        $this->inside($section, self::RAW, $offset, $bytes);
        return $this->copy($section['ctl_off'] + $offset, $bytes);
    }

    /** For the owner alone: run as `shmtool run --worker OWNER -- php ...`. */
    public function writeRaw(string $name, int $offset, string $data): void
    {
        $section = $this->section($name);
        $this->inside($section, self::RAW, $offset, strlen($data));
        shmop_write($this->memory, $data, $section['ctl_off'] + $offset);
    }

    /** The newest value of a snapshot section: version (0 = none), value, real_ns, tries. */
    public function read(string $name): array
    {
        for ($try = 1; $try <= self::TRIES; $try++) {
            $section = $this->section($name);
            $generation = $this->generation;
            if ($section['kind'] !== self::SNAPSHOT) {
                throw new SegmentError("section '$name': not a snapshot");
            }
            $found = $this->newest($section);
            if ($found !== null && $found['version'] === 0 && isset($section['before'])) {
                $found = $this->newest($section['before']);
                $found = $found === null || $found['moved'] ? null : $found;
            }
            if ($found !== null && $this->generation() === $generation) {
                return $found + ['tries' => $try];
            }
        }
        throw new SegmentError("section '$name': lapped again and again; raise its count");
    }

    /** Steps 1 to 5 of reading a snapshot; null when the writer came round. */
    private function newest(array $section): ?array
    {
        $at = $section['ctl_off'];
        $raw = $this->copy($at, 64);
        $control = unpack(self::CONTROL, $raw);
        $this->need($control['magic'] === 'SNAP', 'control.magic');
        $this->need($control['crc'] === self::crc(substr($raw, 0, 60)), 'control.crc');
        $this->need($control['section_id'] === $section['section_id'], 'control.section_id');
        $this->need($control['incarnation'] === $section['incarnation'], 'control.incarnation');

        $head = unpack('P', $this->copy($at + 64, 8))[1];
        $version = ($head >> 1) & ((1 << 55) - 1);
        $buffer = ($head >> 56) & 0xff;
        if ($version === 0) {
            return ['version' => 0, 'value' => '', 'real_ns' => 0, 'moved' => (bool)($head & 1)];
        }
        $this->need($buffer < $control['count'], 'head.buffer');
        $end = $at + $control['buf_off'] + $control['count'] * $control['stride'];
        $this->need($end <= $section['offset'] + $section['bytes'], 'control.count');
        $from = $at + $control['buf_off'] + $buffer * $control['stride'];
        $room = $control['stride'] - 64;

        $line = unpack(self::BUFFER, $this->copy($from, 40));
        if ($line['seq'] !== 2 * $version) {
            return null;
        }
        $value = $this->copy($from + 64, min($line['len'], $room));
        if (unpack('P', $this->copy($from, 8))[1] !== 2 * $version) {
            return null;
        }
        $this->need($line['len'] >= 0 && $line['len'] <= $room, 'buffer.len');
        return ['version' => $version, 'value' => $value, 'real_ns' => $line['real_ns'],
            'moved' => (bool)($head & 1)];
    }

    private function walk(): void
    {
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
            && ($section['kind'] !== self::RAW || $section['ctl_off'] + $section['size'] <= $end),
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
            } catch (SegmentError $error) {
                $failure = $error; // of a directory that was being replaced, or of a damaged one
            }
            if ($this->generation() === $generation) {
                return $result ?? throw $failure;
            }
        }
        throw new SegmentError('directory: never at rest');
    }

    private function inside(array $section, int $kind, int $offset, int $bytes): void
    {
        if ($section['kind'] !== $kind) {
            throw new SegmentError("section '{$section['name']}': of another kind");
        }
        if ($offset < 0 || $bytes < 0 || $offset + $bytes > $section['size']) {
            throw new SegmentError("section '{$section['name']}': has {$section['size']} bytes");
        }
    }

    private function copy(int $offset, int $bytes): string
    {
        if ($bytes === 0) {
            return '';
        }
        $this->need($offset >= 0 && $bytes > 0 && $offset <= $this->bytes - $bytes, 'an offset');
        return shmop_read($this->memory, $offset, $bytes);
    }

    private function need(bool $condition, string $what): void
    {
        if (!$condition) {
            throw new SegmentError(sprintf('segment 0x%08x: %s is wrong', $this->key, $what));
        }
    }

    private static function crc(string $bytes): int
    {
        return (int)hexdec(hash('crc32c', $bytes));
    }
}
