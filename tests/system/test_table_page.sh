#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# shm-table(5) and shm-edits(7), taken at their word: each example is run, and comes out in the very
# words that stand there, from sqlite3, shmtool table, plan and reload, in the history and in the
# journal.  Each column is there with its limits and default, and an example; each sentence of the
# tables' constraints and triggers has one that brings it about.
# Usage: test_table_page.sh BUILD-DIRECTORY
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../interop/harness.sh"
pages=("$source_dir/daemon/shm-table.5" "$source_dir/daemon/shm-edits.7")
schema=$source_dir/daemon/table-schema.sql
db=$work/state/sections.db
good=$work/good.db other=$work/other.db

# Each example by its number: of[NUMBER.TAG], as table_page.pl has it.
declare -A of=()
shopt -s extglob
mkdir "$work/page"
perl "$source_dir/tests/system/table_page.pl" "$work/page" "${pages[@]}"
for file in "$work"/page/*; do
    of[${file##*/}]=$(<"$file")
done

# ---- how an example is told from another, and one text from another

same() { # WHAT IT SAID SHOULD, where … may be anything
    local pattern=$3
    [[ $3 != *…* ]] || pattern=$(sed 's/[][*?\\]/\\&/g; s/…/*/g' <<<"$3")
    # shellcheck disable=SC2053 # a pattern is meant
    [ "$2" = "$3" ] || [[ $3 == *…* && $2 == $pattern ]] ||
        { printf '%s: %s\nthe page: %s\n' "$1" "$2" "$3" >&2; return 1; }
}
has() { [ -n "${of[$1.$2]+yes}" ]; }
short() { echo "${of[$1.sql]%%$'\n'*}"; }
# What sqlite3 says of an error, without its own words: they differ between versions.
sentence() {
    sed -E '1s/^(Runtime e|E)rror( near line [0-9]+)?: (in [a-z]+, |stepping, )?//
        s/^CHECK constraint failed: //; s/ \([0-9]+\)$//' <<<"$1"
}
# COMMAND...: its exit status is 1; what it says becomes $said, without its name and without the line
# about what it wrote.
fails() {
    local code=0
    said=$("$@" 2>&1 </dev/null) || code=$?
    [ "$code" -eq 1 ] || { echo "exit status $code: $said" >&2; return 1; }
    said=${said#"shmtool $2: "}
    said=${said#"shmtool $2 ${3-}: "}
    said=${said%$'\n'"$db has "*}
    said=${said%$'\n'shmtool*"$db has "*}
}

# Past the constraints, and past the triggers, without which an owner gets no row, where one of those
# refused it.
past() { # DATABASE EXAMPLE
    local off=()
    ! has "$2" trigger || off=('.dbconfig enable_trigger off')
    sqlite3 "$1" "${off[@]}" 'PRAGMA ignore_check_constraints = ON' "${of[$2.sql]}" >/dev/null
}
restore() { sqlite3 "$db" ".restore $good"; }

# ---- the edit itself is refused

by_sqlite3() { # EXAMPLE
    local said
    if said=$(sqlite3 "$db" "${of[$1.sql]}" 2>&1); then
        echo "sqlite3 took it" >&2
        return 1
    fi
    [[ $said == *'CHECK constraint failed'* ]] || of[$1.trigger]=yes
    same sqlite3 "$(sentence "$said")" "${of[$1.edit]}"
}
by_load() { # EXAMPLE
    local said
    printf '%s\n' "$dump" "${of[$1.sql]}" >"$work/text"
    fails shmtool table load "$work/text" &&
        same 'shmtool table load' "${said#"$work/text, line "+([0-9])": "}" "${of[$1.edit]}"
}

# ---- the manager refuses it, or keeps it for later

# A copy with the edit, put in place of the table.  That goes by names, so that a rename is no rename.
by_import() { # EXAMPLE TAG
    local said
    case ${of[$1.sql]} in
    *'SET id ='*) return ;;
    *"SET name = 'lens' WHERE name = 'cam'")
        fails shmtool table set cam name=lens --reload &&
            same 'shmtool table set' "$said" "${of[$1.$2]}"
        ;;
    *)
        cp "$good" "$other"
        past "$other" "$1"
        fails shmtool table import "$other" --reload &&
            same 'shmtool table import' "${said#"$other: "}" "${of[$1.$2]}"
        ;;
    esac
}
by_plan() { # EXAMPLE TAG
    local said
    fails shmtool plan && same 'shmtool plan' "$said" "${of[$1.$2]}"
}
by_reload() { # EXAMPLE TAG
    local said
    fails shmtool reload && same 'shmtool reload' "$said" "${of[$1.$2]}"
}
in_history() { # EXAMPLE TAG
    same 'shmtool history' "$(shmtool history --json 1 | sed -nE 's/^ *"(outcome|error)": "(.*)",?$/\2/p')" \
        "$2"$'\n'"${of[$1.$2]}"
}
in_journal() { # EXAMPLE TAG
    local level='error: '
    [ "$2" = rejected ] || level=''
    same 'the journal' "$(grep -E 'table (rejected|pending)' "$work/manager.log" | tail -n 1)" \
        "shm-manager: ${level}table $2: ${of[$1.$2]}"
}
each_way() { # EXAMPLE TAG
    local way
    for way in by_plan by_reload in_history in_journal; do
        ok "${way#*_}: $(short "$1")" "$way" "$1" "$2"
    done
}

