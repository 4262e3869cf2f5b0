<?php
// SPDX-License-Identifier: Apache-2.0
//
// The extension `shmclient`, case by case, against a manager whose table test_extension.sh wrote:
//
//     extension.php CASE ...      each of them in this process, one behind the other
//     extension.php talk WORKER   answers lines such as "read text" until there are no more
declare(strict_types=1);

use Shm\{Exception, Message, Queue, Raw, Section, Segment, Slots, Snapshot, Value};

require __DIR__ . '/common.php';

function same(string $what, mixed $expected, mixed $found): void
{
    if ($found !== $expected) {
        fwrite(STDERR, "$what: " . json_encode($found) . ', and not ' . json_encode($expected) . "\n");
        exit(1);
    }
}

/** What a child gives that runs $do, in its exit status. */
function child(callable $do): int
{
    $pid = pcntl_fork();
    if ($pid === 0) {
        exit($do());
    }
    pcntl_waitpid($pid, $status);
    return pcntl_wifexited($status) ? pcntl_wexitstatus($status) : -pcntl_wtermsig($status);
}

/** As a worker, which the process of the case before may have been until now. */
function worker(string $name): Segment
{
    return Segment::attach($name, timeout: 30000);
}

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

/** Each call with what it isn't for; what matters most is that this process goes on. */
function misuse(): void
{
    $segment = worker('php');
    foreach (['hello' => TypeError::class, 0 => ValueError::class, -1 => ValueError::class,
        1 << 32 => ValueError::class] as $key => $error) {
        expect("key $key", $error, fn() => Segment::attach(key: $key));
    }
    expect('timeout', 'ValueError', fn() => Segment::attach(timeout: -2));
    expect('timeout', 'ValueError', fn() => $segment->snapshot('text')->next(1 << 40));
    expect('NUL', 'ValueError', fn() => Segment::attach("php\0"));
    expect('NUL', 'ValueError', fn() => $segment->open("text\0"));
    expect('both', 'ValueError', fn() => Segment::attach('php', true));
    expect('no worker', 'ENOENT', fn() => Segment::attach('nobody-at-all'));
    expect('a long one', 'EINVAL', fn() => Segment::attach(str_repeat('x', 100)));
    expect('no segment', 'ENOENT', fn() => Segment::attach(key: 4711));
    expect('no section', 'ENOENT the segment has no section', fn() => $segment->open('nothing'));
    expect('another kind', 'EPROTOTYPE', fn() => $segment->queue('text'));
    expect('another format', 'EPROTOTYPE', fn() => $segment->snapshot('text', 'text/2'));
    expect('larger', 'EPROTOTYPE', fn() => $segment->snapshot('text', minSize: 1 << 20));
    expect('negative', 'ValueError', fn() => $segment->snapshot('text', minSize: -1));
    expect('types', 'TypeError', fn() => $segment->snapshot('text')->publish([]));
    expect('arguments', 'ArgumentCountError', fn() => $segment->slots('board')->put());
    expect('spin', 'ValueError', fn() => $segment->snapshot('text')->setSpin(-1));
    expect('any of none', 'ValueError', fn() => Snapshot::waitAny([]));
    expect('any of what', 'TypeError', fn() => Snapshot::waitAny([$segment->raw('plain')]));
    foreach ([Segment::class, Section::class, Raw::class, Snapshot::class, Value::class] as $class) {
        expect("new $class", 'Error', fn() => new $class());
        expect("$class of nothing", 'Exception', function () use ($class): void {
            if (in_array($class, [Section::class, Value::class], true)) {
                throw new Error('Exception'); // can be made no object of, or any
            }
            try {
                (new ReflectionClass($class))->newInstanceWithoutConstructor();
            } catch (ReflectionException $error) {
                throw new Error('Exception ' . $error->getMessage());
            }
        });
    }
    $own = new class () extends Section {
        public function __construct()
        {
        }
    };
    expect('of nothing', 'EBADF', fn() => $own->info());
    expect('of nothing', '', fn() => $own->name());
    $own->close();
    foreach ([$segment, $segment->raw('plain')] as $object) {
        expect('clone', 'Error', fn() => clone $object);
        expect('serialize', 'not allowed', function () use ($object): void {
            try {
                serialize($object);
            } catch (\Exception $error) {
                throw new Error($error->getMessage());
            }
        });
        expect('a property', 'Error', function () use ($object): void {
            $object->more = 1;
        });
    }
    expect('read-only', 'Error', function () use ($segment): void {
        $segment->raw('plain')->write('x');
        worker('author')->snapshot('text')->publish('x');
        Segment::attach()->snapshot('text')->read()->data = 'y';
    });
    $raw = $segment->raw('plain');
    $raw->close();
    $raw->close();
    expect('closed', "EBADF section 'plain': it is closed", fn() => $raw->read());
    same('its name', 'plain', $raw->name());
}

