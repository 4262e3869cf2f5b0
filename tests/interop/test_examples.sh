#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The libraries' man pages: every exported function has one and no other function has; each call's
# page is found under its name; each page's example compiles without a warning and runs.
. "$(dirname "$0")/harness.sh"
install_tree
man3=$(dirname "$(find "$root" -name shmc_attach.3)")

# What follows is of one library: its folder, map, pages and pkg-config name.
library() { # NAME FOLDER
    package=$1 folder=$source_dir/$2
    mapfile -t pages < <(ls "$folder"/shm*.3)
}
exported() { sed -nE 's/^ +(shm[a-z_]+);$/\1/p' "$folder/lib$package.map" | sort; }
named() { sed -nE '/^\.SH NAME/{n;s/ \\- .*//;s/, /\n/g;p}' "${pages[@]}" | sort; }
prototypes() { # what SYNOPSIS shows, whatever the markup between
    sed -n '/^\.SH SYNOPSIS/,/^\.SH DESCRIPTION/p' "${pages[@]}" | grep -oE 'shm(c|op)_[a-z_]+\(' | tr -d '(' | sort
}
linked() {
    local name
    for name in $(exported); do
        [ -s "$man3/$name.3" ] || { echo "no page is installed as $name(3)"; return 1; }
        case $(head -n 1 "$man3/$name.3") in
        .so*) sed -n 's/^\.so man3\///p' "$man3/$name.3" | grep -qxF -f <(cd "$man3" && ls) ;;
        esac || return 1
    done
}

# What a page's prototypes say is what the header says: declared twice, they must agree.
declarations() {
    sed -n '/^\.SH SYNOPSIS/,/^\.SH DESCRIPTION/p' "$1" | sed -nE '
        s/\\-/-/g
        /^\.B #include/{ s/^\.B //; p; }
        /^\.BI? .*shm(c|op)_|^\.BI +" /{ s/^\.BI? +//; s/"//g; p; }'
}
agrees() {
    declarations "$1" >"$work/prototypes.c"
    # shellcheck disable=SC2046 # flags are words
    gcc -std=gnu17 -Wall -Werror -fsyntax-only "$work/prototypes.c" $(pkg-config --cflags "$package")
}
documented() { # NAME FOLDER
    local page
    library "$@"
    ok "every function that lib$package exports stands in a page's NAME, once, and no other" \
        diff <(exported) <(named)
    ok "and in its SYNOPSIS" diff <(exported) <(prototypes)
    ok "the library exports just these" diff <(exported) \
        <(nm -D --defined-only "$libdir/lib$package.so" | awk '$2 == "T" { sub(/@.*/, "", $3); print $3 }' | sort)
    ok "each function's page is installed under its name" linked
    for page in "${pages[@]}"; do
        ok "the SYNOPSIS of $(basename "$page") agrees with the header" agrees "$page"
    done
}
documented shmcompat libclient/compat
documented shmclient libclient

example() {
    awk '/^\.SH EXAMPLE/ { here = 1 } /^\.EE/ { here = 0 } here && text { print } /^\.EX/ { text = here }' "$1" |
        sed -e 's/^\\&//' -e 's/\\-/-/g' -e 's/\\e/\\/g'
}
compile() {
    example "$1" >"$2.c"
    # shellcheck disable=SC2046 # flags are words
    gcc -std=gnu17 -Wall -Wextra -Werror -o "$2" "$2.c" $(pkg-config --cflags --libs "$package")
}
start_manager
edit_table <<<"INSERT INTO section(name, owner, size, format) VALUES('temps', 'temp-driver', 4096, 'temps/2');
    UPDATE worker SET may_create = 1048576;
    INSERT INTO section(name, owner, kind, size) VALUES('lamp', 'lamp-driver', 'raw', 64);
    INSERT INTO section(name, owner, kind, size, count) VALUES('board', 'web', 'slots', 64, 8),
        ('jobs', 'job-runner', 'queue', 65536, 8);"
run() {
    "$1" >"$1.out" || { cat "$1.out"; return 1; }
    [ -z "$2" ] || grep -q "$2" "$1.out"
}
# In this order, as some read what another publishes.
examples() {
    local n=0 name shows
    while read -r name shows; do
        ok "the example of $name(3) compiles" compile "$folder/$name.3" "$work/$name"
        ok "and runs" run "$work/$name" "$shows"
        n=$((n + 1))
    done
    ok "no page was left out" test "$n" -eq "${#pages[@]}"
}
examples <<'END'
shmc_attach this process is temp-driver now
shmc_open temps belongs to temp-driver, and takes 4096 bytes
shmc_publish
shmc_read ^the mean is 20.80$
shmc_next ^version 2: 20.6$
shmc_raw the lamp is on
shmc_slots ^slot 0 of 8 is ours; 17 requests$
shmc_create ^two sensors are left
shmc_queue ^job 1, of process [0-9]*: spin$
shmc_inspect ^temps: version 2 of temp-driver
shmc_manager "ok":true
shmc_private ^a child saw port 8080$
shmc_sysv_queue ^hello, of type 7; it held 1$
END
library shmcompat libclient/compat
examples <<'END'
shmop_open ^hello, in a block of 100 bytes$
shmc_alloc ^a child was here$
END
