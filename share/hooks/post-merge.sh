# post-merge: an event `merge`, for a merge that made a commit or moved the branch; a squashed one (argument 1) did not.

if [ "${1-}" != 1 ] && wanted merge; then
    report_head merge
fi
become_previous "$@"
