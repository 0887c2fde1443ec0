"""Finished runs for other programs: an ONNX graph, and a folder for a model hub."""

from vtclip.export.folder import check_new_folder, write_folder
from vtclip.export.onnx_file import export_onnx, require_onnx

__all__ = ["check_new_folder", "export_onnx", "require_onnx", "write_folder"]
