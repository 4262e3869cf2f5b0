<?php
// SPDX-License-Identifier: Apache-2.0
//
// Shm\Shmop\Segment where things are not as they should be; the class is found as Composer would.
//
//     shmop.php damage     a copy of the segment under another key, in which one field is wrong
//     shmop.php misuse     wrong types, ranges, kinds, keys and owners; a fork
//     shmop.php leaks      100,000 reads
//     shmop.php talk       answers lines such as "read text" until there are no more
declare(strict_types=1);

use Shm\Shmop\Segment;
use Shm\Shmop\SegmentException;

require __DIR__ . '/common.php';

$home = __DIR__ . '/../../../libclient/bindings/php/';
foreach (json_decode(file_get_contents("$home/composer.json"), true)['autoload']['psr-4'] as $space => $at) {
    spl_autoload_register(function (string $class) use ($home, $space, $at): void {
        if (str_starts_with($class, $space)) {
            require "$home$at" . str_replace('\\', '/', substr($class, strlen($space))) . '.php';
        }
    });
}

function crc(string $bytes): string
{
    return pack('V', hexdec(hash('crc32c', $bytes)));
}

/** What somebody else made under a key, as far as root can play him. */
function stranger(): void
{
    if (posix_geteuid() !== 0) {
        return;
    }
    $key = intval(getenv('SHMC_KEY'), 0) ^ 0x88000000;
    child(function () use ($key): int {
        posix_setuid(65534);
        return shmop_open($key, 'n', 0666, 4096) === false ? 1 : 0;
    });
    expect('a stranger\'s', 'EPERM shared memory', fn() => new Segment($key));
    shmop_delete(shmop_open($key, 'w', 0, 0));
}

/** A copy that the reader takes for a segment of that key. */
function copyOf(int $key): array
{
    $source = shmop_open(intval(getenv('SHMC_KEY'), 0), 'a', 0, 0);
    $image = shmop_read($source, 0, 0);
    $image = substr_replace($image, pack('V', $key), 36, 4);
    $image = substr_replace($image, crc(substr($image, 0, 124)), 124, 4);
    $memory = shmop_open($key, 'n', 0600, strlen($image)) ?: exit(1);
    shmop_write($memory, $image, 0);
    return [$memory, $image];
}

function damage(): void
{
    $key = intval(getenv('SHMC_KEY'), 0) ^ 0x10000000;
    [$memory, $image] = copyOf($key);
    try {
        $section = (new Segment($key))->section('text');
        $generation = unpack('P', $image, 128)[1];
        $directory = unpack('P', $image, 144 + 16 * ($generation & 1))[1];
        $head = unpack('P', $image, $section['ctl_off'] + 64)[1];
        $stride = unpack('P', $image, $section['ctl_off'] + 32)[1];
        $buffer = $section['ctl_off'] + unpack('P', $image, $section['ctl_off'] + 40)[1]
            + ($head >> 56) * $stride;
        $huge = pack('P', PHP_INT_MAX);
        $cases = [
            ['being made', 0, str_repeat("\0", 8), 'EAGAIN'],
            ['magic', 0, 'x', 'EBADMSG segment'],
            ['abi', 8, "\2", 'EPROTONOSUPPORT'],
            ['incompatible', 24, "\1", 'its incompatible is 0x1'],
            ['crc of the header', 60, "\0\0\0", 'header.crc'],
            ['offset of the directory', 144 + 16 * ($generation & 1), $huge, 'an offset'],
            ['negative', 144 + 16 * ($generation & 1), str_repeat("\xff", 8), 'an offset'],
            ['generation of the directory', $directory, "\xff", 'directory.generation'],
            ['crc of the directory', $directory + 60, "\0\0\0\0", 'directory.crc'],
            ['count of the directory', $directory + 16, "\xff\xff", 'directory.crc'],
            ['the index', $directory + unpack('V', $image, $directory + 40)[1], "\xff", 'index_crc'],
            ['a descriptor', $directory + unpack('V', $image, $directory + 44)[1] + 220, "\xff", 'crc'],
            ['control line', $section['ctl_off'], 'x', 'control.magic'],
            ['control crc', $section['ctl_off'] + 60, "\0\0\0\0", 'control.crc'],
            ['head', $section['ctl_off'] + 64 + 7, "\xff", 'head.buffer'],
            ['length', $buffer + 8, $huge, 'buffer.len'],
            ['negative length', $buffer + 8, str_repeat("\xff", 8), 'buffer.len'],
            ['torn for ever', $buffer, pack('P', 1), 'EAGAIN section \'text\': lapped'],
            ['destroyed', 136, pack('V', 3), 'EIDRM'],
            ['as it was', 136, substr($image, 136, 4), 'a value'],
        ];
        foreach ($cases as [$what, $at, $bytes, $expected]) {
            shmop_write($memory, $bytes, $at);
            expect($what, $expected, fn() => (new Segment($key))->read('text')['value']);
            shmop_write($memory, substr($image, $at, strlen($bytes)), $at);
        }
        // one that was attached before, and has what it knows of the directory
        $before = new Segment($key);
        $before->read('text');
        shmop_write($memory, pack('V', 3), 136);
        expect('destroyed meanwhile', 'EIDRM', fn() => $before->read('text'));
        shmop_write($memory, pack('P', 7), 176);
        expect('a successor that never comes', 'EAGAIN segment', fn() => $before->read('text'));
    } finally {
        shmop_delete($memory);
    }
    printf("%d damages were named\n", count($cases) + 1);
}

