<?php
// SPDX-License-Identifier: Apache-2.0
//
// Walks a whole segment by shm-segment(7), and compares what it finds with `shmtool list --json`
// and `shmtool workers --json`:
//
//     walk.php KEY LIST.json WORKERS.json
//     walk.php KEY watch NAME COUNT      reads COUNT versions while a writer is at full speed,
//                              [FILE]    and then goes on while there is FILE
//     walk.php KEY moving NAME           is it on its way?
declare(strict_types=1);

use Shm\Shmop\Segment;

require __DIR__ . '/../../libclient/bindings/php/src/Segment.php';

function same(string $what, mixed $found, mixed $told): void
{
    if ($found !== $told) {
        fwrite(STDERR, "$what: " . var_export($found, true) . ' here, ' . var_export($told, true)
            . " there\n");
        exit(1);
    }
}

function compareSections(Segment $segment, array $told): void
{
    $kinds = [1 => 'raw', 2 => 'snapshot'];
    $found = $segment->sections();
    same('names', array_keys($found), array_column($told, 'name'));
    foreach ($told as $row) {
        $section = $found[$row['name']];
        same("kind of {$row['name']}", $kinds[$section['kind']], $row['kind']);
        $fields = ['owner', 'format', 'size', 'count', 'offset', 'bytes', 'stale_ms', 'section_id',
            'incarnation'];
        foreach ($fields as $field) {
            same("$field of {$row['name']}", $section[$field], $row[$field]);
        }
        if ($row['kind'] === 'snapshot') {
            $version = $segment->version($row['name']);
            $value = $version === 0 ? '' : $segment->read($row['name'])['value'];
            same("version of {$row['name']}", $version, $row['version']);
            same("length of {$row['name']}", strlen($value), $row['length']);
        }
    }
}

function compareWorkers(Segment $segment, array $told): void
{
    $states = ['free', 'granted', 'leased'];
    $owners = [];
    foreach ($segment->sections() as $section) {
        $owners[$section['owner']] = $segment->worker($section['owner_index']);
    }
    foreach ($told as $row) {
        $worker = $owners[$row['name']];
        same("name of {$row['name']}", $worker['name'], $row['name']);
        same("state of {$row['name']}", $states[$worker['state']], $row['state']);
        foreach (['epoch', 'end_reason', 'since_real_ns'] as $field) {
            same("$field of {$row['name']}", $worker[$field], $row[$field]);
        }
    }
}

/** Each section lies in its arena, which is its owner's, and so does the place from which it is
 *  moving; no two arenas overlap. */
function compareArenas(Segment $segment): void
{
    $arenas = $segment->arenas();
    foreach ($segment->sections() as $name => $section) {
        foreach (array_filter([$section, $section['before'] ?? null]) as $place) {
            $arena = $arenas[$place['arena_index']];
            same("state of $name's arena", $arena['state'], 1);
            same("owner of $name's arena", $arena['owner_index'], $section['owner_index']);
            same("place of $name", $place['offset'] >= $arena['offset']
                && $place['offset'] + $place['bytes'] <= $arena['offset'] + $arena['bytes'], true);
        }
    }
    usort($arenas, fn($a, $b) => $a['offset'] <=> $b['offset']);
    for ($i = 1; $i < count($arenas); $i++) {
        same('arenas overlap', $arenas[$i - 1]['offset'] + $arenas[$i - 1]['bytes']
            > $arenas[$i]['offset'], false);
    }
}

function going(?string $file): bool
{
    clearstatcache();
    return $file !== null && file_exists($file);
}

/** Values of tests/interop/worker.c: their number, then its low byte again and again. */
function watch(Segment $segment, string $name, int $count, ?string $file): void
{
    for ($reads = $tries = $changes = $last = 0; $changes < $count || going($file); $reads++) {
        ['version' => $version, 'value' => $value, 'tries' => $more] = $segment->read($name);
        $number = unpack('P', $value)[1];
        same('a whole value', substr($value, 8), str_repeat(chr($number & 0xff),
            strlen($value) - 8));
        same('order', $version >= $last, true);
        $changes += (int)($version !== $last);
        $tries += $more;
        $last = $version;
    }
    printf("%d reads in %d tries, %d of them new versions\n", $reads, $tries, $changes);
}

$segment = new Segment($argv[1]);
if ($argv[2] === 'watch') {
    watch($segment, $argv[3], (int)$argv[4], $argv[5] ?? null);
} elseif ($argv[2] === 'moving') {
    exit(isset($segment->section($argv[3])['before']) ? 0 : 1);
} else {
    compareSections($segment, json_decode(file_get_contents($argv[2]), true)['sections']);
    compareWorkers($segment, json_decode(file_get_contents($argv[3]), true)['workers']);
    compareArenas($segment);
}
