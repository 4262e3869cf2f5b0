#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What publish and read take in each language that there is a binding for, next to what its users have
# without one; each says so when what came out isn't what went in.
#
#     bindings.sh BUILD-DIRECTORY [--smoke | --quick]
#
# --smoke: once, and without PHP's extension, whose build takes longer than all the rest.
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../interop/harness.sh"
here=$source_dir/tests/bench/bindings
bindings=$source_dir/libclient/bindings
rounds=10 operations=2000 flags=-O2
case ${2-} in
'') ;;
--quick) rounds=4 ;;
--smoke) rounds=1 operations=25 flags=-O0 ;;
*) echo "usage: bindings.sh BUILD-DIRECTORY [--smoke | --quick]" >&2; exit 2 ;;
esac

# The library as it was built: nothing needs to be installed.
export LD_LIBRARY_PATH=$build/libclient:$build/libclient/compat
export PKG_CONFIG_PATH=$build/libclient CFLAGS=$flags

quietly() {
    "$@" >"$work/build.log" 2>&1 || { tail -n 30 "$work/build.log"; return 1; }
}

# Lines "LANGUAGE SIZE CALL OURS THEIRS", of a program that prints the rest of them.
measure() { # LANGUAGE COMMAND...
    local language=$1
    shift
    timeout -k 1 240 "$@" >"$work/measured" || { cat "$work/measured"; echo "bench: $language failed"; exit 1; }
    sed "s/^/$language /" "$work/measured" >>"$work/lines"
}

absent() { # LANGUAGE WHY
    echo "left out: $1 ($2)"
}

in_node() {
    if ! node -e 'process.exitCode = parseInt(process.versions.node) < 18 ? 1 : 0' 2>/dev/null ||
        ! command -v npm >/dev/null; then
        absent node "no Node.js 18 with npm here"
        return
    fi
    mkdir "$work/node"
    cp "$here/bench.mjs" "$work/node"
    npm_config_fetch_retries=1 npm_config_fetch_timeout=20000 quietly npm --prefix "$work/node" install \
        --install-links --no-package-lock --no-audit --no-fund "$bindings/node"
    [ -e "$work/node/node_modules/shmclient/build/shmclient.node" ] || # an npm that runs no scripts
        quietly node "$work/node/node_modules/shmclient/install.js"
    measure node node "$work/node/bench.mjs" "$rounds" "$operations"
}

in_python() {
    [ -x /usr/bin/python3 ] || { absent python "no /usr/bin/python3 here"; return; }
    PYTHONPATH=$bindings/python PYTHONDONTWRITEBYTECODE=1 \
        measure python /usr/bin/python3 "$here/bench.py" "$rounds" "$operations"
}

in_php() {
    php -r 'exit(extension_loaded("shmop") ? 0 : 1);' 2>/dev/null ||
        { absent php "no PHP with shmop here"; return; }
    BENCH_KEY=$(printf '%x' $((SHMC_KEY ^ 0x55)))
    export BENCH_KEY
    if on_sysv; then # the others are none that shmop could attach
        for size in 64 10240 65536; do
            head -c "$size" /dev/zero | tr '\0' 2 | shmtool put "v$size"
        done
        measure php-class shmtool run --worker bench -- \
            php "$here/bench.php" class "$rounds" "$operations"
    fi
    [ "$flags" = -O2 ] || { absent php "the extension; tools/bench --bindings builds it"; return; }
    command -v phpize >/dev/null || { absent php "no phpize here"; return; }
    cp -r "$bindings/php/ext" "$work/php"
    (cd "$work/php" && quietly phpize && quietly ./configure && quietly make -j2)
    measure php php -d "extension=$work/php/modules/shmclient.so" \
        "$here/bench.php" extension "$rounds" "$operations"
}

in_ruby() {
    (cd "$work" && quietly ruby -r mkmf -e 'exit have_header("ruby.h")') >/dev/null ||
        { absent ruby "no Ruby with its headers here"; return; }
    cp -r "$bindings/ruby" "$work/ruby"
    mkdir "$work/ruby/made"
    (cd "$work/ruby/made" && quietly ruby ../ext/shmclient/extconf.rb "--with-cflags=$flags" &&
        quietly make -j2 && mkdir -p ../lib/shmclient && cp native.so ../lib/shmclient)
    measure ruby ruby -I "$work/ruby/lib" "$here/bench.rb" "$rounds" "$operations"
}

at_end() { # where PHP was ended in the midst of it
    [ -z "${BENCH_KEY-}" ] || ipcrm -M "0x$BENCH_KEY" 2>/dev/null || :
}

start_manager
for size in 64 10240 65536; do
    echo "INSERT INTO section(name, owner, size) VALUES('v$size', 'bench', $size);
        INSERT INTO section(name, owner, kind, size) VALUES('r$size', 'bench', 'raw', $size);"
done | edit_table
touch "$work/lines"
for language in node php python ruby; do
    "in_$language"
done

[ -s "$work/lines" ] || { echo "bench: there is none of the languages here"; exit 77; }
[ "$flags" = -O2 ] || exit 0 # the data were right; the times say nothing

# Medians of the rounds, and of the ratios within each.
sort -s -k1,1 -k2,2n -k3,3 "$work/lines" | perl -ane '
    sub median { my @a = sort { $a <=> $b } @_; ($a[$#a / 2] + $a[@a / 2]) / 2 }
    my $at = join ".", @F[0 .. 2];
    push @order, $at unless $ours{$at};
    push @{$ours{$at}}, $F[3]; push @{$theirs{$at}}, $F[4]; push @{$ratio{$at}}, $F[3] / $F[4];
    END {
        printf "%-30s %10s %10s %6s\n", "NANOSECONDS", "BINDING", "WITHOUT", "RATIO";
        printf "%-30s %10.0f %10.0f %6.2f\n",
            $_, median(@{$ours{$_}}), median(@{$theirs{$_}}), median(@{$ratio{$_}}) for @order;
        print "\n";
        for (@order) {
            printf "figure: bench.bindings.%s %.0f ns\n", $_, median @{$ours{$_}};
            printf "figure: bench.bindings.%s-without %.0f ns\n", $_, median @{$theirs{$_}};
            printf "figure: bench.bindings.%s-ratio %.2f ratio\n", $_, median @{$ratio{$_}};
        }
    }'
