# post-commit: an event `commit`, if a rule of the Gzlfile may want one and no further commit is about to follow.
# Amending comes through here, too.

if wanted commit && ! in_sequence; then
    report_head commit
fi
become_previous "$@"
