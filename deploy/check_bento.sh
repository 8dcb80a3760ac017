#!/usr/bin/env bash
# Builds the Bento, serves it in a clean environment with the packages that it pins, and asks it one question.
# Usage: deploy/check_bento.sh [PYTHON]; wants uv and bentoml beside PYTHON (default: .venv/bin/python).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=$(realpath -s "${1:-.venv/bin/python}")
bin=$(dirname "$python")
folder=$(mktemp -d)
server=
stop() {
    if [[ -n $server ]]; then kill "$server" 2>/dev/null && wait "$server" || true; fi
    rm -rf "$folder"
}
trap stop EXIT
export BENTOML_HOME=$folder/bentoml BENTOML_DO_NOT_TRACK=True OTEL_SDK_DISABLED=true

began=$SECONDS
tag=$("$bin/bentoml" build --output tag . | sed -n 's/^__tag__://p')
echo "built $tag ($((SECONDS - began)) s)"

began=$SECONDS
"$bin/uv" venv --quiet --python "$("$python" -c 'import sys; print(sys.base_prefix + "/bin/python3")')" "$folder/env"
"$bin/uv" pip install --quiet --python "$folder/env/bin/python" -r "$BENTOML_HOME/bentos/${tag/://}/env/python/requirements.txt"
echo "installed what it pins ($((SECONDS - began)) s)"

source=$BENTOML_HOME/bentos/${tag/://}/src
(cd "$source" && env -u PYTHONPATH "$folder/env/bin/python" payrescue.py keys --help >/dev/null)
echo "its command line starts"

began=$SECONDS
secret=check-$RANDOM$RANDOM$RANDOM
hash=$(printf %s "$secret" | sha256sum | cut -d' ' -f1)
printf 'keys: [{name: check, scopes: [score], sha256: %s}]\n' "$hash" >"$folder/keys.yaml"
port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cd "$folder"
env -u PYTHONPATH PAYRESCUE_HOST=127.0.0.1 PAYRESCUE_PORT="$port" PAYRESCUE_KEYS="$folder/keys.yaml" PAYRESCUE_MODEL=none \
    "$folder/env/bin/python" -m bentoml serve "$tag" >"$folder/log" 2>&1 &
server=$!
for _ in $(seq 600); do
    curl -sf "http://127.0.0.1:$port/readyz" >/dev/null && break
    kill -0 "$server" 2>/dev/null || { cat "$folder/log" >&2; exit 1; }
    sleep 0.1
done
answer=$(curl -sS --fail-with-body --max-time 10 "http://127.0.0.1:$port/v1/score" -H "authorization: Bearer $secret" \
    -H 'content-type: application/json' -d '{"attempt": {"attempt_id": "a1", "payment_id": "p1",
    "created_at": "2026-01-05T09:30:00Z", "amount_minor": 38000, "currency": "KRW", "country": "KR", "method": "card"},
    "evidence": {"code_scheme": "iso8583", "response_code": "51"}}')
case $answer in
*'"action":"alternate_method"'*) echo "served, and it answers ($((SECONDS - began)) s)" ;;
*)
    echo "not the answer: $answer" >&2
    exit 1
    ;;
esac
