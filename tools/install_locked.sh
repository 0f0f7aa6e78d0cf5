#!/bin/sh
# Installs exactly what a lock file names, every file checked against its hash, then the project itself.
# uv is used where it is on the path; where pip has been told of an index of its own, pip is used, since uv does
# not read pip's configuration.
# usage: install_locked.sh VENV LOCK
set -eu
venv=$1
lock=$2
python=$venv/bin/python

says_where() { env | grep -qE '^PIP_(EXTRA_)?INDEX_URL=' || python3 -m pip config list 2>/dev/null | grep -qE 'index-url'; }

if command -v uv >/dev/null 2>&1 && uv --version >/dev/null 2>&1 && ! says_where; then
    # the machine's own certificates, as pip takes them, also on a network that signs its own
    export UV_NATIVE_TLS="${UV_NATIVE_TLS:-1}" UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-1}"
    install() { uv pip install --quiet --python "$python" "$@"; }
else
    "$python" -m pip --version >/dev/null 2>&1 || "$python" -m ensurepip >/dev/null
    install() { "$python" -m pip install --quiet --disable-pip-version-check "$@"; }
fi
install --require-hashes -r "$lock"
# the build backend comes from the lock too, so nothing unlocked is fetched for the build
install --no-deps --no-build-isolation --editable .
