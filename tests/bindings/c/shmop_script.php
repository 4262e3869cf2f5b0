<?php
// SPDX-License-Identifier: Apache-2.0
//
// PHP's shmop by lines: what shmop_script.c does with ours, and answers in its words.
declare(strict_types=1);

const WORDS = [ValueError::class => 'Invalid argument', Error::class => 'Permission denied'];

$warning = '';
set_error_handler(function (int $level, string $text) use (&$warning): bool {
    $warning = str_contains($text, 'are you the owner') ? 'Operation not permitted'
        : (preg_match('/"([^"]+)"$/', $text, $found) ? $found[1] : $text);
    return true;
}, E_WARNING);

function answer(array &$blocks, string $verb, int $i, array $words): string|int|false
{
    $block = $blocks[$i] ?? null;
    if ($verb === 'open') {
        unset($blocks[$i], $block); // which detaches
        [$key, $flags, $mode, $size] = $words;
        $opened = shmop_open(intval($key, 0), $flags, intval($mode, 0), intval($size, 0));
        if ($opened === false) {
            return false;
        }
        $blocks[$i] = $opened;
        return shmop_size($opened);
    }
    if ($verb === 'close') {
        unset($blocks[$i]);
        return 'ok';
    }
    if ($block === null) {
        return 'Bad file descriptor';
    }
    return match ($verb) {
        'size' => shmop_size($block),
        'read' => bin2hex(shmop_read($block, intval($words[0], 0), intval($words[1], 0))),
        'write' => shmop_write($block, hex2bin($words[0]), intval($words[1], 0)),
        'delete' => shmop_delete($block) ? 0 : false,
    };
}

$blocks = [];
while (($line = fgets(STDIN)) !== false) {
    $words = array_map(fn ($word) => $word === '-' ? '' : $word, explode(' ', rtrim($line)));
    try {
        $answer = answer($blocks, $words[0], (int)$words[1], array_slice($words, 2));
    } catch (Error $error) {
        $answer = WORDS[get_class($error)] ?? (string)$error;
    }
    echo $answer === false ? $warning : $answer, "\n";
}
