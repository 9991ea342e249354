#!/bin/sh
# Makes .venv and installs requirements.txt, only when its text has changed since.
#   venv.sh run   what running needs (the part above "# Tests and checks")
#   venv.sh all   everything
set -eu
cd "$(dirname "$0")/.."
what=${1:-all}

fail() {
    echo "$*" >&2
    exit 1
}

find_python() {
    for name in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    return 1
}

if ! .venv/bin/python -c 'import pip' 2>/dev/null; then
    python=$(find_python) || fail "Python 3.11 or newer is needed and was not found: install it, or name it with PYTHON=/path/to/python3."
    echo "Making .venv with $("$python" --version)"
    rm -rf .venv
    "$python" -m venv .venv || fail "The virtual environment could not be made; Debian and Ubuntu need: apt-get install python3-venv"
fi

hash=$(cksum <requirements.txt)
[ "$(cat .venv/installed-all 2>/dev/null)" = "$hash" ] && exit 0
[ "$(cat ".venv/installed-$what" 2>/dev/null)" = "$hash" ] && exit 0

echo "Installing requirements.txt (a minute or so, only when it changes)"
rm -f .venv/installed-run .venv/installed-all
wanted=requirements.txt
if [ "$what" = run ]; then
    wanted=.venv/requirements-run.txt
    sed '/^# Tests and checks/,$d' requirements.txt >"$wanted"
fi
.venv/bin/python -m pip install --quiet --disable-pip-version-check -r "$wanted" ||
    fail "The packages could not be installed: pip's message above says why."
echo "$hash" >".venv/installed-$what"
