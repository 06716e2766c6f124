# build.sh - sourced by tests/run and tests/demo: packages, servers, and trees outside the
# checkout.  Needs: me (for messages), root (the checkout), work (where trees and logs go),
# tools (where servers and clients that no package has are kept).
# shellcheck shell=bash

PACKAGES='gcc libc6-dev meson ninja-build pkg-config libfuse3-dev libcurl4-openssl-dev
libssl-dev libsqlite3-dev libexpat1-dev libjansson-dev libcfitsio-dev fuse3 python3
python3-pytest python3-pytest-xdist python3-numpy python3-astropy python3-boto3
python3-h5py rsync git curl attr procps util-linux strace fio zip unzip'

# Before what computes beside tests: it takes what those leave of the processors.
idly='chrt --idle 0'

say() { printf '%s\n' "$me: $*"; }
die() {
	say "$*" >&2
	exit 1
}

as_root() {
	if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

missing_packages() {
	local p
	for p in "$@"; do
		dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || echo "$p"
	done
}

# apt_install PACKAGE...: those that are missing.  Nobody else's apt-get runs meanwhile.
apt_install() {
	[ -z "$(missing_packages "$@")" ] && return
	mkdir -p "$tools" && (flock 7; apt_install_missing "$@") 7>"$tools/apt.lock"
}

apt_install_missing() {
	local missing
	mapfile -t missing < <(missing_packages "$@")
	[ ${#missing[@]} = 0 ] && return
	say "installing: ${missing[*]}"
	[ "$(id -u)" = 0 ] || command -v sudo >/dev/null ||
		{ say "not root and no sudo: cannot install" >&2; return 1; }
	as_root env DEBIAN_FRONTEND=noninteractive sh -c '
		apt-get -q update && apt-get -qy install --no-install-recommends "$@"' sh \
		"${missing[@]}" >"$work/apt.log" 2>&1 ||
		{ tail -20 "$work/apt.log" >&2; say "apt-get failed, see $work/apt.log" >&2; return 1; }
}

install_packages() {
	# shellcheck disable=SC2086 # a list
	apt_install $PACKAGES || die "packages are missing"
}

# The servers and clients below are built or fetched once.  Each install_NAME sets a variable
# to the program's path, or to nothing where it cannot be had.

# go_install PROGRAM MODULE VERSION...: the first version that can be had; prints the path.
go_install() {
	local program=$1 module=$2 v
	shift 2
	[ -x "$tools/bin/$program" ] && { echo "$tools/bin/$program"; return; }
	command -v go >/dev/null || local PATH=$PATH:/usr/local/go/bin
	command -v go >/dev/null || return 0
	say "building $program into $tools/bin, once" >&2
	mkdir -p "$tools/bin"
	for v in "$@"; do
		GOBIN=$tools/bin go install "$module@$v" >>"$work/$program.log" 2>&1 &&
			{ echo "$tools/bin/$program"; return; }
	done
	say "go install failed, see $work/$program.log" >&2
}

# MinIO's module has no semantic versions: where @latest is refused, its last release.
install_minio() {
	minio=$(go_install minio github.com/minio/minio latest RELEASE.2025-10-15T17-29-55Z)
}

install_fake_gcs() {
	fake_gcs=$(go_install fake-gcs-server github.com/fsouza/fake-gcs-server latest)
}

# The last Azurite that runs on Node 20 and before.
install_azurite() {
	local bin=$tools/azurite/node_modules/.bin/azurite-blob
	azurite=
	command -v node >/dev/null || apt_install nodejs || return 0
	[ -x "$bin" ] && { azurite=$bin; return; }
	command -v npm >/dev/null || apt_install nodejs npm || return 0
	say "installing Azurite into $tools/azurite, once"
	mkdir -p "$tools/azurite"
	if npm install --prefix "$tools/azurite" --no-audit --no-fund azurite@3.35.0 \
		>"$work/azurite.log" 2>&1 && [ -x "$bin" ]; then
		azurite=$bin
	else
		say "npm install failed, see $work/azurite.log" >&2
	fi
}

CLIENTS='s3fs adlfs gcsfs azure-storage-blob google-cloud-storage'

# Other programs' view of a bucket: a virtual environment, and rclone.
install_clients() {
	venv=$tools/venv
	if ! [ -e "$venv/complete" ]; then
		apt_install python3-venv || { venv=; return 0; }
		say "installing clients into $venv, once"
		# shellcheck disable=SC2086 # a list
		if $python -m venv --clear "$venv" >"$work/venv.log" 2>&1 &&
			"$venv/bin/pip" install -q $CLIENTS >>"$work/venv.log" 2>&1; then
			echo "$CLIENTS" >"$venv/complete"
		else
			say "pip install failed, see $work/venv.log" >&2
			venv=
		fi
	fi
}

install_rclone() {
	rclone=$(command -v rclone) && return
	[ -x "$tools/bin/rclone" ] || apt_install rclone || true
	rclone=$(PATH=$PATH:$tools/bin command -v rclone) ||
		rclone=$(go_install rclone github.com/rclone/rclone latest)
}

# libFuzzer is a package of its own, named by clang's version.
install_clang() {
	local version
	clang=
	command -v clang >/dev/null || apt_install clang || return 0
	version=$(clang -dumpversion | cut -d. -f1)
	[ -n "$(find "$(clang -print-resource-dir)/" -name 'libclang_rt.fuzzer*' 2>/dev/null)" ] ||
		apt_install "libclang-rt-$version-dev" || return 0
	clang=$(command -v clang)
}

# The file system exerciser; without cargo there is none, and that is no failure.
install_fsx() {
	fsx=$tools/bin/fsx
	[ -x "$fsx" ] && return
	fsx=
	command -v cargo >/dev/null || return 0
	say "building fsx into $tools/bin, once"
	if cargo install --root "$tools" fsx >"$work/fsx.log" 2>&1; then
		fsx=$tools/bin/fsx
	else
		say "cargo install failed, see $work/fsx.log" >&2
	fi
}

# The archive that this machine's own apt takes Debian from.
debian_mirror() {
	local mirrors
	# shellcheck disable=SC2016 # apt-get puts it in
	mirrors=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' \
		'Origin: Debian' 'Label: Debian' 2>/dev/null)
	echo "${mirrors%%$'\n'*}"
}

# make_root SUITE DIR: a minimal Debian, there at once or not at all.
make_root() {
	local suite=$1 dir=$2 mirror
	[ -d "$dir" ] && return
	apt_install debootstrap debian-archive-keyring || return
	mirror=$(debian_mirror)
	[ -n "$mirror" ] || { as_root apt-get -q update >/dev/null; mirror=$(debian_mirror); }
	say "making a root of Debian $suite in $dir, once" >&2
	as_root rm -rf "$dir.new"
	as_root debootstrap --variant=minbase "$suite" "$dir.new" "$mirror" \
		>"$work/root-$suite.log" 2>&1 && as_root chroot "$dir.new" apt-get clean &&
		as_root mv "$dir.new" "$dir" ||
		{ say "debootstrap failed, see $work/root-$suite.log" >&2; return 1; }
}

# install_root SUITE: bookworm, trixie; sets debian_root.  Many may call it at the same time,
# and nobody writes to the root: what needs changes lays an overlayfs over it.
install_root() {
	local dir=$tools/roots/$1
	debian_root=
	[ "$(id -u)" = 0 ] || command -v sudo >/dev/null || return 0
	mkdir -p "$tools/roots" || return 0
	if (flock 9 && make_root "$1" "$dir") 9>"$dir.lock"; then
		debian_root=$dir
	fi
}

# install_docker: the packages of the engine that the tests start, its images and their base;
# sets docker to the engine or to nothing.  What fails here the tests meet again, and say.
install_docker() {
	local cli=
	docker=
	[ "$(id -u)" = 0 ] || return 0
	# From Debian 13 on the client is a package of its own.
	apt-cache show docker-cli >/dev/null 2>&1 && cli=docker-cli
	# shellcheck disable=SC2086 # it may be none
	apt_install docker.io $cli docker-compose python3-yaml debootstrap debian-archive-keyring ||
		return 0
	install_root trixie
	[ -n "$debian_root" ] || return 0
	MASTFS_TOOLS=$tools MASTFS_DEBIAN_ROOT=$debian_root PYTHONDONTWRITEBYTECODE=1 \
		$idly $python tests/docker/engine.py >"$work/docker.log" 2>&1
	docker=$(command -v dockerd)
}

# without NAME VALUE WHAT: loud where it is missing, and in CI a failure.
without() {
	[ -z "$2" ] || return 0
	say "**** NO $1: it could not be built or fetched here. ****"
	say "**** $3 are SKIPPED."
	[ "${CI:-}" != true ] || count "${1// /-}" 0 1 0
}

# All of the above, as the tests look for them.
install_servers() {
	install_minio
	install_azurite
	install_fake_gcs
	install_clients
	install_rclone
	export MASTFS_MINIO=$minio MASTFS_AZURITE=$azurite MASTFS_FAKE_GCS=$fake_gcs
	install_fsx
	export MASTFS_VENV=$venv MASTFS_RCLONE=$rclone MASTFS_FSX=$fsx
	without MinIO "$minio" "The tests over a real S3 server"
	without Azurite "$azurite" "The tests over a real Azure server"
	without fake-gcs-server "$fake_gcs" "The tests over a real Google server"
	without "PyPI clients" "$venv" "The tests of what s3fs, adlfs, gcsfs and the SDKs see"
	without rclone "$rclone" "The tests of what rclone sees"
	if command -v cargo >/dev/null; then
		without fsx "$fsx" "The runs of fsx over the mount"
	elif [ -z "$fsx" ]; then
		say "**** NO fsx, as there is no cargo: its runs over the mount are SKIPPED. ****"
	fi
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

