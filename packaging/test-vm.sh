#!/usr/bin/env bash
# Run the tests marked `vm`: each boots another kernel in a virtual machine and works in it. What
# they need is installed now: no other test does. Where no machine can be booted they are skipped,
# and say why.
set -euo pipefail
cd "$(dirname "$0")/.."

# Commands, and the Debian packages that have them. busybox must be the static one.
NEEDS=(
	"qemu-system-x86_64 qemu-system-x86"
	"busybox            busybox-static"
	"zstd               zstd"
)

packages=()
for need in "${NEEDS[@]}"; do
	read -r command package <<<"$need"
	command -v "$command" >/dev/null || packages+=("$package")
done
if [ ${#packages[@]} != 0 ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	echo "test-vm: apt-get install ${packages[*]}"
	{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y \
		--no-install-recommends "${packages[@]}" >/dev/null; } ||
		echo "test-vm: cannot install ${packages[*]}" >&2
elif [ ${#packages[@]} != 0 ]; then
	echo "test-vm: please install ${packages[*]} (as Debian calls them)" >&2
fi

echo "test-vm: two kernels, some minutes each; the first time they are downloaded (200 MB)"
exec .venv/bin/python -m pytest tests/vm -m vm -v -rA
