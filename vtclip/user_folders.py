"""The user's own folders, which a user of a container may not have."""

from __future__ import annotations

from pathlib import Path

from platformdirs import user_cache_path

from vtclip.errors import UserError


def user_cache(way_out: str) -> Path:
    """Return the folder of this project in the user's cache folder; nothing need be there.

    Args:
        way_out: what to set where there is none, for the message.

    Raises:
        UserError: the user has no home folder (neither HOME nor an entry in passwd).
    """
    try:
        folder = user_cache_path("vtclip")
    except RuntimeError:
        folder = None
    # older versions of platformdirs leave the ~ of an unknown home as it is
    if folder is None or not folder.is_absolute():
        raise UserError(f"~/.cache/vtclip: this user has no home folder; set HOME, or {way_out}.")
    return folder
