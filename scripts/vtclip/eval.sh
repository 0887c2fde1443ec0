#!/usr/bin/env bash
# Evaluate the seeds of VT-CLIP that main.sh trained once more.
exec bash "$(dirname "${BASH_SOURCE[0]}")/../eval.sh" VTCLIP "$@"
