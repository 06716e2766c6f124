#!/bin/sh
# run-s3.sh s3d|minio PROGRAM - run PROGRAM URL against an S3 server of its own.
# The URL is in MASTFS_TEST_URL too.  MinIO is looked for in MASTFS_MINIO and in PATH;
# without one the test is skipped (77).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d "${TMPDIR:-/tmp}/mastfs-contract.XXXXXX")
pid=
stop() {
	if [ -n "$pid" ]; then
		kill "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	fi
	rm -rf "$dir"
}
trap stop EXIT

# wait_for COMMAND...: until it succeeds, 20 s at most.
wait_for() {
	i=0
	until "$@" 2>/dev/null; do
		i=$((i + 1))
		[ $i -lt 200 ] || { cat "$dir/log"; exit 1; }
		sleep 0.1
	done
}

export AWS_ACCESS_KEY_ID=mastfs AWS_SECRET_ACCESS_KEY=mastfs-secret AWS_REGION=us-east-1
export AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null
unset AWS_PROFILE AWS_SESSION_TOKEN || true

case $1 in
s3d)
	python3 "$here/../servers/s3d.py" --port 0 --bucket test --access-key mastfs \
		--secret-key mastfs-secret >"$dir/log" 2>&1 &
	pid=$!
	wait_for grep -q listening "$dir/log"
	port=$(sed -n 's/.*listening on 127.0.0.1:\([0-9]*\).*/\1/p' "$dir/log")
	;;
minio)
	minio=${MASTFS_MINIO:-$(command -v minio || true)}
	[ -x "$minio" ] || exit 77
	port=$(python3 -c 'import socket
s = socket.socket()
s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])')
	mkdir -p "$dir/data/test"
	MINIO_ROOT_USER=mastfs MINIO_ROOT_PASSWORD=mastfs-secret MINIO_CI_CD=1 \
		MINIO_BROWSER=off "$minio" server --quiet --address "127.0.0.1:$port" \
		"$dir/data" >"$dir/log" 2>&1 &
	pid=$!
	wait_for python3 -c "import urllib.request as u
u.urlopen('http://127.0.0.1:$port/minio/health/live')"
	;;
*)
	echo "usage: $0 s3d|minio PROGRAM" >&2
	exit 2
	;;
esac
export AWS_ENDPOINT_URL="http://127.0.0.1:$port" MASTFS_TEST_URL=s3://test/some/prefix
"$2" "$MASTFS_TEST_URL"
