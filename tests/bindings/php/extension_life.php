<?php
// SPDX-License-Identifier: Apache-2.0
//
// Cases of extension.php: wrong calls, forks, garbage, signals, a fast writer, and leaks.
declare(strict_types=1);

use Shm\{Exception, Raw, Section, Segment, Snapshot, Value};

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
    $reader = Segment::attach();
    expect('an empty one', 'EINVAL', fn() => Segment::attach(''));
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
    $key = Segment::attach('php', key: intval(getenv('SHMC_KEY'), 0)); // it was the environment's
    same('the same again', $epoch, $key->inspectWorker('php')['epoch']);
    unset($first, $second, $key);
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

/** For event loops: readable when there is something, and no more when it was taken. */
function streams(): void
{
    $author = worker('author')->snapshot('text');
    $text = Segment::attach()->snapshot('text');
    $jobs = worker('php')->queue('jobs');
    $out = Segment::attach(anonymous: true)->queue('jobs');
    while ($text->next(0) !== null || $jobs->receive(timeout: 0) !== null);
    $ready = function (int $seconds) use ($text, $jobs): array {
        static $streams;
        $streams ??= ['text' => $text->stream(), 'jobs' => $jobs->stream()];
        $read = $streams;
        $none = null;
        stream_select($read, $none, $none, $seconds);
        return array_keys($read);
    };
    await('nothing', fn() => $text->next(0) === null && $jobs->receive(timeout: 0) === null && $ready(0) === []);
    $author->publish('new');
    same('a value', ['text'], $ready(60));
    same('it', 'new', $text->next(0)->data);
    await('nothing more', fn() => $text->next(0) === null && $ready(0) === []);
    $out->send('new');
    same('a message', ['jobs'], $ready(60));
    same('it', 'new', $jobs->receive(timeout: 0)->data);
    await('nothing more', fn() => $jobs->receive(timeout: 0) === null && $ready(0) === []);
    expect('raw', 'EPROTOTYPE', fn() => worker('php')->raw('plain')->stream());
    repeat(function (): void {
        $text = Segment::attach()->snapshot('text');
        $stream = $text->stream();
        $text->close();
        fclose($stream);
        expect('closed', 'EBADF', fn() => $text->stream());
    }, 1000);
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

/** Ends the script in the midst of a call; what it attached is of use in what it does at its end. */
function exhausted(): void
{
    $text = worker('author')->snapshot('text');
    $text->publish(str_repeat('x', 10000));
    ini_set('memory_limit', '8M');
    register_shutdown_function(function () use ($text): void {
        ini_set('memory_limit', '64M');
        echo strlen($text->read()->data), " at the end\n";
    });
    for ($values = [];;) {
        $values[] = $text->read();
    }
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
        fn() => Snapshot::waitAny([Segment::attach()->snapshot('never')]),
        fn() => Segment::attach('nobody-at-all', timeout: -1)];
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

/** Values of tests/interop/worker.c, under that at full speed: their number, then its low byte. */
function whole(): void
{
    $numbers = Segment::attach()->snapshot('numbers');
    $check = function (string $data): bool {
        $number = unpack('P', $data)[1];
        return strlen($data) === 10240 && substr($data, 8) === str_repeat(chr($number & 0xff), 10232);
    };
    for ($last = $changes = 0; $changes < 500; $last = $value->version) {
        $value = $numbers->next(30000);
        same('a whole value', true, $check($value->data));
        same('in order', true, $value->version > $last);
        same('a whole one', true, $check($numbers->read()->data));
        for ($i = 0; $i < 20; $i++) {
            same('in place', true, $check($numbers->view()));
        }
        same('a part', 1, strlen(count_chars($numbers->view(8, 5000), 3)));
        $changes++;
    }
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