/** An attachment is the process's. */
function persistence(): void
{
    $first = worker('php');
    $second = worker('php');
    $second->raw('plain')->write('second');
    same('the same', $first->inspectWorker('php')['epoch'], $second->inspectWorker('php')['epoch']);
    $epoch = $first->inspectWorker('php')['epoch'];
    unset($first, $second);
    same('it stays', [getmypid(), $epoch], (function (): array {
        $worker = Segment::attach()->inspectWorker('php');
        return [$worker['pid'], $worker['epoch']];
    })());
    same('nobody else', 16, child(function (): int {
        try {
            Segment::attach('php');
        } catch (Exception $error) {
            return $error->holder === posix_getppid() && $error->name === 'EBUSY' ? $error->getCode() : 1;
        }
        return 2;
    }));
    $third = worker('php');
    $raw = $third->raw('plain');
    Segment::attach('php')->detach();
    expect('detached', 'EBADF', fn() => $third->info());
    expect('detached', 'EBADF', fn() => $raw->read());
    $third->detach();
    $raw->close();
    same('given up', 7, child(function (): int {
        worker('php')->raw('plain')->write('child');
        return 7;
    }));
    same('and taken again', 'child', worker('php')->raw('plain')->read(0, 5));
}

function forks(): void
{
    $segment = worker('php');
    $raw = $segment->raw('plain');
    $text = Segment::attach()->snapshot('text');
    $jobs = $segment->queue('jobs');
    Segment::attach(anonymous: true)->queue('jobs')->send('for the parent');
    $jobs->peek();
    same('a child', 7, child(function () use ($segment, $raw, $text, $jobs): int {
        foreach ([fn() => $raw->write('x'), fn() => $text->read(), fn() => $segment->info(),
            fn() => $jobs->ack(), fn() => $text->next(0)] as $do) {
            if (!str_starts_with(told($do), 'ECHILD')) {
                return 1;
            }
        }
        $own = Segment::attach();
        if ($own->snapshot('text')->read()->version === 0 || told(fn() => $raw->read())[1] !== 'C') {
            return 2;
        }
        unset($segment, $raw, $text);
        $jobs->close();
        gc_collect_cycles();
        $raw = worker('author'); // the parent isn't it in this case
        $raw->snapshot('text')->publish('of the child');
        return $own->snapshot('text')->read()->data === 'of the child' ? 7 : 3;
    }));
    same('a grandchild', 7, child(fn(): int => child(
        fn(): int => Segment::attach()->snapshot('text')->read()->data === 'of the child' ? 7 : 1)));
    $raw->write('still');
    same('the parent goes on', 'for the parent', (function () use ($jobs): string {
        $jobs->ack();
        return 'for the parent';
    })());
    same('and has its lease', getmypid(), $segment->inspectWorker('php')['pid']);
}

/** Objects that go at any moment, in any order, also in cycles and with exceptions on their way. */
function garbage(): void
{
    worker('author')->snapshot('text')->publish('a value');
    for ($i = 0; $i < 2000; $i++) {
        $bag = new stdClass();
        $bag->section = Segment::attach()->snapshot('text');
        $bag->value = $bag->section->read();
        $bag->self = $bag;
        $bag->call = fn() => $bag->section->next(0);
        unset($bag);
    }
    gc_collect_cycles();
    $text = Segment::attach()->snapshot('text');
    $segment = worker('maker');
    $section = (function () use ($segment): Snapshot {
        $segment->create('passing', 64, transient: true);
        return $segment->snapshot('passing');
    })();
    $segment->detach();
    unset($segment);
    expect('of what was detached', 'EBADF', fn() => $section->publish('x'));
    try {
        (function (Snapshot $text): never {
            $other = Segment::attach()->snapshot('text');
            throw new LogicException($other->read()->data);
        })($text);
    } catch (LogicException $error) {
        same('in an exception', 'a value', $error->getMessage());
    }
    ini_set('memory_limit', '32M');
    $values = [];
    for ($i = 0; $i < 1000; $i++) {
        $values[] = $text->read();
    }
    same('many', 1000, count($values));
}

