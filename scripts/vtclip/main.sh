#!/usr/bin/env bash
# VT-CLIP with seeds 1 to 3, and the mean.
exec bash "$(dirname "${BASH_SOURCE[0]}")/../run.sh" VTCLIP "$@"
