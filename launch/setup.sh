#!/usr/bin/env bash
# Sets up everything this project needs into .venv: Debian packages (as root), then the pinned Python
# packages by role. Quick when nothing changed. `PYTHON=python3.12 bash launch/setup.sh` picks an interpreter.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

find_python() {
  for candidate in ${PYTHON:-} python3.11 python3.12 python3; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  echo "error: found no Python 3.11 or 3.12 (looked for: ${PYTHON:-} python3.11 python3.12 python3). Install python3.11 and run again." >&2
  exit 1
}

missing_system_packages() {
  ldconfig -p | grep -q libOSMesa || echo libosmesa6
  "$1" -c 'import ensurepip' 2>/dev/null || echo "python$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
}

install_system_packages() {
  local missing
  missing=$(missing_system_packages "$1" | tr '\n' ' ')
  [ -n "${missing// /}" ] || return 0
  if [ "$(id -u)" != 0 ]; then
    echo "error: missing Debian packages. As root, run: apt-get install -y --no-install-recommends $missing" >&2
    exit 1
  fi
  echo "installing Debian packages: $missing"
  apt-get update -qq
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

python=$(find_python)
install_system_packages "$python"

stamp=$({ "$python" --version; cat requirements.txt requirements/*.txt pyproject.toml launch/setup.sh; } | sha256sum | cut -d' ' -f1)
if [ -x .venv/bin/python ] && [ "$(cat .venv/setup-stamp 2>/dev/null)" = "$stamp" ]; then
  exit 0
fi

echo "setting up .venv with $("$python" --version) (about 3.5 GB, TensorFlow included for writing RLDS)"
export PIP_DISABLE_PIP_VERSION_CHECK=1
[ -x .venv/bin/python ] || "$python" -m venv .venv
.venv/bin/python -m pip install -q uv==0.13.8
uv="env VIRTUAL_ENV=$PWD/.venv .venv/bin/uv pip"
$uv install -q -c requirements/constraints.txt -r requirements.txt -r requirements/rlds.txt -r requirements/lerobot.txt -r requirements/serving.txt -r requirements/test.txt
$uv install -q --no-deps -r requirements/simulator.txt
$uv install -q --no-deps -e .
# Compiled once and quietly: the simulator's sources warn about their escape sequences.
.venv/bin/python -W ignore -m compileall -q .venv/lib/python3*/site-packages/{robosuite,libero,bddl} >/dev/null || true
echo "$stamp" > .venv/setup-stamp
