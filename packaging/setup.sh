#!/usr/bin/env bash
# Install what Plait is built and tested with: system packages and .venv. Safe to repeat; what is
# there already is passed over. On Debian, as root, it installs; elsewhere it says what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

# What must be there, and the Debian package that has it: a command, a header or a library. bookworm
# has every one of them in main.
NEEDS=(
	"command clang-19             clang-19"
	"command clang-format-19      clang-format-19"
	"command ip                   iproute2"
	"command ping                 iputils-ping"
	"command nft                  nftables"
	"command iptables             iptables"
	"command tcpdump              tcpdump"
	"command bpftool              bpftool"
	"header  bpf/bpf_helpers.h    libbpf-dev"
	"header  linux/bpf.h          linux-libc-dev"
	"library libbpf.so.1          libbpf1"
	"python  3.11,venv,ensurepip  python3-venv"
)

fail() {
	printf 'setup: %s\n' "$@" >&2
	exit 1
}

# The first Python that is new enough and can make virtual environments.
find_python() {
	local candidate
	for candidate in python3 /usr/bin/python3 python3.13 python3.12 python3.11; do
		"$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' \
			2>/dev/null && echo "$candidate" && return
	done
	return 1
}

is_there() {
	case $1 in
	command) command -v "$2" ;;
	header) [ -e "/usr/include/$2" ] ;;
	library) PATH=$PATH:/sbin:/usr/sbin ldconfig -p | grep -F "$2" ;;
	python) find_python ;;
	esac >/dev/null
}

# "PACKAGE KIND NAME" of each need that is not met.
missing() {
	local kind name package
	for need in "${NEEDS[@]}"; do
		read -r kind name package <<<"$need"
		is_there "$kind" "$name" || echo "$package $kind $name"
	done
}

install_packages() {
	local found
	mapfile -t found < <(missing)
	[ ${#found[@]} != 0 ] || return 0
	local packages=("${found[@]%% *}")
	if ! command -v apt-get >/dev/null; then
		fail "this is not Debian; please install these yourself:" "${found[@]#* }"
	fi
	if [ "$(id -u)" != 0 ]; then
		fail "installing needs root; run it as root, or: apt-get install ${packages[*]}"
	fi
	echo "setup: apt-get install ${packages[*]}"
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
		"${packages[@]}" >/dev/null
	mapfile -t found < <(missing)
	[ ${#found[@]} = 0 ] || fail "apt-get was not enough; still missing:" "${found[@]#* }"
}

# The stamp says which pyproject.toml the environment was made for.
make_venv() {
	local wanted
	wanted=$(sha256sum pyproject.toml)
	[ "$(cat .venv/plait-stamp 2>/dev/null)" != "$wanted" ] || return 0
	if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
		echo "setup: python -m venv .venv"
		"$(find_python)" -m venv --clear .venv
	fi
	echo "setup: pip install -e .[test,dev]"
	.venv/bin/python -m pip install --quiet --disable-pip-version-check \
		--root-user-action=ignore --editable '.[test,dev]'
	echo "$wanted" >.venv/plait-stamp
}

mount_bpffs() {
	if [ "$(id -u)" != 0 ] || mountpoint -q /sys/fs/bpf; then
		return
	fi
	echo "setup: mount -t bpf bpf /sys/fs/bpf"
	mount -t bpf bpf /sys/fs/bpf || echo "setup: tests that need /sys/fs/bpf will fail" >&2
}

install_packages
make_venv
mount_bpffs
