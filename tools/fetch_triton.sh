#!/bin/sh
# Brings the Triton server of the tests: its binary comes in a Python wheel (Apache-2.0) and needs an environment of its own.
# usage: fetch_triton.sh [FOLDER]      default .cache/triton
set -eu
cd "$(dirname "$0")/.."
folder=${1:-.cache/triton}
requirements=tools/triton-requirements.txt
wanted=$(sha256sum $requirements | cut -c1-16)
[ "$(cat "$folder/VERSION" 2>/dev/null)" != "$wanted" ] || exit 0
python=$(command -v python3.11 || command -v python3)
"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || {
    echo 'the Triton server is left out: its Python backend is used with Python 3.11 here, which is not on the path' >&2
    [ "${CI:-}" != true ]
    exit
}
tools/make_environment.sh "$folder" "$python"
if command -v uv >/dev/null 2>&1 && ! env | grep -qE '^PIP_(EXTRA_)?INDEX_URL='; then
    UV_NATIVE_TLS=1 UV_SYSTEM_CERTS=1 uv pip install --quiet --python "$folder/bin/python" --require-hashes -r $requirements
else
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r $requirements
fi
echo "$wanted" >"$folder/VERSION"
