#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The box's PID 1 (see box.sh) until it becomes systemd: goes into a cgroup and namespaces of its
# own, builds a root from the machine's own files (a copy-on-write view) and what a kernel would
# give, and leaves the machine's root behind.
#
#     box_init.sh         in a new PID namespace, with SHM_BOX and BOX_CGROUP
#     box_init.sh root    in all the others as well
set -euo pipefail
root=$SHM_BOX/root

if [ "${1-}" != root ]; then
    echo 0 >"$BOX_CGROUP/cgroup.procs"
    exec unshare --mount --propagation private --ipc --uts --net --cgroup "$0" root
fi
read -r pid _ </proc/self/stat # as the test sees it: /proc is still the test's

small() { # MODE DIRECTORY: a file system in memory
    mkdir -p "$2"
    mount -t tmpfs -o "mode=$1,nosuid" box "$2"
}

mount -t overlay -o "lowerdir=/,upperdir=$SHM_BOX/upper,workdir=$SHM_BOX/work" box "$root"
small 0755 "$root/run"
small 1777 "$root/tmp"
small 1777 "$root/var/tmp"
small 0755 "$root/var/log"
mount --bind "$SHM_BOX/units" "$root/etc/systemd/system" # none that the machine has enabled

# Nothing may reach the machine through /proc and /sys; what belongs to the IPC namespace may change.
mount -t proc -o nosuid,noexec,nodev proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro,nosuid,noexec,nodev "$root/proc/sys"
for name in shmmax shmall shmmni shm_rmid_forced; do
    mount --bind "$root/proc/sys/kernel/$name" "$root/proc/sys/kernel/$name"
    mount -o remount,bind,rw "$root/proc/sys/kernel/$name"
done
[ ! -e "$root/proc/sysrq-trigger" ] || mount --bind /dev/null "$root/proc/sysrq-trigger"
cat /proc/sys/kernel/random/uuid >"$SHM_BOX/boot_id" # each boot has its own
mount --bind "$SHM_BOX/boot_id" "$root/proc/sys/kernel/random/boot_id"
mount -t sysfs -o ro,nosuid,noexec,nodev sysfs "$root/sys"
mount -t cgroup2 -o nosuid,noexec,nodev cgroup2 "$root/sys/fs/cgroup"

small 0755 "$root/dev"
for name in null zero full random urandom tty; do
    : >"$root/dev/$name"
    mount --bind "/dev/$name" "$root/dev/$name"
done
mkdir "$root/dev/pts" "$root/dev/mqueue" "$root/dev/hugepages"
small 1777 "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
for number in 0 1 2; do
    name=(stdin stdout stderr)
    ln -s "fd/$number" "$root/dev/${name[number]}"
done

if [ ! -e "$SHM_BOX/upper/etc/machine-id" ]; then # the first boot of this box
    rm -f "$root/etc/machine-id" "$root/etc/hostname" "$root/etc/fstab"
    rm -rf --one-file-system "$root/var/lib/shm-manager"
    tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"
    echo box >"$root/etc/hostname"
    : >"$root/etc/fstab"
    mkdir -p "$root/etc/systemd/journald.conf.d" "$root/etc/systemd/system.conf.d"
    printf '[Journal]\nStorage=volatile\nRateLimitIntervalSec=0\n' \
        >"$root/etc/systemd/journald.conf.d/box.conf"
    # What is about a machine's devices and its terminals, or takes long.
    for unit in systemd-udevd.service systemd-udevd-control.socket systemd-udevd-kernel.socket \
        systemd-udev-trigger.service systemd-modules-load.service systemd-sysctl.service \
        systemd-random-seed.service systemd-binfmt.service proc-sys-fs-binfmt_misc.automount \
        kmod-static-nodes.service systemd-hwdb-update.service systemd-timesyncd.service \
        systemd-remount-fs.service systemd-pstore.service systemd-firstboot.service \
        dev-hugepages.mount sys-kernel-debug.mount sys-kernel-tracing.mount \
        sys-kernel-config.mount sys-fs-fuse-connections.mount getty.target getty-static.service \
        console-getty.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
        e2scrub_all.timer fstrim.timer man-db.timer logrotate.timer systemd-tmpfiles-clean.timer \
        systemd-journald-audit.socket systemd-networkd.service systemd-resolved.service \
        ldconfig.service systemd-update-utmp.service systemd-update-utmp-runlevel.service; do
        ln -sf /dev/null "$root/etc/systemd/system/$unit"
    done
fi

echo "$pid" >"$SHM_BOX/pid.new"
mv "$SHM_BOX/pid.new" "$SHM_BOX/pid"
cd "$root"
pivot_root . .
umount -l .
cd /
exec setpriv --bounding-set=-sys_module,-sys_rawio,-sys_time,-syslog --inh-caps=-all \
    env -i container=shm-box PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    LANG=C.UTF-8 /lib/systemd/systemd --system --unit=multi-user.target --show-status=no </dev/null
