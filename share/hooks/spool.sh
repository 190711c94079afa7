# Events: each is a file of the spool, a maildir (https://cr.yp.to/proto/maildir.html): written in tmp/, its last line
# `end`. The repo manager, which is then woken or started, renames what is whole to new/: a rename costs the hook a process,
# and the manager a system call. Nothing here fails the hook: an event that cannot be written is said, and a manager finds
# the branch's tip when it next starts.

spool=$root/spool
newline='
'
none=0000000000000000000000000000000000000000
options=
lost=
serial=1000000

unique=

# A name that no event had before, without a fork where the kernel makes one.
name_events() {
    { read -r unique </proc/sys/kernel/random/uuid; } 2>/dev/null
    [ -n "$unique" ] || unique=$(date +%s)
}

# Who the transport says is pushing: a forced command's word, gitolite's, the web server's, sshd's.
actor=${GZL_ACTOR:-${GL_USER:-${REMOTE_USER:-${LOGNAME:-${USER-}}}}}
case $actor in *"$newline"*) actor= ;; esac

# write_event KIND OLD NEW REF
write_event() {
    [ -n "$unique" ] || name_events
    serial=$((serial + 1))
    { printf 'event %s\nold %s\nnew %s\nref %s\nactor %s\n%send\n' "$1" "$2" "$3" "$4" "$actor" "$options" \
        >"$spool/tmp/$unique.$$.$serial"; } 2>/dev/null || lost=1
}

# Hand over what was written, and see that a manager looks at it. Fails if there was nothing.
deliver() {
    [ "$serial" != 1000000 ] || return 1
    if [ -n "$lost" ]; then
        say "cannot write events in $spool (is the disk full?): the push or commit stands, but its jobs start late;" \
            "make room, then run \`gzl init\` and \`gzl manage-repo --once\` in this repository"
    fi
    if manager_lives; then
        # Opened for reading too, a FIFO never blocks the opener (fifo(7), on Linux), whether or not somebody reads.
        [ -p "$root/manager.wake" ] && { printf . 1<>"$root/manager.wake"; } 2>/dev/null && return 0
        say "cannot wake the repo manager (process $pid); \`gzl manage-repo --once\` runs what waits"
        return 0
    fi
    start_manager
}

# Whether the process that manager.pid names lives: pids are used again, a pid with its start time is not. In
# /proc/<pid>/stat the command's name may hold spaces and parentheses; the fields after it begin with the third, and
# the start time is the twenty-second (proc(5)).
manager_lives() {
    pid= started= stat=
    { read -r pid started <"$root/manager.pid"; } 2>/dev/null
    case $pid in '' | *[!0-9]*) return 1 ;; esac
    if [ -r /proc/self/stat ]; then
        { read -r stat <"/proc/$pid/stat"; } 2>/dev/null
        set -- ${stat##*) }
        [ "${1-Z}" != Z ] && [ "$1" != X ] && [ "${20-}" = "$started" ]
    else
        kill -0 "$pid" 2>/dev/null
    fi
}

find_gzl() {
    [ -x "$gzl" ] && return
    gzl=$(command -v gzl) && return
    say "there is no gzl at the place that this hook was told of, nor on the PATH: the event waits in $spool;" \
        "install gzl, then run \`gzl init\` in this repository"
    return 1
}

# The manager holds none of the hook's descriptors, or `git push` would wait for its end.
start_manager() {
    find_gzl || return 0
    if [ ! -w "$root" ]; then
        say "cannot write in $root, so no repo manager can start; its owner must run \`gzl manage-repo\`"
        return 0
    fi
    detach=
    command -v setsid >/dev/null && detach=setsid
    (
        trap '' HUP
        enter_repository && exec $detach "$gzl" manage-repo --daemon -C "$PWD"
    ) </dev/null >>"$root/manager.log" 2>&1 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- &
}

# Go to the repository, without what ties git to this one push, index or worktree (`git rev-parse --local-env-vars`,
# and what git-receive-pack(1) adds).
enter_repository() {
    unset CDPATH GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_CONFIG GIT_CONFIG_PARAMETERS GIT_CONFIG_COUNT \
        GIT_OBJECT_DIRECTORY GIT_DIR GIT_WORK_TREE GIT_IMPLICIT_WORK_TREE GIT_GRAFT_FILE GIT_INDEX_FILE \
        GIT_NO_REPLACE_OBJECTS GIT_REPLACE_REF_BASE GIT_PREFIX GIT_INTERNAL_SUPER_PREFIX GIT_SHALLOW_FILE \
        GIT_COMMON_DIR GIT_QUARANTINE_PATH GIT_NAMESPACE GIT_PUSH_CERT GIT_PUSH_CERT_SIGNER GIT_PUSH_CERT_KEY \
        GIT_PUSH_CERT_STATUS GIT_PUSH_CERT_NONCE GIT_PUSH_CERT_NONCE_STATUS GIT_PUSH_CERT_NONCE_SLOP \
        GIT_REFLOG_ACTION GIT_EXEC_PATH GIT_EDITOR GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_AUTHOR_DATE \
        GIT_COMMITTER_NAME GIT_COMMITTER_EMAIL GIT_COMMITTER_DATE
    while [ "${GIT_PUSH_OPTION_COUNT:-0}" -gt 0 ]; do
        GIT_PUSH_OPTION_COUNT=$((GIT_PUSH_OPTION_COUNT - 1))
        unset "GIT_PUSH_OPTION_$GIT_PUSH_OPTION_COUNT"
    done
    unset GIT_PUSH_OPTION_COUNT
    cd -P "$root/.."
}