# ---- it is applied

# As reload prints it, but for its first and last line.
by_applying() { # EXAMPLE
    sqlite3 -bail "$db" <<<"${of[$1.sql]};" || return 1
    if ! shmtool reload >"$work/said" 2>&1; then
        cat "$work/said"
        grep -q 'locked into memory.*LimitMEMLOCK' "$work/said" # this host lets us not
        return
    fi
    same 'shmtool reload' "$(sed -E '/^ACTION /d; s/^generation [0-9]+ is in force(; )?//; /^$/d; s/ +/ /g' \
        "$work/said")" "${of[$1.applied]}"
}
moving() { # the sections that are
    shmtool status --json | sed -n 's/^ *"section": "\(.*\)",$/\1/p' | tr '\n' ' '
}
publishes() {
    local answer
    echo >&"${talk[1]}"
    read -r -t 60 answer <&"${talk[0]}" && [ "$answer" = published ]
}
settled() { publishes && [ "$(moving)" = 'pose ' ]; }
settle() {
    ! grep -q 'with the next publish' "$work/said" || await 60 settled
}
undone() {
    settle && restore && shmtool reload --force >"$work/said" && settle || return 1
    shmtool get temps >/dev/null 2>&1 || fill
}
fill() { printf '%01000d' 0 | shmtool put --wait 30000 temps; }

# ---- all of that with each example

try() { # EXAMPLE
    local name way
    name=$(short "$1")
    has "$1" edit || has "$1" applied || has "$1" rejected || has "$1" pending ||
        { echo "not ok nothing is said of: $name"; exit 1; }
    if has "$1" edit; then
        for way in sqlite3 load; do
            ok "$way: $name" "by_$way" "$1"
        done
    fi
    if has "$1" rejected; then
        ok "import: $name" by_import "$1" rejected
        restore
        past "$db" "$1"
        each_way "$1" rejected
        restore
    fi
    if has "$1" pending; then
        ok "import: $name" by_import "$1" pending
        restore
        sqlite3 "$db" 'UPDATE segment SET auto_apply = 1'
        shmtool reload >/dev/null
        past "$db" "$1"
        ok "by itself: $name" await 60 in_history "$1" pending
        each_way "$1" pending
        restore
        shmtool reload >/dev/null
    fi
    if has "$1" applied; then
        ok "applied: $name" by_applying "$1"
    fi
}

# ---- is all of it there?

