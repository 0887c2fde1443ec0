"""The type of a transform, for modules that do without torchvision."""

from collections.abc import Callable
from typing import Any

Transform = Callable[[Any], Any]
