from typing import TYPE_CHECKING

from dassl._lazy import lazy_names

if TYPE_CHECKING:
    from dassl.data.transforms.build import INTERPOLATION_MODES, build_transform

__all__ = ["INTERPOLATION_MODES", "build_transform"]

# Importing torchvision takes longer than all the rest; only building a transform needs it.
__getattr__ = lazy_names(__name__, {"INTERPOLATION_MODES": "build", "build_transform": "build"})
