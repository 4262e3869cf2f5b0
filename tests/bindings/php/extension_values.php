<?php
// SPDX-License-Identifier: Apache-2.0
//
// Cases of extension.php: what each kind of section does, and what there is to see.
declare(strict_types=1);

use Shm\{Exception, Segment, Snapshot};

function values(): void
{
    $author = worker('author')->snapshot('text');
    $reader = Segment::attach();
    $text = $reader->open('text', format: 'text/1', minSize: 100);
    same('class', Snapshot::class, $text::class);
    same('name', 'text', $text->name());
    expect('nothing yet', 'ENODATA', fn() => $text->read());
    same('nothing new', null, $text->next(0));
    same('nor in a while', null, $text->next(10));
    same('nor in order', null, $text->follow(10));
    same('of none', null, Snapshot::waitAny(['text' => $text], 10));
    $author->publish("one\0\xff");
    $value = $text->next(30000);
    same('a value', ["one\0\xff", 5, 1, 0, true, false],
        [$value->data, $value->length, $value->version, $value->missed, $value->writer, $value->stale]);
    same('its age', true, $value->ageNs >= 0 && abs($value->realNs / 1e9 - time()) < 3600);
    same('and no more', null, $text->next(0));
    foreach (['', 'x', str_repeat('long', 2500), 'short'] as $data) {
        $author->publish($data);
        same('as it was published', $data, $text->read()->data);
    }
    same('a part', 'hor', $text->view(1, 3));
    same('the rest', 'ort', $text->view(2));
    same('nothing of it', '', $text->view(5));
    expect('beyond', 'ValueError', fn() => $text->view(6));
    expect('beyond', 'ValueError', fn() => $text->view(1, 5));
    expect('before', 'ValueError', fn() => $text->view(-1));
    same('missed', 2, (function () use ($author, $text): int {
        array_map($author->publish(...), ['a', 'b', 'c']);
        return $text->next()->missed;
    })());
    array_map($author->publish(...), ['d', 'e']);
    same('in order', ['d', 'e', null],
        [$text->follow()->data, $text->follow(0)->data, $text->follow(0)?->data]);
    $author->publish('f');
    same('the key of it', 'text', Snapshot::waitAny(['none' => $reader->snapshot('never'), 'text' => $text]));
    expect('too long', 'EMSGSIZE section \'text\'', fn() => $author->publish(str_repeat('x', 10001)));
    expect('not a worker', 'EACCES', fn() => $text->publish('x'));
    expect('another worker\'s', 'EACCES', fn() => worker('author')->snapshot('never')->publish('x'));
    $brief = worker('author')->snapshot('brief');
    $brief->publish('soon stale');
    same('is read', 'soon stale', $brief->next()->data);
    try {
        $brief->next(30000);
        same('stale', 'an exception', 'none');
    } catch (Exception $error) {
        same('stale', ['ETIME', Exception::ETIME, true, 1, ''], [$error->name, $error->getCode(),
            $error->value->stale, $error->value->version, $error->value->data]);
    }
}

function bytes(): void
{
    $writer = worker('php');
    $raw = $writer->raw('plain');
    same('its bytes', 5000, strlen($raw->read()));
    $raw->write('0123456789', 4990);
    same('at the end', '6789', Segment::attach()->raw('plain')->read(4996));
    same('some', "\x0012", $raw->read(4999 - 10, 3) === "\0001" ? '' : "\x00" . $raw->read(4991, 2));
    $raw->write('', 5000);
    same('none', '', $raw->read(5000));
    expect('beyond', 'ValueError', fn() => $raw->write('x', 5000));
    expect('beyond', 'ValueError', fn() => $raw->write(str_repeat('x', 5001)));
    expect('beyond', 'ValueError', fn() => $raw->read(0, 5001));
    expect('beyond', 'ValueError', fn() => $raw->read(PHP_INT_MAX, PHP_INT_MAX));
    expect('before', 'ValueError', fn() => $raw->read(-1));
    expect('to read', 'EACCES', fn() => Segment::attach()->raw('plain')->write('x'));
}