plain() { sed -e 's/\\-/-/g' -e 's/\\e/\\/g' -e 's/\\&//g' "${pages[0]}"; }
# A column's entry, without its examples, on one line.
entry() { # TABLE COLUMN
    plain | awk -v table="${1^^}" -v column="$2" '
        /^\.SH/ { here = $2 == table; name = "" }
        /^\.TP$/ { getline; name = $2; next }
        here && name == column { if (/^\.RS/) name = ""; else print }' |
        sed -E 's/^\.[A-Z]+ //' | tr '\n' ' '
}
entries() { # TABLE: the columns that have one
    plain | awk -v table="${1^^}" '/^\.SH/ { here = $2 == table }
        /^\.TP$/ && here { getline; print $2 }'
}
exemplified() { # TABLE: the columns that have an example
    plain | awk -v table="${1^^}" '/^\.SH/ { here = $2 == table }
        /^\.TP$/ && here { getline; name = $2 }
        /^\.EX/ && here { if (name != last) print name; last = name }'
}
columns() { # TABLE: but the id of the one row
    sqlite3 "$db" "SELECT name FROM pragma_table_info('$1') WHERE '$1' || name <> 'segmentid'"
}
default_of() { # TABLE COLUMN: nothing where a row must say it
    sqlite3 "$db" "SELECT trim(coalesce(dflt_value, 'NULL'), '''') FROM pragma_table_info('$1')
        WHERE name = '$2' AND NOT pk AND (dflt_value IS NOT NULL OR NOT \"notnull\")"
}
limits_of() { # TABLE COLUMN: the numbers in the name of its constraint, and those that it is between
    {
        grep -oE "CONSTRAINT \"$1\.$2 [^\"]*" "$schema" || :
        sed -n "/^CREATE TABLE $1 /,/^)/p" "$schema" | grep -oE "[ (]$2 BETWEEN [0-9]+ AND [0-9]+" || :
    } | grep -oE '\b[0-9]+\b' | sort -u
}
described() { # TABLE COLUMN
    local text word
    text=$(entry "$1" "$2")
    for word in $(limits_of "$1" "$2") $(default_of "$1" "$2"); do
        [[ $text == *"$word"* ]] || { echo "$1.$2 on the page has no $word: $text" >&2; return 1; }
    done
    [ -z "$(default_of "$1" "$2")" ] || [[ $text == *[dD]efault* ]] ||
        { echo "$1.$2 on the page has no default: $text" >&2; return 1; }
}
each_described() { # TABLE
    local column
    for column in $(columns "$1"); do
        described "$1" "$column" || return 1
    done
}
sentences() { # of the constraints and triggers
    sed -nE 's/^ *CONSTRAINT "([^"]*)".*/\1/p' "$schema"
    grep -oE "RAISE\(ABORT, '([^']|'')*" "$schema" | sed "s/^RAISE(ABORT, '//; s/''/'/g"
}

start_manager
for table in segment worker section; do
    ok "each column of $table is on the page" diff <(columns $table) <(entries $table)
    ok 'with an example' diff <(columns $table) <(exemplified $table)
    ok 'its limits and its default' each_described $table
done
ok 'each sentence of the table has an example' \
    diff <(sentences | sort -u | grep -vxF -f <(cat "$work"/page/*.edit)) /dev/null
ok 'of which there are many' test "$(sentences | wc -l)" -ge 40

# ---- each example

cp "$db" "$good" # nobody has it open
cd "$work/state"
dump=''
for file in "$work"/page/*.shell; do
    ok "in a shell: $(head -n 1 "$file")" bash -e "$file"
    restore
    shmtool reload >/dev/null
done

for file in "$work"/page/*.begin; do
    example=${file##*/}
    example=${example%.begin}
    of[$example.sql]=${of[$example.begin]}
    if has "$example" applied; then # takes somebody who holds it
        coproc talk {
            exec shmtool run --worker grabber -- bash -c 'while read -r _; do
                printf picture | shmtool put --wait 30000 cam && echo published || echo not yet; done'
        }
        children+=("$talk_PID")
        ok 'a worker publishes' publishes
        try "$example"
    else
        sqlite3 "$db" "${of[$example.sql]}"
        shmtool reload >/dev/null
    fi
done
fill
ok 'one section is moving' test "$(moving)" = 'pose '
sqlite3 "$db" ".backup $good"
dump=$(shmtool table dump)

# What the table itself says is the same with both backends, and tried with one.
elsewhere() { # EXAMPLE
    if on_sysv; then
        has "$1" memfd
    else
        ! has "$1" memfd && { has "$1" edit || [[ ${of[$1.sql]}${of[$1.rejected]-} == *sysv* ]]; }
    fi
}

# A sanitizer's programs take long to start, and meet the same code again and again.
step=1
if [ -z "${SHM_SOAK-}" ] && grep -Eq '__[at]san_init' "$build/daemon/shm-manager"; then
    step=5
fi

n=0 seen=0
for file in "$work"/page/*.sql; do
    example=${file##*/}
    example=${example%.sql}
    if elsewhere "$example" || [ $((seen++ % step)) -ne 0 ]; then
        continue
    fi
    try "$example"
    ! has "$example" applied || ok 'and undone' undone
    n=$((n + 1))
done
ok 'there were many' test "$n" -ge $(($(on_sysv && echo 80 || echo 40) / step))
ok 'no value was lost' test "$(shmtool get cam)" = picture
echo "figure: table_page.examples $n count"
