#!/bin/sh
# Makes the project's own Python environment, so that nothing but python3 (3.11 or newer) has to be there before.
# usage: make_environment.sh VENV PYTHON
set -eu
venv=$1
python=$2

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "Prognode needs Python 3.11 or newer; '$python' is $("$python" --version 2>&1)." \
        "Name another one: make PYTHON=python3.12 ..." >&2
    exit 2
}
"$python" -c 'import venv, ensurepip' 2>/dev/null || {
    echo "'$python' cannot make environments: its venv and ensurepip modules are missing." \
        "On Debian and Ubuntu the package python3-venv brings them: apt-get install python3-venv" >&2
    exit 2
}
"$python" -m venv --clear "$venv"
