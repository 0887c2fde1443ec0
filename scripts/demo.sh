#!/usr/bin/env bash
# Zero-shot CLIP and VT-CLIP on real handwritten digits, 1 to 16 shots, 3 seeds, then one table.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/.."
python=${PYTHON:-python}

bash scripts/run.sh ZeroshotCLIP digits 16 > /dev/null
echo "zero-shot CLIP: done"
for shots in 1 2 4 8 16; do
    bash scripts/vtclip/main.sh digits "$shots" > /dev/null
    echo "VT-CLIP, shots $shots: done"
done
"$python" parse_test_res.py output/digits --table --rows shots --columns seeds,seconds,parameters
