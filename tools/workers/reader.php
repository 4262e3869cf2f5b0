<?php
// SPDX-License-Identifier: Apache-2.0
//
// A reader, and the writer of a raw section, in PHP without any extension of shm-manager's:
//
//   php reader.php [--key KEY] list
//   php reader.php [--key KEY] get NAME
//   php reader.php [--key KEY] watch NAME [SECONDS]
//   shmtool run --worker OWNER -- php reader.php [--key KEY] put NAME OFFSET TEXT
declare(strict_types=1);

use Shm\Shmop\Segment;
use Shm\Shmop\SegmentException;

require __DIR__ . '/../../libclient/bindings/php/src/Segment.php';

function usage(): never
{
    fwrite(STDERR, "usage: reader.php [--key KEY] list | get NAME | watch NAME [SECONDS]"
        . " | put NAME OFFSET TEXT\n");
    exit(2);
}

function listSections(Segment $segment): void
{
    $kinds = [1 => 'raw', 2 => 'snapshot', 3 => 'slots', 4 => 'queue'];
    foreach ($segment->sections() as $name => $section) {
        $version = $section['kind'] === Segment::SNAPSHOT ? $segment->version($name) : 0;
        printf("%s %s %s %d %d %d\n", $name, $kinds[$section['kind']] ?? '?', $section['owner'],
            $section['size'], $section['offset'], $version);
    }
}

function get(Segment $segment, string $name): string
{
    if ($segment->section($name)['kind'] === Segment::RAW) {
        return $segment->readRaw($name);
    }
    return $segment->read($name)['value'];
}

/** Polls: a read-only attachment has no doorbell. */
function watch(Segment $segment, string $name, float $seconds): void
{
    $end = microtime(true) + $seconds;
    for ($last = 0; microtime(true) < $end; usleep(20000)) {
        if ($segment->version($name) !== $last) {
            $found = $segment->read($name);
            $last = $found['version'];
            printf("%s version %d, %d bytes\n", $name, $last, strlen($found['value']));
        }
    }
}

$arguments = array_slice($argv, 1);
$key = null;
if (($arguments[0] ?? '') === '--key') {
    $key = $arguments[1] ?? usage();
    $arguments = array_slice($arguments, 2);
}
[$verb, $name] = [$arguments[0] ?? '', $arguments[1] ?? null];
if (!in_array($verb, ['list', 'get', 'watch', 'put'], true) || ($verb !== 'list' && $name === null)
    || ($verb === 'put' && count($arguments) !== 4)) {
    usage();
}
try {
    $segment = new Segment($key, writable: $verb === 'put');
    match ($verb) {
        'list' => listSections($segment),
        'get' => print get($segment, $name),
        'watch' => watch($segment, $name, (float)($arguments[2] ?? 10)),
        'put' => $segment->writeRaw($name, (int)$arguments[2], $arguments[3]),
    };
} catch (SegmentException | ValueError $error) {
    fwrite(STDERR, 'reader.php: ' . $error->getMessage() . "\n");
    exit(1);
}
