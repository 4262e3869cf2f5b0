<?php
// SPDX-License-Identifier: Apache-2.0
//
// The extension `shmclient`, case by case, against a manager whose table test_extension.sh wrote:
//
//     extension.php CASE ...      each of them in this process, one behind the other
//     extension.php talk WORKER   answers lines such as "read text" until there are no more
declare(strict_types=1);

use Shm\Segment;

require __DIR__ . '/common.php';
require __DIR__ . '/extension_values.php';
require __DIR__ . '/extension_life.php';

/** As a worker, which the process of the case before may have been until now. */
function worker(string $name): Segment
{
    return Segment::attach($name, timeout: 30000);
}

if ($argv[1] === 'talk') {
    talk($argv[2]);
} else {
    array_map(fn($case) => $case(), array_slice($argv, 1));
}
