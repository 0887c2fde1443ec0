"""VT-CLIP: texts of CLIP guided by what they see, for few-shot classification.

The layers, methods, backbones and features are plain PyTorch; Dassl is used by
:mod:`vtclip.engine` and the modules that prepare a run for it.
"""

__version__ = "0.1.0"
