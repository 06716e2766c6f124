#!/bin/sh
# entrypoint.sh - mastfs inside the application's own container.
#
#   COPY --from=mastfs /usr/bin/mastfs /usr/bin/mastfs-entrypoint /usr/bin/
#   ENTRYPOINT ["mastfs-entrypoint"]
#   CMD ["python3", "-m", "app"]
#
# Started as root, with /dev/fuse and SYS_ADMIN.  Mounts what the environment says, runs the
# command as APP_USER (1001:1001) without these rights, and when it has ended waits for what
# is still to be uploaded.  The exit status is the command's; 75 instead of 0 if files were
# left to the next start.
set -eu

user=${APP_USER:-1001:1001}
app='' ended=''
stop() {
	ended=1
	[ -z "$app" ] || kill -s "$1" "$app" 2>/dev/null || :
}
for signal in TERM INT HUP; do
	# shellcheck disable=SC2064 # each its own
	trap "stop $signal" "$signal"
done

mastfs mount -o log_file=/dev/stderr
status=143
if [ -z "$ended" ]; then
	setpriv --reuid="${user%:*}" --regid="${user#*:}" --clear-groups \
		--inh-caps=-all --bounding-set=-sys_admin "$@" &
	app=$!
	# A signal ends the wait, not what is waited for.
	while :; do
		status=0
		wait "$app" || status=$?
		kill -0 "$app" 2>/dev/null || break
	done
fi
mastfs umount /app/data/mast || [ "$status" != 0 ] || status=75
exit "$status"
