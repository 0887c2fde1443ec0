"""VT-CLIP: texts of CLIP guided by what they see, for few-shot classification.

The library is plain PyTorch; :mod:`vtclip.engine` is the only module that knows Dassl.
"""

__version__ = "0.1.0"
