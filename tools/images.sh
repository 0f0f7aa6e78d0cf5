#!/bin/sh
# Builds the image of every service without a Docker daemon, by buildah, and prints how large they are.
# usage: images.sh [BASE]      BASE: the image to build on, or `stand-in`; default: the one that docker/Dockerfile names
# Where BASE cannot be had, a Debian of the same release with its own Python 3.11 stands in, made by debootstrap.
set -eu
cd "$(dirname "$0")/.."
folder=$PWD/.cache/images
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
base=${1:-$(sed -n 's/^ARG BASE=//p' docker/Dockerfile)}
stand_in=localhost/prognode-base:bookworm

images() { buildah --root "$folder/store" --runroot "$folder/run" "$@"; }

install_missing() {
    packages=''
    for package in buildah runc debootstrap; do
        command -v $package >/dev/null || PATH=$PATH:/usr/sbin command -v $package >/dev/null || packages="$packages $package"
    done
    [ -n "$packages" ] || return 0
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "Missing:$packages; as root on Debian or Ubuntu: apt-get install$packages" >&2
        exit 2
    fi
    apt-get update -qq
    # shellcheck disable=SC2086  # a list of package names
    DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends -y $packages >/dev/null
}

make_stand_in() {
    images inspect --type image $stand_in >/dev/null 2>&1 && return 0
    rm -rf "$folder/debian"
    mkdir -p "$folder/debian"
    PATH=$PATH:/usr/sbin debootstrap --variant=minbase \
        --include=ca-certificates,python3.11,python3.11-venv,python3-distutils bookworm "$folder/debian" >"$folder/debootstrap.log"
    rm -rf "$folder/debian/var/cache/apt" "$folder/debian/var/lib/apt/lists"
    container=$(images from scratch)
    images copy --quiet "$container" "$folder/debian" / >/dev/null
    images config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
    images commit --quiet --rm "$container" $stand_in >/dev/null
    rm -rf "$folder/debian"
}

# the machine's own certificates and package index hold during the build too, and are not in the image
of_this_machine() {
    for path in /etc/ssl/certs /usr/local/share/ca-certificates /etc/pip.conf; do
        [ ! -e $path ] || echo "--volume $path:$path:ro"
    done
}

build() {
    # shellcheck disable=SC2046  # a list of options
    images build --quiet --isolation chroot --layers --format docker $(of_this_machine) --pull-never \
        --build-arg "BASE=$base" --build-arg "VERSION=$version" --build-arg "REVISION=$(git rev-parse HEAD)" \
        --file docker/Dockerfile --target "$1" --tag "ghcr.io/prognode/prognode-$1:$version" . >"$folder/$1.log" 2>&1 || {
        tail -20 "$folder/$1.log" >&2
        return 1
    }
}

install_missing
mkdir -p "$folder"
if [ "$base" = stand-in ] || ! images pull --quiet "$base" >/dev/null 2>&1; then
    echo "  on a Debian that stands in for $(sed -n 's/^ARG BASE=//p' docker/Dockerfile)"
    make_stand_in
    base=$stand_in
fi
for service in $(sed -n 's/^FROM runtime AS //p' docker/Dockerfile); do
    build "$service"
    echo "  prognode-$service:$version  $(images images --format '{{.Size}}' "ghcr.io/prognode/prognode-$service:$version")"
done
