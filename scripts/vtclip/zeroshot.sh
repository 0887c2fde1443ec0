#!/usr/bin/env bash
# Zero-shot CLIP beside VT-CLIP; one run, for it reads no shots.
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
USAGE="DATASET [BACKBONE] [KEY VALUE ...]"
read_arguments ZeroshotCLIP "${1:-}" 0 "${@:2}"
exec "$PYTHON" "$ROOT/train.py" "${RUN[@]}" ${OPTIONS[@]+"${OPTIONS[@]}"}
