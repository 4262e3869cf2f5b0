#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Somebody was there first: key, lock, socket, leases and directories that another uid made beforehand
# are refused by manager and client, which say whose they are.
# Usage: test_systemd_squat.sh BUILD-DIRECTORY
# shellcheck source=tests/system/box.sh
. "$(dirname "$0")/box.sh"

box_up
box_install
box_users
inside useradd --system --user-group --groups shm-workers victim
mallory=$(inside id -u mallory) plant=$(inside id -u plant)
perl_as() { as "$1" perl -e "$2" "${@:3}"; }
shm='my ($key, $mode) = (hex shift, oct shift); shmget($key, 4096, 01000 | $mode) // die "$!"'
starts() { inside systemctl start shm-manager.service; }

# ---- the key, with the service
for mode in 600 666; do
    perl_as mallory "$shm" 53484d31 $mode
    id=$(inside ipcs -m | awk '$1 == "0x53484d31" { print $2 }')
    ok "a squatted key (mode $mode): no start" says 1 '' starts
    ok "the journal says whose it is" await 30 journal_says shm-manager \
        "shmid $id under key 0x53484d31 belongs to uid $mallory.*ipcrm -m $id"
    ok "a client is told, too" says 3 "shmid $id\) was made by uid $mallory, who is neither root nor" \
        as plant shmtool list
    inside journalctl --rotate --quiet
    inside journalctl --vacuum-time=1ms --quiet
    inside ipcrm -m "$id"
    ok "without it the service comes up by itself" await 30 active shm-manager
    inside shmtool destroy --yes >/dev/null
    inside systemctl stop shm-manager.socket shm-manager.service
done

# ---- its lock
sem='my ($key, $mode) = (hex shift, oct shift); my $id = semget($key, 1, 01000 | $mode) // die "$!";
     semop($id, pack("s3", 0, 1, 0)) or die "$!" if $mode == 0666'
for mode in 600 666; do
    inside ipcrm -S 0x53484d31 2>/dev/null || :
    perl_as mallory "$sem" 53484d31 $mode
    ok "a squatted lock (mode $mode): no start" says 1 '' starts
    ok "the journal says whose it is" await 30 journal_says shm-manager \
        "its lock \(semaphore [0-9]+\) was made by uid $mallory, .*ipcrm -s"
    inside journalctl --rotate --quiet
    inside journalctl --vacuum-time=1ms --quiet
    inside ipcrm -S 0x53484d31
    ok "without it the service comes up by itself" await 30 active shm-manager
    inside shmtool destroy --yes >/dev/null
    inside systemctl stop shm-manager.socket shm-manager.service
done

# ---- what lies in /run/shm-manager, whoever put it there
inside systemctl stop shm-manager.socket
inside rm -rf /run/shm-manager
inside install -d -o mallory /run/shm-manager
as mallory touch /run/shm-manager/53484d31.sock
inside systemd-tmpfiles --create
ok "a runtime directory from before is taken over" \
    [ "$(inside stat -c %U /run/shm-manager)" = shm-manager ]
ok "a squatted socket path is replaced" inside systemctl start shm-manager.socket
ok "by systemd's" [ "$(inside stat -c '%U %F' /run/shm-manager/53484d31.sock)" = "root socket" ]
as mallory mkdir /tmp/leases
inside mv /tmp/leases /run/shm-manager/53484d31.leases
ok "a squatted leases directory: no start" says 1 '' starts
ok "the journal says whose it is" await 30 journal_says shm-manager \
    "53484d31.leases: must be a directory of ours .* is uid $mallory's, mode 0755: remove it"
inside rm -r /run/shm-manager/53484d31.leases
ok "without it the service comes up by itself" await 30 active shm-manager
ok "nobody puts anything beside them now" \
    says 1 'Permission denied' as mallory touch /run/shm-manager/000000bb.sock
inside systemctl stop shm-manager.socket shm-manager.service

# ---- by hand, where anybody may make files
by_hand() { # RUNTIME-DIRECTORY
    as plant timeout -k 1 60 shm-manager --key 0xbb --state-dir /var/tmp/plant --runtime-dir "$1"
}
fake='use Socket; socket(my $s, AF_UNIX, SOCK_SEQPACKET, 0) or die; bind($s, pack_sockaddr_un(shift)) or
      die "$!"; listen($s, 8) or die; print "listening\n"; close STDOUT; sleep 600'
as mallory mkdir /tmp/hers
inside chmod 777 /tmp/hers
ok "a runtime directory of another's is refused" \
    says 1 "/tmp/hers: belongs to uid $mallory, not to root or this manager's user" by_hand /tmp/hers
as plant mkdir -m 777 /tmp/open
inside chmod 777 /tmp/open
ok "so is one that everybody may write" says 1 "/tmp/open: everybody may write there" by_hand /tmp/open
perl_as mallory "$fake" /tmp/000000bb.sock >"$work/fake" &
await 30 grep -q listening "$work/fake"
inside chmod 777 /tmp/000000bb.sock
ok "a socket path of another's is refused" \
    says 1 "/tmp/000000bb.sock: can't listen there: it belongs to uid $mallory" by_hand /tmp
told() { says "$1" "$2" as victim env SHMC_KEY=0xbb SHMC_RUNTIME_DIR="$3" shmtool "${@:4}"; }
ok "a client refuses whoever listens there" \
    told 1 "the socket /tmp/000000bb.sock is uid $mallory's, who is neither root nor the owner of /tmp" \
    /tmp reload
as plant mkdir /tmp/ours
as plant shm-manager --key 0xbb --state-dir /var/tmp/plant --runtime-dir /tmp/ours 2>"$work/by-hand" &
ok "in a directory of its own it serves" await 30 told 0 'alive|generation' /tmp/ours status
ok "whose segment is refused by who looks elsewhere" \
    told 3 "was made by uid $plant, who is neither root nor the owner of /tmp/hers" /tmp/hers list
