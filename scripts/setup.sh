# Defines `setup EXTRA` for scripts/demo and scripts/test. It installs the package into .venv, with the extra "" or "[test]".
# It does nothing if pyproject.toml has not changed since the last installation.

setup() {
  local extra="$1" stamp=".venv/.installed$1"
  local python="${PYTHON:-python3}"
  if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "error: autophagy needs Python 3.11 or newer; $python is $("$python" --version 2>&1). Set the variable PYTHON to a newer interpreter." >&2
    return 1
  fi
  if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
    echo "error: $python cannot create virtual environments. On Debian: apt-get install python3-venv" >&2
    return 1
  fi
  if [ -f "$stamp" ] && cmp -s "$stamp" pyproject.toml && .venv/bin/python -c '' 2>/dev/null; then
    return 0
  fi
  echo "installing into .venv (a few minutes the first time)"
  [ -x .venv/bin/python ] || "$python" -m venv .venv
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --upgrade pip
  # hide a warning of the build backend: the repository root is the package
  PYTHONWARNINGS=ignore .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".$extra"
  cp pyproject.toml "$stamp"
}
