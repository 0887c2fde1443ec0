from typing import TYPE_CHECKING

from dassl._lazy import lazy_names

if TYPE_CHECKING:
    from dassl.data.loaders import build_data_loader
    from dassl.data.manager import DataManager
    from dassl.data.wrapper import DatasetWrapper

__all__ = ["DataManager", "DatasetWrapper", "build_data_loader"]

# Lists of images (`dassl.data.datasets`) are of use without torch.
__getattr__ = lazy_names(
    __name__,
    {"DataManager": "manager", "DatasetWrapper": "wrapper", "build_data_loader": "loaders"},
)
