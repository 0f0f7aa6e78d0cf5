#!/bin/sh
# Brings the jars of one Kafka broker for the tests: Maven resolves the pinned version of tools/kafka/pom.xml.
# usage: fetch_kafka.sh [FOLDER]      default .cache/kafka
set -eu
cd "$(dirname "$0")/.."
folder=${1:-.cache/kafka}
wanted=$(sha256sum tools/kafka/pom.xml | cut -c1-16)
[ "$(cat "$folder/VERSION" 2>/dev/null)" != "$wanted" ] || exit 0
command -v mvn >/dev/null || {
    echo 'the Kafka broker is left out: mvn, which fetches it, is not on the path' >&2
    [ "${CI:-}" != true ]
    exit
}
rm -rf "$folder"
mkdir -p "$folder"
mvn -q -B -f tools/kafka/pom.xml dependency:copy-dependencies -DincludeScope=runtime \
    -DoutputDirectory="$PWD/$folder" >&2
echo "$wanted" >"$folder/VERSION"
