"""Everything that a trainer needs to know about its data."""

from collections.abc import Callable, Sequence
from typing import Any

from tabulate import tabulate
from torch.utils.data import Dataset
from yacs.config import CfgNode

from dassl.data import transforms
from dassl.data.datasets import Datum, build_dataset
from dassl.data.loaders import Loader, build_data_loader
from dassl.data.samplers import SAMPLERS
from dassl.data.transforms.types import Transform
from dassl.utils import check_availability
from dassl.utils.checks import check_whole

Transforms = Transform | Sequence[Transform]


class DataManager:
    """The dataset of a configuration and its loaders.

    Attributes:
        dataset: the `DatasetBase`.
        train_loader_x: loader of the labelled training images.
        train_loader_u: loader of those used without label; None where there are none.
        val_loader: loader of the validation images; None where there are none.
        test_loader: loader of the test images.
        num_classes: number of classes.
        num_source_domains: number of domains in `DATASET.SOURCE_DOMAINS`.
        lab2cname: class name of each label.
    """

    def __init__(
        self,
        cfg: CfgNode,
        custom_tfm_train: Transforms | None = None,
        custom_tfm_test: Transforms | None = None,
        dataset_wrapper: Callable[..., Dataset[dict[str, Any]]] | None = None,
    ) -> None:
        """Build dataset and loaders.

        Args:
            cfg: the configuration.
            custom_tfm_train: transform, or several, for training instead of INPUT's.
            custom_tfm_test: the same for validation and test.
            dataset_wrapper: what to use instead of `DatasetWrapper`.

        Raises:
            ValueError: there are no test images, or the configuration names something unknown.
        """
        node = cfg.DATALOADER
        node_u = node.TRAIN_X if node.TRAIN_U.SAME_AS_X else node.TRAIN_U
        for key in ("TRAIN_X", "TRAIN_X" if node_u is node.TRAIN_X else "TRAIN_U", "TEST"):
            check_availability(node[key].SAMPLER, SAMPLERS, f"DATALOADER.{key}.SAMPLER")
            check_whole(node[key].BATCH_SIZE, f"DATALOADER.{key}.BATCH_SIZE", low=1)
        dataset = build_dataset(cfg)
        if not dataset.test:
            raise ValueError(f"DATASET.NAME: {cfg.DATASET.NAME} has no test images")
        tfm_train, tfm_test = custom_tfm_train, custom_tfm_test
        if tfm_train is None:
            tfm_train = transforms.build_transform(cfg, is_train=True)
        if tfm_test is None:
            tfm_test = transforms.build_transform(cfg, is_train=False)

        def loader(
            data: Sequence[Datum], node: CfgNode, tfm: Transforms | None, is_train: bool
        ) -> Loader:
            return build_data_loader(
                cfg,
                sampler_type=node.SAMPLER,
                data_source=data,
                batch_size=node.BATCH_SIZE,
                n_domain=node.get("N_DOMAIN", 0),
                n_ins=node.get("N_INS", 16),
                tfm=tfm,
                is_train=is_train,
                dataset_wrapper=dataset_wrapper,
            )

        self.dataset = dataset
        self.train_loader_x = loader(dataset.train_x, node.TRAIN_X, tfm_train, True)
        self.train_loader_u = (
            loader(dataset.train_u, node_u, tfm_train, True) if dataset.train_u else None
        )
        self.val_loader = loader(dataset.val, node.TEST, tfm_test, False) if dataset.val else None
        self.test_loader = loader(dataset.test, node.TEST, tfm_test, False)
        self.num_classes = dataset.num_classes
        self.num_source_domains = len(cfg.DATASET.SOURCE_DOMAINS)
        self.lab2cname = dataset.lab2cname
        if cfg.VERBOSE:
            self.show_dataset_summary(cfg)

    def show_dataset_summary(self, cfg: CfgNode) -> None:
        """Print the name of the dataset and the sizes of its parts."""
        dataset = self.dataset
        rows: list[tuple[str, str]] = [
            ("Dataset", cfg.DATASET.NAME),
            ("# classes", f"{self.num_classes:,}"),
            ("# train_x", f"{len(dataset.train_x):,}"),
            ("# train_u", f"{len(dataset.train_u):,}"),
            ("# val", f"{len(dataset.val):,}"),
            ("# test", f"{len(dataset.test):,}"),
        ]
        for title, domains in (
            ("Source", cfg.DATASET.SOURCE_DOMAINS),
            ("Target", cfg.DATASET.TARGET_DOMAINS),
        ):
            if domains:
                rows.append((title, ", ".join(domains)))
        print(tabulate(rows))
