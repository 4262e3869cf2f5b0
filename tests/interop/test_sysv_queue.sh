#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# PHP's msg_send and msg_receive and Perl's IPC::Msg exchange messages with sections of kind queue,
# both ways, by a bridge each way; bytes and types come out as they went in.
# Usage: test_sysv_queue.sh BUILD-DIRECTORY
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/harness.sh"
php -r 'exit(function_exists("msg_send") ? 0 : 1);' 2>/dev/null || { echo "no PHP with sysvmsg here"; exit 77; }
perl -MIPC::Msg -e 1 2>/dev/null || { echo "no Perl with IPC::Msg here"; exit 77; }
PATH=$build/tools/bridge:$PATH
in=$(printf '0x%08x' $((SHMC_KEY & 0x0fffffff | 0x10000000))) out=$(printf '0x%08x' $((SHMC_KEY & 0x0fffffff | 0x20000000)))

start_manager
edit_table <<'SQL'
INSERT INTO section(name, owner, kind, size, count) VALUES('jobs', 'driver', 'queue', 65536, 4),
    ('answers', 'answerer', 'queue', 65536, 4);
SQL

# shellcheck disable=SC2317 # called by the harness
at_end() { ipcrm -Q "$in" -Q "$out" 2>/dev/null || :; }
shm-bridge --create "sysv:$in" jobs 2>"$work/in.log" &
children+=($!)
shm-bridge --create answers "sysv:$out" 2>"$work/out.log" &
children+=($!)
there() { ipcs -q | grep -q "^$1"; }
ok "the bridges make the kernel's queues" await 30 there "$in"
ok "one each way" await 30 there "$out"

# A few bytes of every value, and what they are as hexadecimal digits.
bytes() { perl -e 'binmode STDOUT; print map { chr } 0 .. 255'; }
hex() { od -An -v -tx1 | tr -d ' \n'; }

# TYPE HEX each; the first argument is the language.
send_to_kernel() {
    case $1 in
    php) php -r '$q = msg_get_queue((int)hexdec($argv[1]), 0600);
        exit(msg_send($q, (int)$argv[2], hex2bin($argv[3]), false) ? 0 : 1);' -- "$in" "$2" "$3" ;;
    perl) perl -MIPC::Msg -e 'my $q = IPC::Msg->new(hex shift, 0) or die $!;
        $q->snd($ARGV[0], pack("H*", $ARGV[1])) or die $!' "$in" "$2" "$3" ;;
    esac
}
# Waits for a message of that type, or of any (0); prints type and bytes.
receive_from_kernel() {
    case $1 in
    php) timeout 60 php -r '$q = msg_get_queue((int)hexdec($argv[1]), 0600);
        msg_receive($q, (int)$argv[2], $type, 65536, $data, false) || exit(1);
        echo $type, " ", bin2hex($data), "\n";' -- "$out" "$2" ;;
    perl) timeout 60 perl -MIPC::Msg -e 'my $q = IPC::Msg->new(hex shift, 0) or die $!;
        my $type = $q->rcv(my $data, 65536, shift, 0) or die $!;
        print $type, " ", unpack("H*", $data), "\n"' "$out" "$2" ;;
    esac
}
receive_from_section() { # prints type and bytes of the next, which it waits for
    shmtool receive jobs --json --wait 60000 |
        jq -r '[.type, .encoding, .data] | @tsv' | while IFS=$'\t' read -r type encoding data; do
        case $encoding in
        base64) printf '%s ' "$type"; base64 -d <<<"$data" | hex; echo ;;
        *) printf '%s ' "$type"; printf %s "$data" | hex; echo ;;
        esac
    done
}
equal() { [ "$1" = "$2" ] || { printf '%s\n--- is not ---\n%s\n' "$1" "$2"; return 1; }; }

all=$(bytes | hex)
for language in php perl; do
    for type in 7 1 2147483647; do
        send_to_kernel "$language" "$type" "$all"
    done
    ok "$language sends, and the section has it: all bytes, in order, the types" equal \
        "$(for _ in 1 2 3; do receive_from_section; done)" "7 $all
1 $all
2147483647 $all"
    send_to_kernel "$language" 5 ""
    ok "a message of no bytes, too" equal "$(receive_from_section | tr -d ' ')" 5

    bytes >"$work/bytes"
    for type in 9 3; do
        shmtool send answers "$type" --input "$work/bytes" --wait 60000
    done
    ok "$language receives what was sent to a section, by its type" equal \
        "$(receive_from_kernel "$language" 3)" "3 $all"
    ok "and any" equal "$(receive_from_kernel "$language" 0)" "9 $all"
done

# There and back: PHP to Perl by way of two sections, and a program in between that knows only those.
send_to_kernel php 42 "$(printf 'a question' | hex)"
relay() { shmtool receive jobs --wait 60000 | shmtool send answers 43 --wait 60000; }
ok "a program between two sections passes it on" relay
ok "from PHP to Perl" equal "$(receive_from_kernel perl 0)" "43 $(printf 'a question' | hex)"