function misuse(): void
{
    stranger();
    $segment = new Segment();
    expect('no key', 'ENOENT key', fn() => new Segment(intval(getenv('SHMC_KEY'), 0) ^ 0x20000000));
    foreach (['hello', 0, -1, 1 << 32, ''] as $key) {
        expect("key '$key'", 'ValueError key', fn() => new Segment($key));
    }
    expect('type of a key', 'TypeError', fn() => new Segment([]));
    expect('type of a name', 'TypeError', fn() => $segment->read(7));
    expect('no section', 'ENOENT the segment has no section', fn() => $segment->read('nothing'));
    expect('nothing yet', 'ENODATA', fn() => $segment->read('never'));
    expect('kind', 'EPROTOTYPE', fn() => $segment->read('plain'));
    expect('the other', "EPROTOTYPE section 'text' is of kind snapshot", fn() => $segment->readRaw('text'));
    expect('slots', 'of kind slots', fn() => $segment->readRaw('board'));
    expect('range', 'ValueError', fn() => $segment->readRaw('plain', 4999, 2));
    expect('range', 'ValueError', fn() => $segment->readRaw('plain', -1, 1));
    expect('range', 'ValueError', fn() => $segment->readRaw('plain', PHP_INT_MAX, PHP_INT_MAX));
    expect('range', 'ValueError', fn() => $segment->readRaw('plain', 1, -1));
    expect('worker', 'ValueError', fn() => $segment->worker(-1));
    expect('nothing', '[]', fn() => $segment->readRaw('plain', 5000) === '' ? '[]' : 'something');
    expect('read-only', 'EACCES section \'plain\': the segment is attached to read',
        fn() => $segment->writeRaw('plain', 0, 'x'));
    expect('without a lease', 'which nobody is',
        fn() => (new Segment(writable: true))->writeRaw('plain', 0, 'x'));
    same('in a child', 7, child(fn(): int => $segment->read('text')['value'] === 'a value' ? 7 : 1));
    expect('behind it', 'a value', fn() => $segment->read('text')['value']);
}

function leaks(): void
{
    $segment = new Segment();
    $operation = function () use ($segment): void {
        $segment->read('text');
        try {
            $segment->read('never');
        } catch (SegmentException) {
        }
        $segment->readRaw('plain', 0, 100);
        (new Segment())->version('text');
    };
    repeat($operation, 25000);
    echo "figure: bindings.php.shmop_leak_operations 100000 operations\n";
}

function talk(): void
{
    $segment = new Segment();
    while (($line = fgets(STDIN)) !== false) {
        [$verb, $name] = explode(' ', trim($line));
        echo told(fn() => match ($verb) {
            'read' => $segment->read($name)['value'],
            'raw' => rtrim($segment->readRaw($name), "\0"),
            'bytes' => $segment->header()['segment_bytes'],
        }), "\n";
    }
}

match ($argv[1]) {
    'damage' => damage(),
    'misuse' => misuse(),
    'leaks' => leaks(),
    'talk' => talk(),
};