function slots(): void
{
    $board = Segment::attach(anonymous: true)->slots('board');
    same('sizes', [4, 64], [$board->numSlots(), $board->slotSize()]);
    await('all are free', fn() => $board->numFree() === 4);
    same('the lowest', 0, $board->grab());
    expect('empty', 'ENODATA', fn() => $board->get(0));
    $board->put(0, "a\0b");
    $board->fgrab(2, stays: true);
    $slot = Segment::attach()->slots('board')->get(0);
    same('a slot', ["a\0b", 0, getmypid(), null, true, true, 1, 3], [$slot->data, $slot->slot,
        $slot->pid, $slot->worker, $slot->inUse, $slot->held, $slot->grabs, $slot->length]);
    same('those in use', [0, 2], array_keys($board->each(inUse: true)));
    same('all', [0, 1, 2, 3], array_keys($board->each()));
    same('one that stays', [true, null], [$board->each()[2]->stays, $board->each()[2]->data]);
    same('another\'s', 16, child(function (): int {
        $mine = Segment::attach(anonymous: true)->slots('board');
        try {
            $mine->put(0, 'mine');
        } catch (Exception $error) {
            return $mine->grab() === 1 ? $error->getCode() : 1;
        }
        return 2;
    }));
    await('free when that child ended', fn() => $board->numFree() === 2);
    $ticket = $board->offer(0);
    same('handed on', 7, child(function () use ($ticket): int {
        $mine = Segment::attach(anonymous: true)->slots('board');
        $mine->take(0, $ticket);
        $mine->put(0, 'handed on');
        return 7;
    }));
    expect('no more', 'ESTALE', fn() => $board->take(0, $ticket));
    same('its value', 'handed on', $board->get(0)->data);
    $board->release(2);
    expect('not in use', 'ENOENT', fn() => $board->release(2));
    expect('too long', 'EMSGSIZE', fn() => $board->put(1, str_repeat('x', 65)));
    expect('no such slot', 'ValueError', fn() => $board->get(4));
    expect('no such slot', 'ValueError', fn() => $board->fgrab(-1));
    expect('not shared', 'EPROTOTYPE', fn() => $board->peek(1));
    await('all are free', fn() => $board->numFree() === 4);
    array_map(fn() => $board->grab(), range(0, 3));
    expect('all in use', 'ENOSPC', fn() => $board->grab());
    array_map($board->release(...), array_keys($board->each(true)));
    $pool = Segment::attach(anonymous: true)->slots('pool');
    $pool->poke(1, 'in place', 8);
    same('in place', ["\0in plac", 8], [$pool->peek(1, 7, 8), strlen($pool->peek(1, 56))]);
    expect('beyond', 'ValueError', fn() => $pool->poke(1, 'in place', 57));
    expect('beyond', 'ValueError', fn() => $pool->peek(1, 0, 65));
    expect('to read', 'EACCES', fn() => Segment::attach()->slots('board')->grab());
}

function queues(): void
{
    $jobs = worker('php')->queue('jobs');
    $out = Segment::attach(anonymous: true)->queue('jobs');
    same('none', null, $jobs->receive(timeout: 0));
    same('none in a while', null, $jobs->receive(0, 10));
    $out->send("one\0", 3);
    $out->send(str_repeat('long', 400), type: 2, timeout: 0);
    same('a batch', 2, $out->sendBatch(['three', ''], 7));
    same('looked at', ["one\0", 1600, null],
        [$jobs->look(0)->data, $jobs->look(1)->length, $jobs->look(4)]);
    same('all wait', 4, $jobs->stat()['messages']);
    same('in its lane', 4, array_sum(array_column($jobs->stat()['lanes'], 'messages')));
    $message = $jobs->receive();
    same('a message', ["one\0", 3, 4, getmypid(), null, false, false], [$message->data, $message->type,
        $message->length, $message->pid, $message->worker, $message->redelivered, $message->truncated]);
    same('by type', 'three', $jobs->receive(7)->data);
    same('the lowest', 1600, strlen($jobs->receive(-7)->data));
    same('any but', null, $jobs->receive(7, 0, except: true));
    $out->send('cut off', 9);
    $cut = $jobs->receive(9, truncate: 3);
    same('cut off', ['cut', 7, true], [$cut->data, $cut->length, $cut->truncated]);
    same('peeked', '', $jobs->peek()->data);
    expect('another one', 'EBUSY', fn() => $jobs->receive());
    $jobs->abandon();
    same('once more', true, $jobs->peek()->redelivered);
    unset($jobs); // gives it back
    $jobs = worker('php')->queue('jobs');
    same('and once more', '', $jobs->peek()->data);
    $jobs->ack();
    expect('nothing', 'EINVAL', fn() => $jobs->ack());
    same('gone', null, $jobs->receive(timeout: 0));
    expect('too long', 'EMSGSIZE', fn() => $out->send(str_repeat('x', 3000)));
    expect('full', 'EAGAIN', function () use ($out): void {
        for (;;) {
            $out->send(str_repeat('x', 500), timeout: 0);
        }
    });
    expect('still', 'ETIMEDOUT', fn() => $out->send(str_repeat('x', 500), timeout: 10));
    while ($jobs->receive(timeout: 0) !== null);
    expect('not the owner', 'EACCES', fn() => $out->receive());
    expect('to read', 'EACCES', fn() => Segment::attach()->queue('jobs')->send('x'));
    expect('type', 'ValueError', fn() => $out->send('x', 0));
    expect('except', 'ValueError', fn() => $jobs->receive(0, 0, true));
    expect('no string', 'TypeError', fn() => $out->sendBatch(['x', 7]));
    same('nothing to send', 0, $out->sendBatch([]));
    expect('index', 'ValueError', fn() => $jobs->look(-1));
}

