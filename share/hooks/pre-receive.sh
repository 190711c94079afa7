# pre-receive: clients write no ref of gzl's but their own ledgers and logs, and those only grow. Further setting:
#   writer    this server's own writer name, as it stands in ref names

allowed=1

refuse() {
    say "refused: $1: $2"
    allowed=
}

# guard OLD NEW REF
guard() {
    case $3 in
        refs/gzl/ledger/*/*) owner= ;;
        refs/gzl/ledger/*) owner=${3#refs/gzl/ledger/} ;;
        refs/gzl/logs/*/*) owner=${3#refs/gzl/logs/} owner=${owner%%/*} ;;
        *) owner= ;;
    esac
    if [ -z "$owner" ]; then
        refuse "$3" "only this server writes it; \`gzl sync\` pushes what is yours, push the rest without this ref"
    elif [ "$owner" = "$writer" ]; then
        refuse "$3" "it is this server's own record; \`gzl sync\` pushes yours, under your own writer name"
    elif is_none "$2"; then
        refuse "$3" "a push does not delete a record; \`git update-ref -d $3\` on the server does"
    elif ! is_none "$1" && ! git merge-base --is-ancestor "$1" "$2" 2>/dev/null; then
        refuse "$3" "this is not a fast-forward, and a record only grows; \`gzl sync\` brings both together"
    fi
}

# Whether an object id is all zeros, git's word for "there is none".
is_none() {
    case $1 in *[!0]*) return 1 ;; esac
}

guard_all() {
    while IFS=' ' read -r old new ref; do
        case $ref in
            refs/notes/gzl* | refs/gzl/*) guard "$old" "$new" "$ref" ;;
        esac
    done
}

if ! has_previous; then
    guard_all
    [ -n "$allowed" ]
    exit
fi
# Both read stdin. It is text, and always some: a ref name holds no NUL byte.
pushed=$(cat)
guard_all <<END
$pushed
END
[ -n "$allowed" ] || exit 1
become_previous "$@" <<END
$pushed
END
