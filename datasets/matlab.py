"""MATLAB files, which some datasets keep their labels in."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

from vtclip.errors import UserError
from vtclip.extras import require
from vtclip.files import require_file


def read_variable(path: Path, name: str) -> Any:
    """Return the first row of a variable of a .mat file.

    Raises:
        UserError: the file is missing or not such a file, or lacks the variable.
    """
    require("datasets", str(path), ["scipy"])
    # scipy takes a second to import, and only random splits need it
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        require_file(path)
        return loadmat(path)[name][0]
    except OSError as error:
        raise UserError(f"{path}: needed for a random split, but {error.strerror}.") from error
    except KeyError:
        raise UserError(f"{path}: lacks the variable {name!r}; fetch it again.") from None
    except (MatReadError, ValueError, TypeError, IndexError, OverflowError, zlib.error) as error:
        raise UserError(f"{path}: not a MATLAB file; fetch it again.") from error