function made(): void
{
    $maker = worker('maker');
    $maker->create('mine', 100, format: 'mine/1', staleMs: 1000, transient: true);
    $maker->snapshot('mine')->publish('made');
    same('is there', 'made', Segment::attach()->snapshot('mine', 'mine/1')->read()->data);
    $info = $maker->inspect('mine');
    same('as it was to be', ['snapshot', 'maker', true, true, 100, 1000, 4], [$info['kind'],
        $info['owner'], $info['made'], $info['transient'], $info['size'], $info['stale_ms'], $info['count']]);
    $maker->create('seats', 32, 'slots', 5, shared: true, clear: 'restart');
    same('slots', [5, true], [$maker->slots('seats')->numSlots(), $maker->inspect('seats')['shared']]);
    expect('there', 'EEXIST', fn() => $maker->create('mine', 100, exclusive: true));
    expect('another\'s', 'EEXIST', fn() => $maker->create('text', 100));
    expect('too much', 'EDQUOT', fn() => $maker->create('more', 1 << 30));
    expect('to read', 'EACCES', fn() => Segment::attach()->create('more', 100));
    expect('a kind', 'ValueError', fn() => $maker->create('more', 100, 'queues'));
    expect('a word', 'ValueError', fn() => $maker->create('more', 100, notify: 'sometimes'));
    expect('a number', 'ValueError', fn() => $maker->create('more', -1));
    expect('a number', 'ValueError', fn() => $maker->create('more', 1, count: 1 << 32));
    $seats = $maker->slots('seats');
    $maker->drop('seats');
    $maker->drop('mine');
    expect('gone', 'EIDRM', fn() => $seats->grab());
    expect('gone', 'ENOENT', fn() => $maker->drop('mine'));
}

function lists(): void
{
    $segment = worker('php');
    foreach (['sections' => 'list', 'workers' => 'workers'] as $method => $verb) {
        $told = json_decode(shell_exec("shmtool $verb --json"), true)[$method];
        same($method, array_column($told, 'name'), array_keys($segment->$method()));
    }
    $sections = $segment->sections();
    same('a section', ['text', 'author', 'text/1', 'snapshot', 10000, 4], array_map(
        fn($field) => $sections['text'][$field], ['name', 'owner', 'format', 'kind', 'size', 'count']));
    same('of its own', ['plain', true], [$segment->raw('plain')->info()['name'], $sections['plain']['own']]);
    same('a worker', [getmypid(), true], [$segment->inspectWorker('php')['pid'], $segment->workers()['php']['alive']]);
    Segment::attach(anonymous: true);
    await('without a name', fn() => array_column($segment->attachments(), 'pid') === [getmypid()]);
    same('the segment', [intval(getenv('SHMC_KEY'), 0), true, count($sections)], [$segment->info()['key'],
        $segment->info()['manager_alive'], $segment->info()['sections']]);
    same('the manager', 'array', gettype(json_decode(Shm\manager('status'), true)));
    expect('none there', 'ENOTCONN', fn() => Shm\manager('status', 4711));
    expect('no request', 'EINVAL', fn() => Shm\manager('dance'));
    expect('no section', 'ENOENT', fn() => $segment->inspect('nothing'));
    same('the last error', true, str_contains($segment->lastError(), 'nothing'));
}
