# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# bash completion for shmtool.  Verbs and options come from its own --help, names of sections and
# workers from the segment, so that nothing here has to follow changes there.

_shmtool_verbs() { # [table]: the words that can stand there
    shmtool --help 2>/dev/null | awk -v first="${1-}" '
        /^  [a-z]/ && first == "" { if (!seen[$1]++) print $1 }
        /^  table / && first == "table" { print $2 }'
}

_shmtool_options() {
    shmtool "$@" --help 2>/dev/null | grep -oE -- '--[a-z][a-z-]*' | sort -u
}

_shmtool_names() { # list or workers, and the options that name the segment
    shmtool "$@" 2>/dev/null | awk 'NR > 1 && $1 != "-" { print $1 }'
}

_shmtool_generations() { # the options that name the segment
    shmtool history 1000 "$@" 2>/dev/null | awk '{
        for (i = 1; i < NF; i++)
            if ($i == "applied") { if (!seen[$(i + 1)]++) print $(i + 1); next } }'
}

_shmtool() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    local word verb='' second='' where=() words='' i
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        case $word in
        -k | --key | -R | --runtime-dir | -S | --state-dir | -T | --table)
            i=$((i + 1))
            [ "$i" -lt "$COMP_CWORD" ] && where+=("$word" "${COMP_WORDS[i]}")
            ;;
        -*) ;;
        *)
            if [ -z "$verb" ]; then
                verb=$word
            elif [ "$verb" = table ] && [ -z "$second" ]; then
                second=$word
            fi
            ;;
        esac
    done
    case $previous in
    -k | --key | -n | --count | -t | --timeout | -e | --every | -q | --type) return ;;
    -R | --runtime-dir | -S | --state-dir)
        mapfile -t COMPREPLY < <(compgen -d -- "$current")
        return
        ;;
    -T | --table | -o | --output | -i | --input)
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        return
        ;;
    -a | --warning | -c | --critical | -g | --ignore)
        words='manager table edited stale dead empty'
        ;;
    -W | --worker) words=$(_shmtool_names workers "${where[@]}") ;;
    -G | --generation) words=$(_shmtool_generations "${where[@]}") ;;
    *)
        [ "${current:0:1}" != - ] ||
            words=$(_shmtool_options ${verb:+"$verb"} ${second:+"$second"})
        ;;
    esac
    if [ -z "$words" ]; then
        case $verb${second:+ $second} in
        '') words=$(_shmtool_verbs) ;;
        table) words=$(_shmtool_verbs table) ;;
        help) words=$(_shmtool_verbs) ;;
        list | watch | check | checkpoint | drop | get | put | send | receive | peek | stat | slots | 'table show' | 'table set' | 'table rm')
            words=$(_shmtool_names list "${where[@]}")
            ;;
        diff | rollback) words=$(_shmtool_generations "${where[@]}") ;;
        workers | revoke) words=$(_shmtool_names workers "${where[@]}") ;;
        'table load' | 'table import') mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
        'table include') mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
        run) mapfile -t COMPREPLY < <(compgen -c -- "$current") ;;
        esac
    fi
    [ -z "$words" ] || mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}
complete -F _shmtool shmtool
