"""The configuration of a training: datasets, optimizer, hold-out, and the recipe of them all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from trg.network.checkpoint import IMAGENET_URL
from trg.network.config import TRGConfig
from trg.network.losses import LossWeights
from trglab.synth.holdout import WINDOW_MARGIN, WINDOW_SCALE, left_out_ingredients
from trglab.training.augment import AugmentConfig

VIEW_STORE = "trglab.datasets.view_store:ViewStore"

RANDOM_WEIGHTS = "random weights"

InitialEstimateKind = Literal["template", "sample", "mean"]


@dataclass(frozen=True, slots=True)
class DatasetConfig:
    """A dataset, and how its samples are read."""

    target: str
    """``module:callable``, called with ``options``."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Plain values, so that a checkpoint can hold them."""
    weight: float = 1.0
    """Share of each batch, relative to the other datasets."""
    buffer_size: int = 8192
    """Views kept ready, from which each batch is chosen if ``reuse`` is above 1."""
    reuse: int = 1
    """1: a finite dataset's samples come exactly once per epoch. Above: mean number of uses of a
    view before it is replaced. Rendering costs more than training, and each use is augmented
    anew."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Augmentation of the views in a training; hold-outs are not augmented."""

    @property
    def is_view_store(self) -> bool:
        """Whether this is a store of views that are cut already."""
        return self.target == VIEW_STORE


@dataclass(frozen=True, slots=True)
class OptimConfig:
    """Optimizer and learning rate."""

    optimizer: Literal["adam", "adamw"] = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    """AdamW only; not applied to biases and normalization layers."""
    warmup_steps: int = 500
    """Steps of linear warm-up."""
    schedule: Literal["cosine", "step"] = "cosine"
    step_at: float = 2.0 / 3.0
    """Schedule ``step``: share of the training after which the rate drops to a tenth."""
    clip_norm: float | None = 5.0
    """Maximum norm of the gradient; None: no clipping."""
    ema_decay: float | None = 0.999
    """Decay of the exponential moving average of the weights, which is validated and exported;
    None: no average."""


@dataclass(frozen=True, slots=True)
class HoldoutConfig:
    """The samples that a training is measured on."""

    dataset: DatasetConfig
    count: int = 1000


@dataclass(frozen=True, slots=True)
class Recipe:
    """The configuration of a training."""

    name: str
    model: TRGConfig
    datasets: tuple[DatasetConfig, ...]
    holdout: HoldoutConfig | None
    steps: int
    batch_size: int
    optim: OptimConfig = field(default_factory=OptimConfig)
    losses: LossWeights = field(default_factory=LossWeights)
    backbone_weights: str | None = None
    """File with torchvision's resnet18 weights to initialize the backbone, as the paper does with
    ImageNet's, or ``torchvision`` for those of an installed torchvision; None: random weights."""
    expects_imagenet: bool = False
    """Whether the backbone should start from ImageNet weights; a training without them warns."""
    initial_estimate: InitialEstimateKind = "template"
    """R_0 and V_0: "template", identity and the mesh's template; "sample", rotation and vertices of
    a training sample that the seed draws, as in the paper; "mean", the means over 1000 of them.
    Weights of ``start_from`` keep theirs."""
    start_from: str | None = None
    """Checkpoint or bundle to initialize all weights from, of this network or a part of it; None:
    a new network."""
    features_from: str | None = None
    """Checkpoint or bundle to take the backbone, decoder and heatmaps from, frozen. Only samplers
    and regressors are trained, to compare them on equal features in a third of the time."""
    hidden_landmark_weight: float = 1.0
    """Weight of landmarks that the camera does not see, in the losses of the 68 landmarks."""
    view_margin: float = WINDOW_MARGIN
    """Side of a view over the side of the face box, to leave a margin for jitter and roll."""
    view_scale: float = WINDOW_SCALE
    """Side of a view over the side of the network's crop, in pixels."""
    precision: Literal["bf16", "f32"] = "bf16"
    seed: int = 0
    log_every: int = 20
    validate_every: int = 1000
    checkpoint_every: int = 500

    def __post_init__(self) -> None:
        if not self.datasets:
            raise ValueError(f"recipe {self.name}: expected at least one dataset")
        if self.start_from is not None and self.features_from is not None:
            raise ValueError(f"recipe {self.name}: expected start_from or features_from, not both")
        if self.initial_estimate not in get_args(InitialEstimateKind):
            raise ValueError(
                f"recipe {self.name}: expected initial_estimate to be one of "
                f"{get_args(InitialEstimateKind)}, got {self.initial_estimate!r}"
            )
        for name in ("steps", "batch_size", "log_every", "validate_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"recipe {self.name}: expected {name} of at least 1")

    @property
    def initial_backbone(self) -> str:
        """What the backbone starts from, in words."""
        if path := self.start_from or self.features_from:
            return f"the weights of {Path(path).name}"
        if self.backbone_weights is not None:
            return f"ImageNet weights ({Path(self.backbone_weights).name})"
        return RANDOM_WEIGHTS

    @property
    def warning(self) -> str | None:
        """What to tell before the training, or None: how it differs from the recipe's intention."""
        if not self.expects_imagenet or self.initial_backbone != RANDOM_WEIGHTS:
            return None
        return (
            f"recipe {self.name}: the backbone starts from random weights. The paper's starts from "
            "ImageNet weights: give the override backbone_weights=resnet18-f37072fd.pth, "
            f"torchvision's file ({IMAGENET_URL}), or backbone_weights=torchvision."
        )

    @property
    def view_size(self) -> int:
        """Side of the views, px."""
        return round(self.model.crop_size * self.view_scale)

    @property
    def holdout_without(self) -> tuple[str, ...]:
        """Ingredients that a rendered hold-out leaves out."""
        return () if self.holdout is None else left_out_ingredients(self.holdout.dataset.options)

    def to_dict(self) -> dict[str, Any]:
        """Return plain nested values, for checkpoints, logs and cards."""
        values: dict[str, Any] = _plain(asdict(self))
        return values


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value
