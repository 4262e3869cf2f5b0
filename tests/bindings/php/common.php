<?php
// SPDX-License-Identifier: Apache-2.0
//
// What the tests of both bindings have in common.
declare(strict_types=1);

function told(callable $do): string
{
    try {
        $found = $do();
        return is_string($found) ? $found : json_encode($found);
    } catch (RuntimeException $error) {
        if (constant($error::class . "::$error->name") !== $error->getCode()) {
            return "the errno is {$error->getCode()}";
        }
        return "$error->name {$error->getMessage()}";
    } catch (Error $error) {
        return $error::class . ' ' . $error->getMessage();
    }
}

/** What $do gives, or how it fails, has this text in it. */
function expect(string $what, string $expected, callable $do): void
{
    $found = told($do);
    if (!str_contains($found, $expected)) {
        fwrite(STDERR, "$what: $found, and not $expected\n");
        exit(1);
    }
}

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

/** Looks again and again, for at most a minute: it is so, or comes to be so. */
function await(string $what, callable $true): void
{
    for ($end = time() + 60; !$true(); usleep(5000)) {
        if (time() > $end) {
            fwrite(STDERR, "$what: it never was\n");
            exit(1);
        }
    }
}

function resident(): int
{
    return (int)explode(' ', file_get_contents('/proc/self/statm'))[1] * 4096;
}

/** @return int[] descriptors and threads of this process */
function holdings(): array
{
    return [count(scandir('/proc/self/fd')), count(scandir('/proc/self/task'))];
}

/** Does so many times what must not make this process grow.  The bound is below what it takes to
 *  leak malloc's smallest piece each time, in 5000 times, and far above what comes and goes. */
function repeat(callable $operation, int $times): void
{
    for ($i = 0; $i < $times / 10; $i++) {
        $operation();
    }
    [$before, $held] = [resident(), holdings()];
    for ($i = 0; $i < $times; $i++) {
        $operation();
    }
    $grown = resident() - $before;
    if ($grown > 150000 || holdings() !== $held) {
        fwrite(STDERR, "it grew by $grown bytes, and holds " . json_encode(holdings()) . ', not '
            . json_encode($held) . "\n");
        exit(1);
    }
}
