"""The configuration of a run: its keys, how files and options are merged, and what is refused.

`keys` lists every key with its type, range or choices; `merge` reads YAML files and KEY VALUE
pairs; `check` refuses values that cannot work. A CoOp fork needs :func:`extend_cfg` alone.
"""

from vtclip.config.check import check_cfg
from vtclip.config.extend import extend_cfg
from vtclip.config.keys import Domain, Option
from vtclip.config.merge import flatten, merge_file, merge_values, read_file, read_options

__all__ = [
    "Domain",
    "Option",
    "check_cfg",
    "extend_cfg",
    "flatten",
    "merge_file",
    "merge_values",
    "read_file",
    "read_options",
]
