#!/usr/bin/env bash
# Run the tests marked `vm`: each boots another kernel in a virtual machine and works in it.
set -euo pipefail
cd "$(dirname "$0")/.."

echo "test-vm: boots other kernels under QEMU, and runs the tests marked 'vm' in them"
if ! command -v "qemu-system-$(uname -m)" >/dev/null; then
	echo "test-vm: SKIPPED, nothing was tested: qemu-system-$(uname -m) is not installed"
	exit 0
fi
status=0
.venv/bin/python -m pytest tests -m vm || status=$?
if [ "$status" = 5 ]; then
	echo "test-vm: SKIPPED, nothing was tested: no test is marked 'vm'"
	exit 0
fi
exit "$status"
