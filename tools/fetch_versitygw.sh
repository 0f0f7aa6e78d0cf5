#!/bin/sh
# Builds the S3 server of the tests: versitygw (Apache-2.0), one pinned version, checked by Go's checksum data base.
# usage: fetch_versitygw.sh [FOLDER]      default .cache/versitygw
set -eu
version=v1.8.0
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/local/go/bin
folder=${1:-.cache/versitygw}
if [ -x "$folder/versitygw" ] && [ "$(cat "$folder/VERSION" 2>/dev/null)" = $version ]; then exit 0; fi
command -v go >/dev/null || {
    echo 'the S3 server is left out: go, which builds it, is not on the path' >&2
    [ "${CI:-}" != true ]
    exit
}
mkdir -p "$folder"
GOBIN=$(cd "$folder" && pwd) GOFLAGS=-trimpath go install "github.com/versity/versitygw/cmd/versitygw@$version" || {
    echo "the S3 server is left out: it could not be built; it needs a newer Go than $(go version | cut -d' ' -f3)," \
        'or the way to its modules' >&2
    [ "${CI:-}" != true ]
    exit
}
echo $version >"$folder/VERSION"
