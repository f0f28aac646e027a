#!/usr/bin/env bash
# Everything about a GPU, in under 8 minutes, on a bare machine with torch, sam2 and OpenCV:
#   bash benchmarks/gpu_all.sh [FOLDER]       writes FOLDER/*.json (benchmarks/results by default)
# Each part has a time limit of its own and writes what it has; a part that fails does not end the others, and the exit
# code counts those that did. PYTHON names the interpreter.
set -uo pipefail
cd "$(dirname "$0")/.."
out=${1:-benchmarks/results}
python=${PYTHON:-python3}
mkdir -p "$out"
failed=0
part() { # seconds, name, command ...
  local limit=$1 name=$2
  shift 2
  local began=$SECONDS
  timeout --kill-after=5 "$limit" "$@"
  local code=$?
  echo "gpu_all: $name: exit $code after $((SECONDS - began)) s"
  [ "$code" = 0 ] || failed=$((failed + 1))
}
"$python" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' || {
  echo "gpu_all: torch sees no CUDA device; check the driver with nvidia-smi" >&2
  exit 1
}
if "$python" -c 'import pytest' 2>/dev/null; then
  part 110 tests "$python" -m pytest -q -m gpu -p no:cacheprovider tests/overlay tests/models tests/synthetic
fi
part 60 gpu_stream "$python" -m benchmarks.gpu_stream --json "$out/gpu_stream.json"
part 130 sam2_engine "$python" -m benchmarks.sam2_engine --cases tiny:1024:2,1,4 large:1024:2:4 tiny:512:2 \
  --peers upstream transformers --precisions bfloat16 --json "$out/sam2_engine_gpu.json"
part 70 sam2_sessions "$python" -m benchmarks.sam2_sessions --sessions 1 4 8 --rounds 3 --json "$out/sam2_sessions_gpu.json"
part 40 builtin_redetector "$python" -m benchmarks.gpu_redetector --json "$out/gpu_redetector.json"
echo "gpu_all: $failed parts failed; results in $out"
exit "$failed"
