# post-rewrite: a finished rebase is one event `commit`, for its tip. An amended commit had its event from post-commit.
# gzl needs nothing of what stdin holds: it is left to the previous hook.

if [ "${1-}" = rebase ] && wanted commit; then
    report_head commit
fi
become_previous "$@"
