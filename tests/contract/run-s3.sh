#!/bin/sh
# run-s3.sh s3d|minio PROGRAM - run PROGRAM URL against an S3 server of its own.
# The URL is in MASTFS_TEST_URL too.  MinIO is looked for in MASTFS_MINIO and in PATH;
# without one the test is skipped (77).
set -eu
. "$(dirname "$0")/server.sh"

export AWS_ACCESS_KEY_ID=mastfs AWS_SECRET_ACCESS_KEY=mastfs-secret AWS_REGION=us-east-1
export AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null
unset AWS_PROFILE AWS_SESSION_TOKEN || true

case $1 in
s3d)
	start_scripted s3d --access-key mastfs --secret-key mastfs-secret
	caps="write put_if finish_if del_if upload copy"
	# What lies below has an order of its own.
	[ -n "${MASTFS_TEST_PUBLIC:-}" ] || caps="$caps list_after"
	;;
minio)
	minio=${MASTFS_MINIO:-$(command -v minio || true)}
	[ -x "$minio" ] || exit 77
	port=$(free_port)
	mkdir -p "$dir/data/test"
	start env MINIO_ROOT_USER=mastfs MINIO_ROOT_PASSWORD=mastfs-secret MINIO_CI_CD=1 \
		MINIO_BROWSER=off "$minio" server --quiet --address "127.0.0.1:$port" "$dir/data"
	wait_for "$python" -c "import urllib.request as u
u.urlopen('http://127.0.0.1:$port/minio/health/live')"
	caps="write put_if finish_if upload copy list_after"
	;;
*)
	echo "usage: $0 s3d|minio PROGRAM" >&2
	exit 2
	;;
esac
export AWS_ENDPOINT_URL="http://127.0.0.1:$port" MASTFS_TEST_CAPS="$caps"
export MASTFS_TEST_URL=s3://test/some/prefix
"$2" "$MASTFS_TEST_URL"
