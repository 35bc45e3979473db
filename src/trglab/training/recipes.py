"""Recipes: named functions that return the whole of a training as one frozen configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from trg.network.config import (
    BackboneConfig,
    RegressorConfig,
    SamplerConfig,
    TRGConfig,
    table1_variants,
    trg_m,
    trg_r18,
    trg_s,
)
from trg.network.losses import LossWeights
from trglab.datasets.packed import is_packed
from trglab.synth.holdout import (
    HOLDOUT_COUNT,
    HOLDOUT_SEED,
    WINDOW_MARGIN,
    WINDOW_SCALE,
    holdout_options,
    holdout_window,
    ingredients,
)
from trglab.training.augment import AugmentConfig

SYNTHETIC = "trglab.synth.dataset:SyntheticFaces"
ARKITFACE = "trglab.datasets.arkitface:ARKitFace"
W300LP = "trglab.datasets.w300lp:W300LP"
PACKED = "trglab.datasets.packed:PackedViews"
PACK = "pack"

TRAINING_SEED = 0
"""Of the synthetic people; the hold-out's are others."""

TRAINING_SHOTS = {"distance_m": (0.2, 2.0)}

VALIDATION_COUNT = 1000
"""A training measures itself on the first of the hold-out's samples."""

UNPROVEN = "panoramas"
"""Ingredients whose use nobody could measure (docs/synthetic.md): trainings leave them out."""


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """Where samples come from, and how they are fed."""

    source: str
    """``module:callable``, called with ``options``, or ``pack`` with the option ``folder``."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Plain values, so that they can be written into a checkpoint."""
    weight: float = 1.0
    """Share of each batch, relative to the other sources'."""
    capacity: int = 8192
    """Views kept ready, from which each batch is chosen."""
    reuse: int = 1
    """How often a view is used before it is replaced. Rendering costs more than training, and
    each use is augmented anew."""


@dataclass(frozen=True, slots=True)
class OptimConfig:
    """How the weights move."""

    optimizer: Literal["adam", "adamw"] = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    """AdamW only; not on biases and normalisations."""
    warmup_steps: int = 500
    """The learning rate rises linearly over these."""
    schedule: Literal["cosine", "step"] = "cosine"
    step_at: float = 2.0 / 3.0
    """"step": the share of the training after which the rate drops to a tenth."""
    clip_norm: float | None = 5.0
    """Largest norm of the gradient; None: not limited."""
    ema_decay: float | None = 0.999
    """Of the moving average of the weights, which is what is kept; None: no average."""


@dataclass(frozen=True, slots=True)
class HoldoutConfig:
    """What the network is measured on while it trains; the same samples every time."""

    source: SourceConfig
    count: int = 1000


