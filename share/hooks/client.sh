# What the hooks of a working tree share: does a rule want this, and where is HEAD? git starts them at the top of the
# working tree. No git is started: a commit takes 5 ms, and every process a fifth of that.

git_dir=${GIT_DIR:-.git}

# Whether the Gzlfile may have a rule `on $1`. It may say yes too often (the manager reads the rules), never no wrongly:
# a rule may follow a byte order mark, and may go on in the next line after a backslash. The shell reads a byte at a
# time: up to some 60 lines that costs less than a process, so the rest of a longer file is left to grep.
wanted() {
    [ -f Gzlfile ] || return
    mark='﻿' # between these quotes is U+FEFF
    lines=0
    while IFS= read -r line || [ -n "$line" ]; do
        case ${line#"$mark"} in
            on[[:space:]]*"$1"* | on*\\*) return 0 ;;
        esac
        lines=$((lines + 1))
        if [ "$lines" = 60 ]; then
            LC_ALL=C grep -qE "^on([[:space:]]+$1|[[:space:]]*\\\\)" Gzlfile
            return
        fi
    done <Gzlfile
    return 1
}

# Whether more commits are about to follow this one. A rebase ends with post-rewrite; a cherry-pick or revert of
# several commits keeps those that are left, the present one first, in sequencer/todo.
in_sequence() {
    [ -d "$git_dir/rebase-merge" ] || [ -d "$git_dir/rebase-apply" ] && return
    [ -f "$git_dir/sequencer/todo" ] || return
    { read -r first && read -r second; } <"$git_dir/sequencer/todo" && [ -n "$second" ]
}

# Sets `ref` and `new` to what HEAD is: a branch and its tip, or `HEAD` and a commit where it is detached.
read_head() {
    ref= new=
    { read -r ref <"$git_dir/HEAD"; } 2>/dev/null
    case $ref in
        'ref: refs/heads/'*)
            ref=${ref#ref: }
            { read -r new <"$root/../$ref"; } 2>/dev/null
            ;;
        *) new=$ref ref=HEAD ;;
    esac
    # No such file in a reftable, nor where HEAD names a symbolic ref: then git must say it.
    case $new in
        '' | *[!0-9a-f]*)
            new=$(git rev-parse --verify --quiet HEAD) || return
            ref=$(git symbolic-ref --quiet HEAD) || ref=HEAD
            ;;
    esac
    case $ref in HEAD | refs/heads/*) ;; *) return 1 ;; esac
}

# An event of kind $1 for HEAD. It names no old commit: the new one's parents say it.
report_head() {
    read_head && write_event "$1" "$none" "$new" "$ref" && deliver
}
