<?php
// SPDX-License-Identifier: Apache-2.0
//
// The matrix's part of PHP without any extension of shm-manager's: shmop_* alone, by the class that
// is written over it.  It reads raw and snapshot sections, and as a worker, by `shmtool run`, writes
// a raw one.  Lines as matrix.c's.
declare(strict_types=1);

require __DIR__ . '/../../../libclient/bindings/php/src/Segment.php';

$segment = new Shm\Shmop\Segment(writable: true);
while (($line = fgets(STDIN)) !== false) {
    [$verb, $kind, $name, $file] = explode(' ', rtrim($line));
    try {
        match ("$verb $kind") {
            'read raw' => file_put_contents($file, $segment->readRaw($name)),
            'read snapshot' => file_put_contents($file, $segment->read($name)['value']),
            'write raw' => $segment->writeRaw($name, 0, file_get_contents($file)),
        };
        echo "ok\n";
    } catch (Throwable $error) {
        echo $error->getMessage(), "\n";
    }
}
