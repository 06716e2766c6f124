#!/bin/sh
# run-local.sh TEST_BACKEND - the contract test over a directory of its own.
set -eu
dir=$(mktemp -d "${TMPDIR:-/tmp}/mastfs contract.XXXXXX")
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/bucket"
MASTFS_TEST_CAPS="write put_if del_if copy rename list_meta" "$1" "file://$(echo "$dir/bucket" | sed 's/ /%20/g')"
left=$(find "$dir/bucket" -mindepth 1 ! -name .mastfs-tmp)
if [ -n "$left" ]; then
	echo "left behind: $left"
	exit 1
fi
