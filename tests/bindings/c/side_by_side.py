#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The same random operations on two keys by two processes, with each kind of process in each role:
all must answer the same.

    side_by_side.py SEED STEPS C-PROGRAM PHP-PROGRAM...
"""
import random
import subprocess
import sys


def steps(seed, count, keys):
    """Lines, each with the role (0 or 1) that it is for."""
    dice = random.Random(seed)
    size = lambda: dice.choice([0, 1, 7, 100, 100, 4096, 5000, -5, 1 << 62])
    offset = lambda: dice.choice([0, 0, 1, 6, 7, 8, 99, 100, 101, 4095, 4096, 4999, 5000, 5001, -1])
    for _ in range(count):
        block = dice.randrange(4)
        verb = dice.choices(["open", "size", "read", "write", "delete", "close"],
                            [30, 5, 40, 40, 3, 5])[0]
        line = f"{verb} {block}"
        if verb == "open":
            flags = dice.choice(["a", "w", "c", "n", "c", "n", "x", "-", "ac"])
            mode = dice.choice(["0600", "0644", "0666"])
            line += f" {dice.choice(keys)} {flags} {mode} {size()}"
        elif verb == "read":
            line += f" {offset()} {dice.choice([0, 0, 1, 5, 100, 101, 5000, -1, 9223372036854775807])}"
        elif verb == "write":
            line += f" {dice.randbytes(dice.choice([0, 1, 3, 8, 120])).hex() or '-'} {offset()}"
        yield dice.randrange(2), line
    for key in keys:  # what is left goes
        yield 0, f"open 0 {key} w 0 0"
        yield 0, "delete 0"
        yield 0, "close 0"


def run(programs, script):
    actors = [subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
              for program in programs]
    answers = []
    for role, line in script:
        actors[role].stdin.write(line + "\n")
        actors[role].stdin.flush()
        answers.append(actors[role].stdout.readline().rstrip("\n"))
    for actor in actors:
        actor.stdin.close()
        actor.wait()
        actor.stdout.close()
    return answers


def main(seed, count, c, *php):
    first = random.Random(f"{seed} key").getrandbits(30)
    keys = [f"0x{first ^ i:x}" for i in (1, 2)]
    script = list(steps(seed, int(count), keys))
    known = run([php, php], script)
    if not {"Invalid argument", "Permission denied", "File exists", "0"} <= set(known):
        sys.exit(f"seed {seed}: PHP itself did not get far: {set(known)}")
    for programs in ([c], php), (php, [c]), ([c], [c]):
        found = run(programs, script)
        for (role, line), expected, got in zip(script, known, found):
            if expected != got:
                sys.exit(f"seed {seed}: {' '.join(programs[role])}: {line}: {got!r}, PHP: {expected!r}")


main(*sys.argv[1:])
