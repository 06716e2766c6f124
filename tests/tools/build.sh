# build.sh - sourced by tests/run and tests/demo: packages, and trees outside the checkout.
# Needs: me (for messages), root (the checkout), work (where trees and logs go).
# shellcheck shell=bash

PACKAGES='gcc libc6-dev meson ninja-build pkg-config libfuse3-dev libcurl4-openssl-dev
libssl-dev libsqlite3-dev libexpat1-dev libjansson-dev libcfitsio-dev fuse3 python3
python3-pytest python3-pytest-xdist python3-numpy python3-astropy python3-boto3 rsync git curl attr procps util-linux'

say() { printf '%s\n' "$me: $*"; }
die() {
	say "$*" >&2
	exit 1
}

as_root() {
	if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

install_packages() {
	local p missing=()
	for p in $PACKAGES; do
		dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
	done
	[ ${#missing[@]} = 0 ] && return
	say "installing: ${missing[*]}"
	[ "$(id -u)" = 0 ] || command -v sudo >/dev/null || die "not root and no sudo: cannot install"
	as_root env DEBIAN_FRONTEND=noninteractive sh -c '
		apt-get -q update && apt-get -qy install --no-install-recommends "$@"' sh \
		"${missing[@]}" >"$work/apt.log" 2>&1 ||
		{ tail -20 "$work/apt.log" >&2; die "apt-get failed, see $work/apt.log"; }
}

build() { # TREE OPTIONS...
	local tree=$work/$1
	if ! [ -f "$tree/build.ninja" ]; then
		rm -rf "$tree"
		meson setup "$tree" "$root" "${@:2}" >"$work/$1.log" 2>&1 ||
			{ tail -20 "$work/$1.log" >&2; return 1; }
	fi
	ninja -C "$tree" -j "$(nproc)" >"$work/$1.log" 2>&1 && ninja -C "$tree" fs/mastfs \
		>>"$work/$1.log" 2>&1 || { grep -E 'error|warning|FAILED' -A4 "$work/$1.log" |
		head -60 >&2; return 1; }
}

build_tree() {
	case $1 in
	plain) build plain -Dbuildtype=debugoptimized ;;
	asan) build asan -Dbuildtype=debug -Doptimization=1 -Db_sanitize=address,undefined -Db_lundef=false ;;
	tsan) build tsan -Dbuildtype=debug -Doptimization=1 -Db_sanitize=thread -Db_lundef=false ;;
	*) die "no such tree: $1" ;;
	esac
}

