# post-receive: an event for each branch and tag that was pushed. `git push -o gzl.wait` shows the pusher their jobs.

# Push options that are for gzl. A client can send any bytes; an option is one line of the event, or is none.
wait=
index=0
while [ "$index" -lt "${GIT_PUSH_OPTION_COUNT:-0}" ]; do
    eval "option=\$GIT_PUSH_OPTION_$index"
    index=$((index + 1))
    case $option in
        *"$newline"*) continue ;;
        gzl.wait) wait=1 ;;
        gzl.*) ;;
        *) continue ;;
    esac
    options="${options}option $option$newline"
done

write_events() {
    while IFS=' ' read -r old new ref; do
        case $ref in
            refs/heads/*) write_event push "$old" "$new" "$ref" ;;
            refs/tags/*) write_event tag "$old" "$new" "$ref" ;;
        esac
    done
}

# One after the other, in the order of the push; the only case in which a hook waits for gzl.
attach_all() {
    [ -z "$lost" ] && find_gzl || return 0
    attached=1000000
    while [ "$attached" -lt "$serial" ]; do
        attached=$((attached + 1))
        (enter_repository && exec "$gzl" attach --event "$unique.$$.$attached" -C "$PWD") </dev/null
    done
}

if ! has_previous; then
    write_events
    deliver && [ -n "$wait" ] && attach_all
    exit 0
fi
# Both read stdin. It is text, and always some: a ref name holds no NUL byte.
pushed=$(cat)
write_events <<END
$pushed
END
deliver || wait=
(become_previous "$@") <<END
$pushed
END
status=$?
[ -n "$wait" ] && attach_all
exit "$status"
