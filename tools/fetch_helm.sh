#!/bin/sh
# Builds Helm (Apache-2.0) for the tests of the chart: one pinned version, checked by Go's checksum data base. Version 4,
# because 3 is at the end of its support; the chart uses nothing that 3 lacks.
# usage: fetch_helm.sh [FOLDER]      default .cache/helm
set -eu
version=v4.3.1
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/local/go/bin
folder=${1:-.cache/helm}
[ "$(cat "$folder/VERSION" 2>/dev/null)" != $version ] || [ ! -x "$folder/helm" ] || exit 0
command -v go >/dev/null || {
    echo 'Helm is left out: go, which builds it, is not on the path' >&2
    [ "${CI:-}" != true ]
    exit
}
mkdir -p "$folder"
GOBIN=$(cd "$folder" && pwd) GOFLAGS=-trimpath go install "helm.sh/helm/v4/cmd/helm@$version" || {
    echo "Helm is left out: it could not be built; it needs a newer Go than $(go version | cut -d' ' -f3)," \
        'or the way to its modules' >&2
    [ "${CI:-}" != true ]
    exit
}
echo $version >"$folder/VERSION"
