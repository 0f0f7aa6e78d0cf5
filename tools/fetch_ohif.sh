#!/bin/sh
# Brings the built OHIF viewer (MIT) for the viewer test: one pinned package, checked against its published hash.
# usage: fetch_ohif.sh [FOLDER]      default .cache/ohif
set -eu
version=3.12.10
integrity=sha512-0kuF66Mq9c9dMD++bUsTjMrJpXJwaZhz9B4uS244DawAjSkTwIYFU93pxPuRUQixaRi7QAHlF3Fe1qudBlZrmA==

folder=${1:-$(dirname "$0")/../.cache/ohif}
[ "$(cat "$folder/VERSION" 2>/dev/null)" != $version ] || exit 0
command -v npm >/dev/null || {
    echo 'the OHIF viewer is left out: npm, which fetches it, is not on the path' >&2
    [ "${CI:-}" != true ]
    exit
}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
npm pack --silent --pack-destination "$scratch" "@ohif/app@$version" >/dev/null
archive=$(echo "$scratch"/*.tgz)
python3 - "$archive" $integrity <<'PYTHON'
import base64, hashlib, pathlib, sys
found = "sha512-" + base64.b64encode(hashlib.sha512(pathlib.Path(sys.argv[1]).read_bytes()).digest()).decode()
sys.exit(None if found == sys.argv[2] else f"the OHIF package is not the pinned one: {found}")
PYTHON
mkdir "$scratch/viewer"
tar -xzf "$archive" -C "$scratch/viewer" --strip-components=2 package/dist
# source maps are for debugging the viewer and are most of its size
find "$scratch/viewer" -name '*.map' -delete
echo $version >"$scratch/viewer/VERSION"
rm -rf "$folder"
mkdir -p "$(dirname "$folder")"
mv "$scratch/viewer" "$folder"
chmod -R a+rX "$folder"
