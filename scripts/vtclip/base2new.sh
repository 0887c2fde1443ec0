#!/usr/bin/env bash
# VT-CLIP trained on the first half of the classes, tested on both.
exec bash "$(dirname "${BASH_SOURCE[0]}")/../base2new.sh" VTCLIP "$@"
