#!/bin/sh
# Brings the real components that the tests talk to (Orthanc, DCMTK, validators, Chromium, nginx, PostgreSQL), where it may.
# usage: system_packages.sh install    install what is missing, when root on a Debian system
#        system_packages.sh report     list what is left out and the command that brings it; fails when CI=true
set -eu
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin:/usr/local/go/bin
# Debian keeps PostgreSQL's servers off the path, a folder for each version
for folder in /usr/lib/postgresql/*/bin; do PATH=$PATH:$folder; done

missing_packages() {
    while IFS="$(printf '\t')" read -r component packages; do
        case $component in
        '#'*) ;;
        /*) [ -e "$component" ] || echo "$packages" ;;
        *) command -v "$component" >/dev/null || echo "$packages" ;;
        esac
    done <tools/components.tsv | tr '\n' ' '
}

install_missing() {
    packages=$(missing_packages)
    [ -n "$packages" ] || return 0
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "  not installed, the tests that need them are left out: $packages"
        return 0
    fi
    # the tests start their own servers on free ports: the packages' services are not to start
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod +x $policy
    fi
    echo "  apt-get install $packages"
    apt-get update -qq
    # shellcheck disable=SC2086  # a list of package names
    DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends -y $packages >/dev/null
}

# what the fetch scripts bring: folder of .cache, its name, how it comes
FETCHED='ohif|the OHIF viewer|tools/fetch_ohif.sh (needs npm)
kafka|the Kafka broker|tools/fetch_kafka.sh (needs java and mvn)
versitygw|the S3 server|tools/fetch_versitygw.sh (needs go)
triton|the Triton server|tools/fetch_triton.sh (needs Python 3.11)
hadolint|hadolint|tools/fetch_hadolint.sh
helm|Helm|tools/fetch_helm.sh (needs go)'

missing_fetched() {
    echo "$FETCHED" | while IFS='|' read -r folder name how; do
        [ -e ".cache/$folder/VERSION" ] || echo "  $name  -> $how"
    done
}

report() {
    packages=$(missing_packages)
    fetched=$(missing_fetched)
    [ -n "$packages$fetched" ] || return 0
    echo 'Left out of this run, for want of these components:'
    [ -z "$packages" ] || echo "  $packages  -> as root: apt-get install $packages"
    [ -z "$fetched" ] || echo "$fetched"
    [ "${CI:-}" != true ]
}

case ${1:-} in
install) install_missing ;;
report) report ;;
*) sed -n '2,4p' "$0" >&2; exit 2 ;;
esac
