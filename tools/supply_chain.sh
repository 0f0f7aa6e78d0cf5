#!/bin/sh
# What the product is made of, and what is known against it.
# usage: supply_chain.sh sbom FILE      a CycloneDX document of the packages that run, with licences
#        supply_chain.sh audit          known vulnerabilities of requirements.lock; needs the way to their data base
set -eu
cd "$(dirname "$0")/.."
what=$1
folder=.cache/supply

# an environment with nothing but what runs, and the tools in one of their own
environment() {
    name=$1
    lock=$2
    shift 2
    wanted=$(cat "$lock" pyproject.toml | sha256sum | cut -c1-16)
    [ "$(cat "$folder/$name/VERSION" 2>/dev/null)" != "$wanted" ] || return 0
    tools/make_environment.sh "$folder/$name" python3
    "$@"
    echo "$wanted" >"$folder/$name/VERSION"
}

echo '== the tools'
environment tools tools/supply-requirements.txt \
    "$folder/tools/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes \
    -r tools/supply-requirements.txt

case $what in
sbom)
    echo '== packages of requirements.lock'
    environment runtime requirements.lock tools/install_locked.sh "$folder/runtime" requirements.lock
    "$folder/runtime/bin/python" -m pip uninstall --quiet --yes setuptools pip 2>/dev/null || true
    mkdir -p "$(dirname "$2")"
    "$folder/tools/bin/cyclonedx-py" environment --pyproject pyproject.toml --output-reproducible \
        --output-format JSON --validate --output-file "$2" "$folder/runtime/bin/python"
    echo "$2: $(grep -c '"purl"' "$2") components"
    ;;
audit)
    # strict: a package that could not be looked up is a failure, not a line to overlook
    "$folder/tools/bin/pip-audit" --strict --require-hashes --disable-pip --progress-spinner off -r requirements.lock
    ;;
esac
