#!/bin/sh
# Builds Docker's compose (Apache-2.0), one pinned version, checked by Go's checksum data base: it reads docker/compose.yaml
# as users' machines do, and needs no Docker daemon for that.
# usage: fetch_compose.sh [FOLDER]      default .cache/compose
set -eu
version=v5.6.0
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/local/go/bin
folder=${1:-.cache/compose}
[ "$(cat "$folder/VERSION" 2>/dev/null)" != $version ] || exit 0
command -v go >/dev/null || { echo 'compose needs go, which is not on the path' >&2; exit 2; }
rm -rf "$folder"
mkdir -p "$folder"
# its module excludes some versions, which `go install` does not accept: it is built from its own folder
sources=$(go mod download -json "github.com/docker/compose/v5@$version" | sed -n 's/^\t*"Dir": "\(.*\)",*$/\1/p')
out=$(cd "$folder" && pwd)
(cd "$sources" && go build -trimpath -mod=readonly -o "$out/docker-compose" ./cmd)
echo $version >"$folder/VERSION"
