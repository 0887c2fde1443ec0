"""MATLAB files, which some datasets keep their labels in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vtclip.errors import UserError


def read_mat(path: Path) -> dict[str, Any]:
    """Return the variables of a .mat file.

    Raises:
        UserError: it is missing or not such a file.
    """
    # scipy takes a second to import, and only random splits need it
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        variables: dict[str, Any] = loadmat(path)
    except OSError as error:
        raise UserError(f"{path}: needed for a random split, but {error.strerror}.") from error
    except (MatReadError, ValueError) as error:
        raise UserError(f"{path}: not a MATLAB file; fetch it anew.") from error
    return variables
