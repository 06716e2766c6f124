#!/bin/sh
# entrypoint.sh - mastfs inside the application's own container.
#
#   COPY --from=mastfs /usr/bin/mastfs /usr/bin/mastfs-entrypoint /usr/bin/
#   ENTRYPOINT ["mastfs-entrypoint"]
#   CMD ["python3", "-m", "app"]
#
# Started as root, with /dev/fuse and SYS_ADMIN.  Mounts what the environment says, runs the
# command as APP_USER (1001:1001) without these rights, and when it has ended waits for what
# is still to be uploaded.  What it left running is ended if it keeps the mount busy.  The
# exit status is the command's; 75 instead of 0 if files were left to the next start; 2 if there
# is no command.
set -eu

[ $# -gt 0 ] || {
	echo "mastfs-entrypoint: no command given: what is to run beside the mount?" >&2
	exit 2
}
user=${APP_USER:-1001:1001}
point=/app/data/mast
app='' ended=''
stop() {
	ended=1
	[ -z "$app" ] || kill -s "$1" "$app" 2>/dev/null || :
}
for signal in TERM INT QUIT HUP; do
	# shellcheck disable=SC2064 # each its own
	trap "stop $signal" "$signal"
done

# What the application has left running in this container gets the signal.  Other containers'
# processes, which are seen with the host's numbers, are of another cgroup.
signal_the_rest() {
	ours=$(cat /proc/$$/cgroup)
	for dir in /proc/[0-9]*; do
		pid=${dir#/proc/}
		[ "$pid" = 1 ] || [ "$pid" = $$ ] || [ "$(cat "$dir/comm")" = mastfs ] ||
			[ "$(cat "$dir/cgroup")" != "$ours" ] || kill -s "$1" "$pid" || :
	done 2>/dev/null
}

# With this process the kernel ends all others, the daemon in the middle of its uploads, too.
# So who keeps the mount busy goes first: asked at once, and made to after some seconds.
unmount() {
	for try in 1 2 3 4 5 6 7 8 9 10; do
		mastfs umount "$point" && return
		grep -q " $point fuse.mastfs " /proc/mounts || return 1
		case $try in
		1) signal_the_rest TERM ;;
		[5-9]) signal_the_rest KILL ;;
		esac
		sleep 1
	done
	return 1
}

mastfs mount -o log_file=/dev/stderr
status=143
if [ -z "$ended" ]; then
	# A shell gives what it starts with "&" an empty input, and has it ignore INT and QUIT.
	exec 3<&0
	env --default-signal=INT,QUIT setpriv --reuid="${user%:*}" --regid="${user#*:}" \
		--clear-groups --inh-caps=-all --bounding-set=-sys_admin "$@" <&3 3<&- &
	app=$!
	exec 3<&-
	# A signal ends the wait, not what is waited for.
	while :; do
		status=0
		wait "$app" || status=$?
		kill -0 "$app" 2>/dev/null || break
	done
	app=''
fi
unmount || [ "$status" != 0 ] || status=75
exit "$status"
