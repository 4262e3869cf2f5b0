<?php
// SPDX-License-Identifier: Apache-2.0
//
// branches.php EXPORT KEPT LEAST: reads what `llvm-cov export` says of libclient/core, prints how
// many branches were taken, names each that never was, and fails below LEAST percent.
//
// A branch is one outcome of one condition.  A condition that is in several programs, or in a
// function that a test compiled in once more, is one condition.  What is not counted: MUTANT(...)
// alone, which is the constant 0 in this build (libclient/core/mutant.h).
//
// KEPT explains those that can't be taken: a line "FILE never-true|never-false CONDITION", then
// indented lines with the reason.  They count as not taken all the same.

const FOLDED = '/^!?MUTANT\(\w+\)$/';

[, $export, $kept, $least] = $argv + [1 => '', 2 => '', 3 => '95'];

/** The text of a condition, its white space as single blanks. */
function text_of(string $path, array $at): string
{
    static $files = [];
    $files[$path] ??= file($path, FILE_IGNORE_NEW_LINES) ?: exit("$path: it can't be read\n");
    [$line, $column, $end_line, $end_column] = $at;
    $lines = array_slice($files[$path], $line - 1, $end_line - $line + 1);
    $lines[count($lines) - 1] = substr(end($lines), 0, $end_column - 1);
    $lines[0] = substr($lines[0], $column - 1);
    return preg_replace('/\\\\?\s+/', ' ', trim(implode(' ', $lines)));
}

/** All conditions: "path:line:column:line:column" => times it was true, and false. */
function conditions(string $export): array
{
    $data = json_decode((string)file_get_contents($export), true)['data'][0]
        ?? exit("$export: not what llvm-cov exports\n");
    $all = [];
    foreach ($data['functions'] as $function) {
        foreach ($function['branches'] as $branch) {
            $path = $function['filenames'][$branch[6]];
            if (!str_contains($path, '/libclient/core/')) {
                continue;
            }
            $key = $path . ':' . implode(':', array_slice($branch, 0, 4));
            $all[$key] = [($all[$key][0] ?? 0) + $branch[4], ($all[$key][1] ?? 0) + $branch[5]];
        }
    }
    ksort($all, SORT_NATURAL);
    return $all;
}

/** "FILE never-true CONDITION" => the reason. */
function explanations(string $kept): array
{
    $reasons = [];
    $entry = null;
    foreach (file($kept, FILE_IGNORE_NEW_LINES | FILE_SKIP_EMPTY_LINES) as $line) {
        if ($line[0] === '#') {
            continue;
        }
        if ($line[0] !== ' ') {
            $entry = trim($line);
            $reasons[$entry] = '';
        } else {
            $reasons[$entry] = trim($reasons[$entry] . ' ' . trim($line));
        }
    }
    return $reasons;
}

$reasons = explanations($kept);
$taken = $explained = 0;
$open = [];
$files = [];
foreach (conditions($export) as $key => $counts) {
    [$path, $line, $column, $end_line, $end_column] = explode(':', $key);
    $text = text_of($path, [(int)$line, (int)$column, (int)$end_line, (int)$end_column]);
    if ($counts == [0, 0] && preg_match(FOLDED, $text)) {
        continue;
    }
    $file = basename($path);
    $files[$file] ??= [0, 0];
    foreach (['never-true', 'never-false'] as $i => $never) {
        $files[$file][1]++;
        if ($counts[$i] > 0) {
            $files[$file][0]++;
            $taken++;
            continue;
        }
        $reason = $reasons["$file $never $text"] ?? null;
        $explained += $reason !== null;
        $open[] = "libclient/core/$file:$line: $never: $text"
            . ($reason === null ? '' : "\n    $reason");
    }
}
$all = $taken + count($open);
if ($all === 0) {
    exit("no branch of libclient/core in $export\n");
}
foreach ($files as $file => [$covered, $branches]) {
    printf("%-20s %4d of %4d  %6.2f %%\n", $file, $covered, $branches, 100 * $covered / $branches);
}
echo "\nnever taken, ", count($open), " of $all, of which $explained are explained:\n";
echo implode("\n", $open), "\n\n";
$percent = floor(10000 * $taken / $all) / 100;
echo "figure: coverage.core.branches $percent %\n";
echo "figure: coverage.core.uncovered ", count($open), " branches\n";
if ($percent < (float)$least) {
    echo "branch coverage of libclient/core is $percent %, below $least %: add tests for what is "
        . "listed above\n";
    exit(1);
}
