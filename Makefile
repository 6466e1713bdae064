# Everything here installs what it needs first: packages by apt-get (Debian, as root), Python's
# into .venv. `make demo KEEP=1` leaves the demo's network up.

PYTHON := .venv/bin/python
HEADERS = $(wildcard codegen/bpf/*.h plugins/*/bpf/*.h bench/bpf/*.h tests/plugin_example/*/bpf/*.h tests/plugins/*/bpf/*.h)
CACHES := build .mypy_cache .pytest_cache .ruff_cache .hypothesis

help: ## what there is to make
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 18

demo: setup root ## a Service that is balanced in a network of namespaces, reloaded under traffic
	$(PYTHON) -m plait.core.lab.demo $(if $(KEEP),--keep)

test: setup ## all tests but the slow ones; without root, those that need it are skipped
	$(PYTHON) -m pytest tests -m "not deep and not vm"

test-deep: setup root ## the slow tests: large numbers, random inputs, long traffic
	$(PYTHON) -m pytest tests -m deep

test-vm: setup ## the tests on other kernels, in virtual machines
	@packaging/test-vm.sh

lint: setup ## style and types of the Python code, format of the C code
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy
	MYPYPATH=src:tests $(PYTHON) -m mypy --explicit-package-bases tests $(wildcard bench)
	clang-format-19 --dry-run --Werror $(HEADERS)

format: setup ## put the style right, as far as tools can
	$(PYTHON) -m ruff check --fix
	$(PYTHON) -m ruff format
	clang-format-19 -i $(HEADERS)

bench: setup root ## measure, into build/bench.json
	$(PYTHON) -m bench

docs: setup ## print the reference pages anew, from the code
	$(PYTHON) -m plait.core.reference docs/reference

clean: ## remove what was made, but not .venv
	rm -rf $(CACHES)
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

setup:
	@packaging/setup.sh

root:
	@[ "$$(id -u)" = 0 ] || { echo "make $(MAKECMDGOALS): needs root" >&2; exit 1; }

.PHONY: help demo test test-deep test-vm lint format bench docs clean setup root
