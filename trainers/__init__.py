"""The methods, one file each; importing this package registers them all with Dassl."""

from trainers import vtclip, zsclip

__all__ = ["vtclip", "zsclip"]