/** Waits under signals that come again and again, so that none comes too early. */
function interrupted(callable $wait): mixed
{
    $child = pcntl_fork();
    while ($child === 0) {
        usleep(20000);
        posix_kill(posix_getppid(), SIGALRM);
    }
    try {
        return $wait();
    } finally {
        posix_kill($child, SIGKILL);
        pcntl_waitpid($child, $status);
    }
}

/** A script's signals come in while it waits. */
function signals(): void
{
    pcntl_async_signals(true);
    $came = 0;
    pcntl_signal(SIGALRM, function () use (&$came): void {
        $came++;
    });
    $waits = [fn() => Segment::attach()->snapshot('never')->next(),
        fn() => worker('php')->queue('jobs')->receive(),
        fn() => worker('php')->queue('jobs')->peek(),
        fn() => Snapshot::waitAny([Segment::attach()->snapshot('never')])];
    foreach ($waits as $wait) {
        $came = 0;
        expect('a signal', 'EINTR a signal ended the wait', fn() => interrupted($wait));
        same('its handler ran', true, $came > 0);
    }
    $never = Segment::attach()->snapshot('never');
    pcntl_signal(SIGALRM, function () use ($never): void {
        $never->close();
    });
    expect('what it closes', 'E', fn() => interrupted(fn() => $never->next()));
    expect('is closed', 'EBADF', fn() => $never->next());
    $thrown = false;
    pcntl_signal(SIGALRM, function () use (&$thrown): void {
        if (!$thrown) {
            $thrown = true;
            throw new Error('of the handler');
        }
    });
    expect('what it throws', 'of the handler',
        fn() => interrupted(fn() => worker('php')->queue('jobs')->receive()));
}

function leaks(): void
{
    $author = worker('author');
    $text = $author->snapshot('text');
    $reader = Segment::attach();
    $seen = $reader->snapshot('text');
    $raw = worker('php')->raw('plain');
    $board = Segment::attach(anonymous: true)->slots('board');
    $out = Segment::attach(anonymous: true)->queue('jobs');
    $jobs = worker('php')->queue('jobs');
    $n = 0;
    $pieces = [
        fn() => $text->publish("value $n"),
        fn() => $seen->read(),
        fn() => $seen->next(0),
        fn() => $seen->view(0, 5),
        fn() => $raw->write('bytes', 100),
        fn() => $raw->read(90, 20),
        fn() => $board->put(0, 'slot'),
        fn() => $board->get(0),
        fn() => $board->each(true),
        fn() => $board->release(0),
        fn() => $out->send('message'),
        fn() => $jobs->peek(),
        fn() => $jobs->ack(),
        fn() => $out->send(str_repeat('x', 400)),
        fn() => $jobs->receive(),
        fn() => told(fn() => $reader->open('nothing')),
        fn() => told(fn() => $seen->publish('x')),
        fn() => told(fn() => Segment::attach('nobody-at-all')),
        fn() => $reader->snapshot('text')->info(),
        fn() => worker('php')->inspect('plain'),
    ];
    repeat(function () use ($pieces, &$n): void {
        $n++;
        foreach ($pieces as $piece) {
            $piece();
        }
    }, 5000);
    echo "figure: bindings.php.leak_operations 100000 operations\n";
    repeat(fn() => worker('maker')->detach(), 20);
}

/** A process that another one asks. */
function talk(string $worker): void
{
    $segment = null;
    while (($line = fgets(STDIN)) !== false) {
        [$verb, $name, $more] = explode(' ', trim($line)) + [1 => '', 2 => ''];
        echo explode(' ', told(function () use (&$segment, $worker, $verb, $name, $more) {
            $segment = $verb === 'attach' ? worker($worker) : $segment;
            return match ($verb) {
                'attach' => 'attached',
                'other' => Segment::attach($name)->inspectWorker($name)['name'],
                'read' => $segment->snapshot($name)->read()->data,
                'publish' => $segment->snapshot($name)->publish($more) ?? 'published',
            };
        }))[0], "\n";
    }
}

if ($argv[1] === 'talk') {
    talk($argv[2]);
} else {
    array_map(fn($case) => $case(), array_slice($argv, 1));
}
