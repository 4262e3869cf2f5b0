<?php
// SPDX-License-Identifier: Apache-2.0
//
// What publish and read take in PHP: by the binding's extension, or by its class that needs none
// (which writes raw sections alone), and by shmop_write and shmop_read, which keep nothing whole.
//
//     bench.php extension|class ROUNDS OPERATIONS: prints "SIZE CALL OURS THEIRS", in nanoseconds

[, $way, $rounds, $operations] = $argv;

function timed(int $operations, callable $call, array $values = [null, null]): float
{
    $start = hrtime(true);
    for ($i = 0; $i < $operations; $i++) {
        $call($values[$i & 1]);
    }
    return (hrtime(true) - $start) / $operations;
}

/** What is measured: how values get there, how they are had, and how what was written is had. */
function calls(string $way, int $size): array
{
    if ($way === 'class') {
        $segment = new Shm\Shmop\Segment(writable: true);
        return ['write', fn($value) => $segment->writeRaw("r$size", 0, $value),
            fn() => $segment->read("v$size")['value'], fn() => $segment->readRaw("r$size", 0, $size)];
    }
    $ours = Shm\Segment::attach('bench', timeout: 60000)->snapshot("v$size");
    $there = Shm\Segment::attach()->snapshot("v$size");
    $read = fn() => $there->read()->data;
    return ['publish', fn($value) => $ours->publish($value), $read, $read];
}

if ($way === 'class') {
    require __DIR__ . '/../../../libclient/bindings/php/src/Segment.php';
}
foreach ([64, 10240, 65536] as $size) {
    $values = [str_repeat('1', $size), str_repeat('2', $size)];
    [$name, $put, $get, $written] = calls($way, $size);
    $block = shmop_open(hexdec(getenv('BENCH_KEY')), 'n', 0600, $size);
    $shmop_put = fn($value) => shmop_write($block, $value, 0);
    $shmop_get = fn() => shmop_read($block, 0, $size);
    $last = $values[$operations - 1 & 1];
    try {
        for ($round = 0; $round < $rounds; $round++) {
            echo "$size $name ", timed($operations, $put, $values), ' ',
                timed($operations, $shmop_put, $values), "\n";
            echo "$size read ", timed($operations, $get), ' ', timed($operations, $shmop_get), "\n";
            $right = $way === 'class' ? $values[1] : $last;
            if ($written() !== $last || $get() !== $right || $shmop_get() !== $last) {
                echo "$size bytes came out as others\n";
                exit(1);
            }
        }
    } finally {
        shmop_delete($block);
    }
}
