<?php
// SPDX-License-Identifier: Apache-2.0
//
// The matrix's part in PHP, with the extension `shmclient`: as matrix.c.
declare(strict_types=1);

const TIMEOUT_MS = 60000;

$segment = Shm\Segment::attach($argv[1], timeout: TIMEOUT_MS);
while (($line = fgets(STDIN)) !== false) {
    [$verb, $kind, $name, $file] = explode(' ', rtrim($line));
    try {
        $section = $segment->open($name);
        match ("$verb $kind") {
            'read raw' => file_put_contents($file, $section->read()),
            'read snapshot' => file_put_contents($file, $section->read()->data),
            'read queue' => file_put_contents($file, $section->receive(1, TIMEOUT_MS)->data),
            'write raw' => $section->write(file_get_contents($file)),
            'write snapshot' => $section->publish(file_get_contents($file)),
            'write queue' => $section->send(file_get_contents($file), 1, TIMEOUT_MS),
        };
        $section->close();
        echo "ok\n";
    } catch (Throwable $error) {
        echo get_class($error), ': ', $error->getMessage(), "\n";
    }
}
$segment->detach();
