<?php
// SPDX-License-Identifier: Apache-2.0
//
// What the children of a pool are asked (QUERY_STRING: VERB MEETING), each one of them, as a request
// goes on when three wait at its meeting alone.  Prints a line.
declare(strict_types=1);

[$verb, $meeting] = explode('&', $_SERVER['QUERY_STRING']);
file_put_contents($meeting, getmypid() . "\n", FILE_APPEND);
for ($end = time() + 60; count(file($meeting)) < 3 && time() < $end; usleep(5000));

/** The slot that this child has, since this request or an earlier one. */
function slot(Shm\Slots $board): int
{
    foreach ($board->each(inUse: true) as $slot => $known) {
        if ($known->pid === getmypid()) {
            return $slot;
        }
    }
    return $board->grab();
}

function put(Shm\Slots $board): string
{
    $slot = slot($board);
    $board->put($slot, 'of ' . getmypid());
    return "slot $slot {$board->get($slot)->data} {$board->get($slot)->grabs}";
}

function work(Shm\Snapshot $text): string
{
    $text->publish((string)getmypid());
    return 'works';
}

echo 'pid ', getmypid(), ' ';
try {
    echo match ($verb) {
        'read' => Shm\Segment::attach()->snapshot('text')->read()->data,
        'put' => put(Shm\Segment::attach(anonymous: true)->slots('board')),
        'send' => Shm\Segment::attach(anonymous: true)->queue('jobs')->send((string)getmypid()) ?? 'sent',
        'work' => work(Shm\Segment::attach('web')->snapshot('page')),
    }, "\n";
} catch (Shm\Exception $error) {
    echo "$error->name $error->holder\n";
}
