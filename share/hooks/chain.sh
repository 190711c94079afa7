# Chaining: the hook that was here before gzl's stays in force. `gzl init` puts this part into every hook that it
# writes, below these settings:
#   gzl       the gzl that wrote the hook (absolute path)
#   root      gzl's folder of this repository, $GIT_COMMON_DIR/gzl
#   previous  the hook that was here before, empty where there was none
#   place     where that hook believes to be (its $0): a shell script often asks for its own name or folder
#   shell     the shell that it is written for, empty where it is no shell script and is run by its path
# POSIX sh only. What is written without a fork here costs microseconds, a fork costs as much as the whole shell.

say() {
    printf 'gzl: %s\n' "$*" >&2
}

# Whether the previous hook would run if git called it: git, too, passes over a hook that is not executable.
has_previous() {
    [ -n "$previous" ] && [ -f "$previous" ] && [ -x "$previous" ]
}

# Become the previous hook, with git's arguments and what stdin holds; its exit status is the hook's.
become_previous() {
    has_previous || exit 0
    if [ -n "$shell" ]; then
        # $shell may carry options (`/bin/sh -e`), so it is split into words.
        exec $shell -c '. "$0.before-gzl"' "$place" "$@"
    fi
    exec "$previous" "$@"
}
