#!/bin/sh
# Build the wheel, install it into an empty environment outside the checkout, and run a small demo there.
# Usage: wheel_in_an_empty_environment.sh PYTHON CONSTRAINTS
set -eu
checkout=$(pwd)
constraints=$(realpath "$2")
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"$1" -m build --wheel --outdir "$place/dist" "$checkout" >"$place/build.log" 2>&1 || { cat "$place/build.log"; exit 1; }
python3 -m venv "$place/env"
"$place/env/bin/pip" install --quiet -c "$constraints" "$place"/dist/*.whl
cd "$place"
"$place/env/bin/autointerp" demo --sample 40 --set corpus.n_tokens=60000
"$place/env/bin/autointerp" search runs/demo "error handling" --top-k 3
"$place/env/bin/autointerp" calibrate demo --puzzles token --set corpus.n_tokens=60000
"$place/env/bin/autointerp" new my.toml --from gpt2-small
if "$place/env/bin/pip" list 2>/dev/null | grep -q -i -E '^(ray|openai|anthropic) '; then
  echo "an extra was installed although nobody asked for it" >&2
  exit 1
fi
