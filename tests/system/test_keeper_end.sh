#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# A manager that comes while a keeper which holds nothing is about to end: connections are still made
# then, and nobody answers.
# Usage: test_keeper_end.sh BUILD-DIRECTORY
export SHM_TEST_BACKEND=memfd
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../interop/harness.sh"

keeper=$SHMC_RUNTIME_DIR/${SHMC_KEY#0x}.keeper
perl -MSocket -MIO::Handle -e '
    socket(my $listener, PF_UNIX, SOCK_SEQPACKET, 0) or die "$!";
    bind($listener, sockaddr_un($ARGV[0])) && listen($listener, 8) or die "$!";
    print "listening\n";
    STDOUT->flush;
    accept(my $peer, $listener) or die "$!";
    unlink $ARGV[0];' "$keeper" >"$work/ending" &
ending=$!
children=("$ending")
await 30 grep -q listening "$work/ending"
start_manager
ok 'the one that ended was met' wait "$ending"
children=()
ok 'and another was started in its place' says 0 'protection +kernel \(memfd\)' shmtool status
ok 'as the journal says nothing of' test "$(grep -c keeper "$work/manager.log")" -eq 0

# The same with real ones.
for _ in {1..10}; do
    shmtool destroy --yes >/dev/null
    { wait "$manager"; } 2>/dev/null || :
    start_manager
done
ok 'a start behind each destroy finds a keeper, or starts one' says 0 ' memfd' shmtool status