@dataclass(frozen=True, slots=True)
class Recipe:
    """A whole training."""

    name: str
    model: TRGConfig
    sources: tuple[SourceConfig, ...]
    holdout: HoldoutConfig | None
    steps: int
    batch_size: int
    optim: OptimConfig = field(default_factory=OptimConfig)
    losses: LossWeights = field(default_factory=LossWeights)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    backbone_weights: str | None = None
    """A file of torchvision's resnet18 weights for the trunk to start from; the paper starts from
    ImageNet's. None: random weights."""
    start_from: str | None = None
    """A checkpoint or a bundle whose weights to start from, to train it further or on other
    pictures; its network must be this training's or a part of it. None: a new network."""
    features_from: str | None = None
    """A checkpoint or a bundle whose trunk, decoder and heatmaps to take over and hold still, so
    that only samplers and regressors learn: to compare those on the same features, in a third of
    the time. None: everything learns."""
    hidden_landmark_weight: float = 1.0
    """In the loss of the 68 points, for those that the camera does not see."""
    view_margin: float = WINDOW_MARGIN
    """Side of the stored view over the face box: room for jitter and roll."""
    view_scale: float = WINDOW_SCALE
    """Side of the stored view over the network's crop."""
    precision: Literal["bf16", "f32"] = "bf16"
    seed: int = 0
    log_every: int = 20
    validate_every: int = 1000
    checkpoint_every: int = 500

    def __post_init__(self) -> None:
        if not self.sources:
            raise ValueError(f"recipe {self.name}: expected at least one source")
        if self.start_from is not None and self.features_from is not None:
            raise ValueError(f"recipe {self.name}: expected start_from or features_from, not both")
        for name in ("steps", "batch_size", "log_every", "validate_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"recipe {self.name}: expected {name} of at least 1")

    @property
    def view_size(self) -> int:
        """Side of the stored views, px."""
        return round(self.model.crop_size * self.view_scale)

    def to_dict(self) -> dict[str, Any]:
        """Return plain nested values, for checkpoints, logs and cards."""
        numbers: dict[str, Any] = _plain(asdict(self))
        return numbers


def small(
    *,
    pack: str | None = None,
    holdout_pack: str | None = None,
    without: str = UNPROVEN,
    people: int | str = TRAINING_SEED,
) -> Recipe:
    """Return the training of the network for one CPU core, on synthetic faces alone.

    Parameters
    ----------
    pack, holdout_pack
        Folders of views made beforehand; None: rendered when needed.
    without
        Ingredients of the synthetic faces to train without, with commas between:
        ``photo_skin``, ``panoramas``, ``hair``, ``occluders``; empty for none. The others must be
        installed. The hold-out has them all.
    people
        Seed of the people that are rendered: a training that goes on from another's weights wants
        new ones.
    """
    return Recipe(
        name="small",
        model=trg_s(),
        sources=(_synthetic(trg_s(), pack, without, int(people)),),
        holdout=_holdout(trg_s(), holdout_pack),
        steps=40_000,
        batch_size=64,
        # With the paper's weights rotation outweighs all else from new weights on, and faces keep
        # the template's shape and expression for 9,000 steps (docs/results.md).
        losses=LossWeights(head=100.0, edge=10.0, landmarks=20.0, five_points=0.1, heatmaps=1.0),
        augment=AugmentConfig.strong(),
        precision="f32",  # most processors are slower in bfloat16
    )


def synthetic_r18(
    *,
    pack: str | None = None,
    holdout_pack: str | None = None,
    without: str = UNPROVEN,
    people: int | str = TRAINING_SEED,
) -> Recipe:
    """Return the training of the paper's trunk on synthetic faces alone; options as `small`'s."""
    return replace(
        small(),
        name="synthetic_r18",
        model=trg_m(),
        sources=(_synthetic(trg_m(), pack, without, int(people)),),
        holdout=_holdout(trg_m(), holdout_pack),
        steps=100_000,
        batch_size=256,
        optim=OptimConfig(warmup_steps=1000, ema_decay=0.9995),
        precision="bf16",
    )


def paper_single(*, arkitface: str) -> Recipe:
    """Return the paper's training on ARKitFace alone (section 4.1 and the authors' release).

    Adam, 1e-4, a tenth of it after two thirds, 30 epochs of 717,840 frames in batches of 128.
    The paper's trunk starts from ImageNet's weights: name the file in ``backbone_weights``.
    Nothing is measured on the way: the data set has no part for it but the test set, on which no
    checkpoint may be chosen. The last one is kept.

    Parameters
    ----------
    arkitface
        The data set's folder, or its shards' (``trg data pack``).
    """
    return Recipe(
        name="paper_single",
        model=trg_r18(),
        sources=(_data_set(ARKITFACE, {"folder": arkitface, "split": "train"}),),
        holdout=None,
        steps=30 * 717_840 // 128,
        batch_size=128,
        optim=OptimConfig(
            optimizer="adam",
            learning_rate=1e-4,
            weight_decay=0.0,
            warmup_steps=0,
            schedule="step",
            clip_norm=None,
            ema_decay=None,
        ),
        losses=LossWeights(five_points=0.1),
        validate_every=5000,
        precision="f32",
    )


def paper(*, arkitface: str, w300lp: str) -> Recipe:
    """Return the paper's training on ARKitFace and 300W-LP, which has 2D labels only.

    The two are mixed by their sizes, 717,840 and 122,450 pictures, and the 30 epochs go over both.
    Either folder may be that of the data set's shards.
    """
    base = paper_single(arkitface=arkitface)
    arkit, loose = 717_840, 122_450
    return replace(
        base,
        name="paper",
        sources=(
            replace(base.sources[0], weight=float(arkit)),
            replace(_data_set(W300LP, {"folder": w300lp}), weight=float(loose)),
        ),
        steps=30 * (arkit + loose) // 128,
        augment=replace(AugmentConfig(), mask_probability=0.2),
    )


def tiny(*, source: str = SYNTHETIC, options: Mapping[str, Any] | None = None) -> Recipe:
    """Return a training of seconds: to try the machinery, not to get a network."""
    training = {"seed": TRAINING_SEED} if options is None else dict(options)
    return Recipe(
        name="tiny",
        model=TRGConfig(
            crop_size=64,
            backbone=BackboneConfig(width=8, blocks=(1, 1, 1, 1)),
            decoder=(16, 16, 16),
            sampler=SamplerConfig(hidden=(8,), features=3),
            regressor=RegressorConfig(
                hidden=(64,), dropout=0.1, vertex_rank=16, vertex_unit_m=0.01
            ),
        ),
        sources=(SourceConfig(source, training, capacity=32, reuse=4),),
        holdout=HoldoutConfig(SourceConfig(source, {**training, "seed": HOLDOUT_SEED}), count=16),
        steps=20,
        batch_size=8,
        optim=OptimConfig(warmup_steps=4, ema_decay=0.9),
        augment=AugmentConfig.strong(),
        log_every=1,
        validate_every=10,
        checkpoint_every=5,
    )


RECIPES: dict[str, Callable[..., Recipe]] = {
    "small": small,
    "synthetic_r18": synthetic_r18,
    "paper": paper,
    "paper_single": paper_single,
    "tiny": tiny,
}
"""The named recipes. ``NAME/ROW`` is one with its network changed to a row of Table 1."""


def recipe(name: str, options: Mapping[str, Any] | None = None) -> Recipe:
    """Return a recipe by name, with its own options such as the folders of its data.

    Parameters
    ----------
    name
        One of :data:`RECIPES`, or ``NAME/ROW`` with a row of Table 1 (``small/landmark-free``).

    Raises
    ------
    ValueError
        There is no such recipe or row, or the recipe has no such option or misses one.
    """
    base_name, _, row = name.partition("/")
    if base_name not in RECIPES:
        raise ValueError(f"recipe: expected one of {sorted(RECIPES)}, got {name!r}")
    try:
        base = RECIPES[base_name](**(options or {}))
    except TypeError as error:
        raise ValueError(f"recipe {base_name}: {error}") from error
    if not row:
        return base
    variants = table1_variants(base.model)
    if row not in variants:
        raise ValueError(f"recipe {base_name}: expected a row of {sorted(variants)}, got {row!r}")
    return replace(base, name=name, model=variants[row])


def synthetic_holdout(
    model: TRGConfig, *, far: bool = False, count: int = HOLDOUT_COUNT
) -> HoldoutConfig:
    """Return the fixed synthetic hold-out, or the one at distances that no training sees."""
    options = holdout_options(holdout_window(model.crop_size), far=far)
    return HoldoutConfig(SourceConfig(SYNTHETIC, options), count)


def _data_set(source: str, options: Mapping[str, Any]) -> SourceConfig:
    """Read a data set from its own folder, or from its shards where the folder holds those."""
    if is_packed(options["folder"]):
        # One row: quick to read, so that each view can come just once in each run through.
        return SourceConfig(PACKED, {"folder": options["folder"]}, capacity=1)
    return SourceConfig(source, options, capacity=512)


def _holdout(model: TRGConfig, pack: str | None) -> HoldoutConfig:
    if pack is not None:
        return HoldoutConfig(SourceConfig(PACK, {"folder": pack}), VALIDATION_COUNT)
    return synthetic_holdout(model, count=VALIDATION_COUNT)


def _ingredients(without: str) -> dict[str, bool]:
    return ingredients([name.strip() for name in without.split(",") if name.strip()])


def _synthetic(model: TRGConfig, pack: str | None, without: str, people: int) -> SourceConfig:
    if pack is not None:
        if without != UNPROVEN or people != TRAINING_SEED:
            raise ValueError("a pack is what it is: expected neither without nor people beside it")
        return SourceConfig(PACK, {"folder": pack})
    options = {
        "seed": people,
        "window": holdout_window(model.crop_size),
        "shots": TRAINING_SHOTS,
        "ingredients": _ingredients(without),
        "for_training": True,
    }
    return SourceConfig(SYNTHETIC, options, capacity=16_384, reuse=6)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value
