# A hook that gzl has no business with, in a repository where core.hooksPath names a folder that gzl must not write in:
# gzl's own folder stands in for that one, and passes everything on.

become_previous "$@"
