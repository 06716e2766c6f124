#!/bin/sh
# run-gcs.sh gcsd|fake-gcs PROGRAM - run PROGRAM URL against a Google server of its own.
# fake-gcs-server is looked for in MASTFS_FAKE_GCS and in PATH; without one the test is
# skipped (77).
set -eu
. "$(dirname "$0")/server.sh"

unset GOOGLE_APPLICATION_CREDENTIALS || true
case $1 in
gcsd)
	start_scripted gcsd
	caps="write put_if finish_if del_if upload copy rename list_meta list_after"
	;;
fake-gcs)
	fake=${MASTFS_FAKE_GCS:-$(command -v fake-gcs-server || true)}
	[ -x "$fake" ] || exit 77
	port=$(free_port)
	start "$fake" -scheme http -host 127.0.0.1 -port "$port" -backend memory \
		-public-host "127.0.0.1:$port" -external-url "http://127.0.0.1:$port" \
		-log-level warn
	wait_for "$python" "$servers/gcsctl.py" "http://127.0.0.1:$port" test
	caps="write put_if upload copy list_meta list_after"
	;;
*)
	echo "usage: $0 gcsd|fake-gcs PROGRAM" >&2
	exit 2
	;;
esac
export STORAGE_EMULATOR_HOST="http://127.0.0.1:$port" MASTFS_TEST_CAPS="$caps"
"$2" gs://test/some/prefix
