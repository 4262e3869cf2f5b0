#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Do the documents and the messages speak of things that there are: files, figures, pages, verbs?
# shellcheck source=tests/interop/harness.sh disable=SC2016 # backquotes are Markdown's
. "$(dirname "$0")/harness.sh"
cd "$source_dir"

quoted() { grep -oE '`[^`]+`' "$@" | tr -d '`'; }
files() { quoted -h ARCHITECTURE.md README.md | grep -E '^[a-z]+/[a-z_/.]+$' | sort -u; }
each_file() {
    local file
    files | while read -r file; do
        case $file in
        core/*) file=libclient/$file ;;
        build/*) continue ;; # made by tools/check
        esac
        [ -e "$file" ] || { echo "there is no $file"; return 1; }
    done
}
ok "each file that they name" each_file
ok "of which there are some" [ "$(files | wc -l)" -ge 8 ]

# A figure's name may have a part that the test fills in, as it may have a * in the documents.
figures() { quoted -h ARCHITECTURE.md | grep -E '^[a-z_*]+(\.[a-z_*]+)+$' | grep -vE '\.(h|c|db|txt|sh|php)$'; }
printed() { # as patterns
    grep -rhoE 'figure: [^ "]+' tests --include=*.{[ch],sh,php,py,rb,mjs} |
        sed -E 's/^figure: //; s/%[a-z]*|\$[a-z]+|[$#]?\{[a-z_]+\}/*/g'
}
each_figure() {
    local figure pattern
    printed >"$work/printed"
    figures | while read -r figure; do
        while read -r pattern; do
            # shellcheck disable=SC2053 # patterns are meant
            [[ $figure = $pattern || $pattern = $figure ]] && continue 2
        done <"$work/printed"
        echo "no test prints the figure $figure"
        return 1
    done
}
ok "each figure" each_figure

pages() { # "name (3)", "name(3)" and .BR name (3), of ours
    find README.md ARCHITECTURE.md daemon include libclient systemd tools -type f \
        \( -name '*.md' -o -name '*.[1-8]' \) -exec sed 's/\\-/-/g' {} + |
        grep -oE '(shmc_[a-z_]+|shm-[a-z.@-]+|shmtool|libshmclient)`? ?\([1-8]\)' | tr -d '` )' |
        tr '(' . | sort -u
}
each_page() { # shmc_close(3) stands in the NAME of another
    local page
    pages | while read -r page; do
        [ -n "$(find daemon libclient include systemd tools -name "$page")" ] ||
            grep -qE "^[a-z_, ]*\b${page%.*}\b.* \\\\- " libclient/*.3 ||
            { echo "there is no page $page"; return 1; }
    done
}
ok "each page" each_page

# "shmtool VERB", and "shmtool table VERB", in all that a user reads.
verbs() { shmtool --help | sed -nE 's/^  ((table )?[a-z][a-z-]*) .*/\1/p'; }
spoken() {
    cat README.md ARCHITECTURE.md ./*/*.[1-8] ./*/*/*.[1-8] systemd/*.catalog systemd/*.service* \
        ./*/*.[ch] ./*/*/*.[ch] | sed -E 's/"$//; s/\\-/-/g' |
        grep -oE '[`"(:;] ?shmtool (table )?[a-z]+' | sed -E 's/.*shmtool //' | sort -u
}
ok "each verb of shmtool" diff <(spoken | comm -23 - <(verbs | sort -u)) /dev/null
ok "of which many are spoken of" [ "$(spoken | wc -l)" -ge 12 ]
