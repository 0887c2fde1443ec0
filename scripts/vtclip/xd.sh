#!/usr/bin/env bash
# VT-CLIP trained on one dataset, tested on others.
exec bash "$(dirname "${BASH_SOURCE[0]}")/../xd.sh" VTCLIP "$@"
