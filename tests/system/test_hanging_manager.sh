#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# A manager that hangs amid an attach, for longer than a connection has by itself: who gave more time
# waits for it, to the last part of the segment.
# Usage: test_hanging_manager.sh BUILD-DIRECTORY
# shellcheck source=tests/interop/harness.sh
SHM_TEST_BACKEND=memfd
. "$(dirname "$0")/../interop/harness.sh"
command -v strace >/dev/null || { echo 'skipped: no strace'; exit 77; }
strace -qq -o /dev/null true 2>/dev/null || { echo 'skipped: nothing can be traced'; exit 77; }

start_manager
edit_table <<<"INSERT INTO section(name, owner, size) VALUES('temps', 'driver', 64)"

# An attach hears: hello, header, bells; hello, grant, leased; hello, and the arena, which is late.
strace -p "$manager" -o "$work/trace" -e trace=sendmsg \
    -e inject=sendmsg:delay_enter=6500000:when=8 2>"$work/strace" &
tracer=$!
children+=("$tracer")
# Not by TracerPid alone: it runs on until strace has stopped it.
is_stopped() { grep -q "Process $manager attached" "$work/strace"; }
is_traced() { ! grep -q '^TracerPid:[^0-9]*0$' "/proc/$manager/status"; }
if ! { await 30 is_traced && await 30 is_stopped; }; then
    echo "skipped: a process of one's own can't be traced: $(cat "$work/strace")"
    exit 77
fi
ok 'who has time is the worker in the end' \
    says 0 '^it is$' shmtool run --worker driver --wait 120000 -- echo 'it is'
is_free() { ! is_traced; }
{ kill "$tracer" && wait "$tracer"; } 2>/dev/null || : # its trace is whole when it has ended
ok 'nobody looks on any more' await 30 is_free
ok 'and it was kept waiting' grep -q DELAYED "$work/trace"
ok 'others are served' says 0 'driver +free' shmtool workers driver
