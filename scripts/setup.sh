# Sourced by scripts/demo and scripts/test: an up-to-date .venv, made only when pyproject.toml has changed since.
# Usage: setup EXTRA, where EXTRA is "" or "[test]".

setup() {
  local extra="$1" stamp=".venv/.installed$1"
  local python="${PYTHON:-python3}"
  if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "autophagy needs Python 3.11 or newer; $python is $("$python" --version 2>&1). Set PYTHON to another one." >&2
    return 1
  fi
  if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
    echo "This Python cannot make virtual environments. On Debian: apt-get install python3-venv" >&2
    return 1
  fi
  if [ -f "$stamp" ] && cmp -s "$stamp" pyproject.toml && .venv/bin/python -c '' 2>/dev/null; then
    return 0
  fi
  echo "installing into .venv (a few minutes the first time)"
  [ -x .venv/bin/python ] || "$python" -m venv .venv
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --upgrade pip
  # the build backend warns that the root is a package, which is so on purpose
  PYTHONWARNINGS=ignore .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".$extra"
  cp pyproject.toml "$stamp"
}
