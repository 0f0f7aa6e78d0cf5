#!/bin/sh
# Writes the lock files: every dependency for Python 3.11 and newer on any system, with hashes and no index addresses.
# Each holds the one before in the same versions: what the services need, with the laboratory, with the tools.
set -eu
cd "$(dirname "$0")/.."
export UV_NATIVE_TLS="${UV_NATIVE_TLS:-1}" UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-1}"

# the build backend is locked with the rest, because the project is installed without build isolation
backend=$(mktemp --suffix=.in)
trap 'rm -f "$backend"' EXIT
python3 - >"$backend" <<'PYTHON'
import tomllib
from pathlib import Path
print(*tomllib.loads(Path("pyproject.toml").read_text())["build-system"]["requires"], "editables", sep="\n")
PYTHON

compile_lock() {
    lock=$1
    shift
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
        --no-annotate --custom-compile-command 'make lock' "$@" "$backend" pyproject.toml --output-file "$lock"
}
compile_lock requirements.lock --upgrade --extra laboratory
compile_lock requirements-services.lock --constraint requirements.lock
compile_lock requirements-dev.lock --upgrade --extra laboratory --extra dev --constraint requirements.lock
