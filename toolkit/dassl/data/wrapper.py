"""A list of images as a torch dataset."""

from collections.abc import Sequence
from typing import Any

from torch.utils.data import Dataset
from yacs.config import CfgNode

from dassl.data.datasets import Datum
from dassl.data.transforms.types import Transform
from dassl.utils import check_availability, read_image
from dassl.utils.checks import check_whole


class DatasetWrapper(Dataset[dict[str, Any]]):
    """Reads and transforms the image of each `Datum`.

    An item is a dict of `label`, `domain`, `impath`, `index` (the place in the list) and `img`:
    the transformed image, or the PIL image where there is no transform. A tuple of transforms
    gives `img`, `img2`, `img3`, ... With `DATALOADER.K_TRANSFORMS` above 1, each of these is in
    training a list of that many independent views. `DATALOADER.RETURN_IMG0` adds `img0`, the image
    resized and normalised without augmentation.
    """

    def __init__(
        self,
        cfg: CfgNode,
        data_source: Sequence[Datum],
        transform: Transform | Sequence[Transform] | None = None,
        is_train: bool = False,
    ) -> None:
        """Keep the list and its transforms.

        Raises:
            ValueError: several views are wanted of an image that is not transformed.
        """
        self.data_source = data_source
        self.transforms: list[Transform | None] = (
            list(transform) if isinstance(transform, Sequence) else [transform]
        )
        check_whole(cfg.DATALOADER.K_TRANSFORMS, "DATALOADER.K_TRANSFORMS", low=1)
        self.k_views = cfg.DATALOADER.K_TRANSFORMS if is_train else 1
        if self.k_views > 1 and transform is None:
            raise ValueError(
                f"DATALOADER.K_TRANSFORMS: {self.k_views} views need a transform, there is none"
            )
        self.to_img0 = _plain_transform(cfg.INPUT) if cfg.DATALOADER.RETURN_IMG0 else None

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.data_source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return the item at `index`.

        Raises:
            OSError: its image cannot be read.
        """
        datum = self.data_source[index]
        image = read_image(datum.impath)
        item: dict[str, Any] = {
            "label": datum.label,
            "domain": datum.domain,
            "impath": datum.impath,
            "index": index,
        }
        for place, transform in enumerate(self.transforms, start=1):
            item["img" if place == 1 else f"img{place}"] = self._views(image, transform)
        if self.to_img0 is not None:
            item["img0"] = self.to_img0(image)
        return item

    def _views(self, image: Any, transform: Transform | None) -> Any:
        if transform is None:
            return image
        if self.k_views == 1:
            return transform(image)
        return [transform(image) for _ in range(self.k_views)]


def _plain_transform(node: CfgNode) -> Transform:
    from torchvision import transforms as tv

    from dassl.data.transforms import INTERPOLATION_MODES

    check_availability(node.INTERPOLATION, INTERPOLATION_MODES, "INPUT.INTERPOLATION")
    mode = INTERPOLATION_MODES[node.INTERPOLATION]
    steps = [
        tv.Resize(node.SIZE, interpolation=mode),
        tv.ToTensor(),
        tv.Normalize(node.PIXEL_MEAN, node.PIXEL_STD),
    ]
    transform: Transform = tv.Compose(steps)
    return transform
