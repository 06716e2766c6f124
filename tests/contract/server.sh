# server.sh - sourced by run-*.sh: a server of one's own, and that nothing of it is left.
# Sets dir, a directory that is removed at the end, and servers.
# shellcheck shell=sh

servers=$(cd "$(dirname "$0")/../servers" && pwd)
dir=$(mktemp -d "${TMPDIR:-/tmp}/mastfs-contract.XXXXXX")
pid=
python=/usr/bin/python3
export PYTHONDONTWRITEBYTECODE=1

stop() {
	if [ -n "$pid" ]; then
		kill "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	fi
	rm -rf "$dir"
}
trap stop EXIT

# wait_for COMMAND...: until it succeeds, 30 s at most.
wait_for() {
	i=0
	until "$@" >"$dir/wait" 2>&1; do
		i=$((i + 1))
		[ $i -lt 300 ] || { cat "$dir/wait" "$dir/log"; exit 1; }
		kill -0 "$pid" || { cat "$dir/log"; exit 1; }
		sleep 0.1
	done
}

# start COMMAND...: in the background, its words in $dir/log.
start() {
	"$@" >"$dir/log" 2>&1 &
	pid=$!
}

# start_scripted NAME ARGS...: one of our own servers; sets port.
start_scripted() {
	name=$1
	shift
	start "$python" "$servers/$name.py" --port 0 --bucket test "$@"
	wait_for grep -q listening "$dir/log"
	port=$(sed -n 's/.*listening on 127.0.0.1:\([0-9]*\).*/\1/p' "$dir/log")
}

free_port() {
	"$python" -c 'import socket
s = socket.socket()
s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])'
}
