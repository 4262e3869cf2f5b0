# shellcheck shell=bash disable=SC2034,SC2154 # the sourcing scripts use the variables
# SPDX-License-Identifier: Apache-2.0
#
# For the scripts beside it, behind the harness: edits to the table, and programs that obey.
db=$work/state/sections.db
declare -A to=() from=() pid=()

# A program that obeys (driven.c), by a name of its own here.
drive() { # ID [WORKER, or -]
    local in out
    rm -f "$work/$1.in" "$work/$1.out"
    mkfifo "$work/$1.in" "$work/$1.out"
    "$build/tests/system/driven" ${2:+"$2"} <"$work/$1.in" >"$work/$1.out" &
    pid[$1]=$!
    children+=("$!")
    exec {in}>"$work/$1.in" {out}<"$work/$1.out"
    to[$1]=$in from[$1]=$out
    hears "$1" '^0 '
}
hears() { # ID REGEX: the next answer
    reply=''
    read -r -t 30 reply <&"${from[$1]}" || :
    grep -Eq -e "$2" <<<"$reply " && return
    echo "no /$2/ from $1: $reply" >&2
    return 1
}
told() { # ID LINE
    echo "$2" >&"${to[$1]}"
}
does() { # ID REGEX LINE: it is told, and answers
    told "$1" "$3"
    hears "$1" "$2"
}
ends() { # ID [SIGNAL]
    { kill "-${2-TERM}" "${pid[$1]}" && wait "${pid[$1]}"; } 2>/dev/null || :
}
sql() {
    sqlite3 "$db" "$1"
}
edit() { # SQL: applied
    sql "$1"
    says 0 'is in force' shmtool reload
}
refuses() { # REGEX SQL UNDO: by plan and by reload; nothing is changed
    local before
    before=$(generation)
    sql "$2"
    says 1 "$1" shmtool plan && says 1 "$1" shmtool reload || return 1
    sql "$3"
    says 0 'nothing had changed' shmtool reload || return 1
    [ "$(generation)" = "$before" ]
}
generation() {
    shmtool status --json | tr -d ' \n' | sed 's/.*"generation":\([0-9]*\).*/\1/'
}
moving() { # REGEX on the list of what is moving
    shmtool status --json | tr -d ' \n' | grep -Eq "\"moving\":\\[$1\\]"
}
value_of() { # SECTION VERSION TEXT
    [ "$(shmtool list --json "$1" | tr -d ' \n' | sed 's/.*"version":\([0-9]*\).*/\1/')" = "$2" ] &&
        [ "$(shmtool get "$1")" = "$3" ]
}
column() { # SECTION FIELD
    shmtool list --json "$1" | tr -d ' \n' | sed "s/.*\"$2\":\\([0-9]*\\).*/\\1/"
}
grown() { # SECTION SIZE
    [ "$(column "$1" size)" = "$2" ]
}
