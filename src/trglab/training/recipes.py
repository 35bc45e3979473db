"""Recipes: functions that return the complete configuration of a training by name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from inspect import Parameter, signature
from pathlib import Path
from typing import Any, Literal, get_args

from trg.network.checkpoint import IMAGENET_URL
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
from trglab.datasets.store import is_store, read_manifest
from trglab.synth.holdout import (
    HOLDOUT_COUNT,
    HOLDOUT_SEED,
    WINDOW_MARGIN,
    WINDOW_SCALE,
    holdout_options,
    holdout_window,
    ingredient_names,
    ingredients,
    left_out_ingredients,
    missing_assets,
)
from trglab.training.augment import AugmentConfig

SYNTHETIC = "trglab.synth.dataset:SyntheticFaces"
ARKITFACE = "trglab.datasets.arkitface:ARKitFace"
W300LP = "trglab.datasets.w300lp:W300LP"
VIEW_STORE = "trglab.datasets.view_store:ViewStore"
SAMPLE_STORE = "trglab.datasets.sample_store:SampleStore"

TRAINING_SEED = 0
"""Seed of the synthetic people; the hold-out has others."""

TRAINING_SHOTS = {"distance_m": (0.2, 2.0)}

VALIDATION_COUNT = 1000
"""Samples of the hold-out that a training is measured on."""

RANDOM_WEIGHTS = "random weights"

InitialEstimateKind = Literal["template", "sample", "mean"]

UNPROVEN = "panoramas"
"""Ingredients without a measurable benefit (docs/synthetic.md), left out of trainings."""


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


def small(
    *,
    pack: str | None = None,
    holdout_pack: str | None = None,
    without: str = UNPROVEN,
    holdout_without: str | None = None,
    people: int | str = TRAINING_SEED,
) -> Recipe:
    """Return the training of ``trg_s`` on synthetic faces.

    Parameters
    ----------
    pack, holdout_pack
        Stores that ``trg data pack synthetic`` or ``trg synth`` wrote; None: render during the
        training.
    without
        Comma-separated ingredients of the synthetic faces to leave out of the training:
        ``photo_skin``, ``panoramas``, ``hair_meshes``, ``hair``, ``occluders``. The assets of the
        others must be installed.
    holdout_without
        The same for the hold-out. None: only assets that the training leaves out and that are not
        installed.
    people
        Seed of the rendered people. Use another one to continue from the weights of a training.
    """
    return Recipe(
        name="small",
        model=trg_s(),
        datasets=(_synthetic(trg_s(), pack, without, int(people)),),
        holdout=_holdout(trg_s(), holdout_pack, without, holdout_without),
        steps=40_000,
        batch_size=64,
        # With the paper's weights rotation outweighs all else from new weights on, and faces keep
        # the template's shape and expression for 9,000 steps (docs/results.md). The image weight
        # was tuned as 0.01 at a focal length of 1000 px: with the mean b / f of these faces, 0.58,
        # 0.03 is that weight in pixels of the face box.
        losses=LossWeights(
            head=100.0, image=0.03, edge=10.0, landmarks=20.0, five_points=0.1, heatmaps=1.0
        ),
        precision="f32",  # most processors are slower in bfloat16
    )


def synthetic_r18(
    *,
    pack: str | None = None,
    holdout_pack: str | None = None,
    without: str = UNPROVEN,
    holdout_without: str | None = None,
    people: int | str = TRAINING_SEED,
) -> Recipe:
    """Return the training of ``trg_m`` on synthetic faces; parameters as for :func:`small`."""
    return replace(
        small(),
        name="synthetic_r18",
        model=trg_m(),
        datasets=(_synthetic(trg_m(), pack, without, int(people)),),
        holdout=_holdout(trg_m(), holdout_pack, without, holdout_without),
        steps=100_000,
        batch_size=256,
        optim=OptimConfig(warmup_steps=1000, ema_decay=0.9995),
        precision="bf16",
    )


def paper_single(*, arkitface: str) -> Recipe:
    """Return the paper's training on ARKitFace (section 4.1 and the authors' release).

    Adam at 1e-4, reduced to a tenth after two thirds of 30 epochs of 717,840 frames, in batches of
    128. The losses are Eq. 7; ``losses.five_points=0.1`` adds the release's. The paper initializes
    the backbone with ImageNet weights: set ``backbone_weights``, or the training warns. There is
    no hold-out, because the data set has no validation part, and the last weights are kept.

    Parameters
    ----------
    arkitface
        Folder of the data set, or a store of its views (``trg data pack arkitface``).
    """
    return Recipe(
        name="paper_single",
        model=trg_r18(),
        datasets=(_data_set(ARKITFACE, {"folder": arkitface, "split": "train"}),),
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
        expects_imagenet=True,
        initial_estimate="sample",
        validate_every=5000,
        precision="f32",
    )


def paper(*, arkitface: str, w300lp: str) -> Recipe:
    """Return the paper's training on ARKitFace and 300W-LP, which has only 2D labels.

    The two are mixed by size, 717,840 and 122,450 images, and the 30 epochs cover both. Either may
    be a store of views. As in the authors' release, box centres shift by up to 30 % of the
    landmarks' extent on 300W-LP and by 15 % on ARKitFace, and only 300W-LP has masked squares.
    """
    base = paper_single(arkitface=arkitface)
    arkitface_count, w300lp_count = 717_840, 122_450
    w300lp_config = replace(
        _data_set(W300LP, {"folder": w300lp}),
        weight=float(w300lp_count),
        augment=AugmentConfig(centre_jitter=0.3, mask_probability=0.2),
    )
    return replace(
        base,
        name="paper",
        datasets=(
            replace(base.datasets[0], weight=float(arkitface_count)),
            w300lp_config,
        ),
        steps=30 * (arkitface_count + w300lp_count) // 128,
    )


def tiny(*, dataset: str = SYNTHETIC, options: Mapping[str, Any] | None = None) -> Recipe:
    """Return a training of seconds, to test the pipeline."""
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
        datasets=(
            DatasetConfig(
                dataset, training, buffer_size=32, reuse=4, augment=AugmentConfig.strong()
            ),
        ),
        holdout=HoldoutConfig(DatasetConfig(dataset, {**training, "seed": HOLDOUT_SEED}), count=16),
        steps=20,
        batch_size=8,
        optim=OptimConfig(warmup_steps=4, ema_decay=0.9),
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
"""Recipes by name. ``NAME/ROW`` replaces the network by that of a row of Table 1."""


def recipe(name: str, options: Mapping[str, Any] | None = None) -> Recipe:
    """Return a recipe by name.

    Parameters
    ----------
    name
        One of :data:`RECIPES`, or ``NAME/ROW`` with a row of Table 1 (``small/landmark-free``).
    options
        Arguments of the recipe, such as the folders of its data sets.

    Raises
    ------
    ValueError
        There is no such recipe or row, or an option is unknown or missing.
    """
    base_name, _, row = name.partition("/")
    if base_name not in RECIPES:
        raise ValueError(f"recipe: expected one of {sorted(RECIPES)}, got {name!r}")
    given = dict(options or {})
    _check_options(base_name, given)
    base = RECIPES[base_name](**given)
    if not row:
        return base
    variants = table1_variants(base.model)
    if row not in variants:
        raise ValueError(f"recipe {base_name}: expected a row of {sorted(variants)}, got {row!r}")
    return replace(base, name=name, model=variants[row])


def _check_options(name: str, given: Mapping[str, Any]) -> None:
    """Raise ValueError if a recipe lacks an option, or has no such option."""
    parameters = signature(RECIPES[name]).parameters
    missing = [
        f"--option.{key}"
        for key, parameter in parameters.items()
        if parameter.default is Parameter.empty and key not in given
    ]
    if missing:
        raise ValueError(f"recipe {name}: expected {' and '.join(missing)}")
    if unknown := sorted(set(given) - set(parameters)):
        raise ValueError(
            f"recipe {name}: expected options among {[f'--option.{key}' for key in parameters]}, "
            f"got {unknown}"
        )


def synthetic_holdout(
    model: TRGConfig,
    *,
    far: bool = False,
    without: Collection[str] = (),
    count: int = HOLDOUT_COUNT,
) -> HoldoutConfig:
    """Return the fixed synthetic hold-out, or with ``far`` the one beyond training distances."""
    options = holdout_options(holdout_window(model.crop_size), far=far, without=without)
    return HoldoutConfig(DatasetConfig(SYNTHETIC, options), count)


def stored_dataset(folder: str) -> DatasetConfig:
    """Return a shard store as a dataset: views, or the whole images of ``trg synth``."""
    if is_store(folder) and read_manifest(Path(folder))["kind"] == "samples":
        return finite_dataset(SAMPLE_STORE, {"folder": folder})
    return finite_dataset(VIEW_STORE, {"folder": folder})


def finite_dataset(target: str, options: Mapping[str, Any]) -> DatasetConfig:
    """Return a dataset whose samples are read from files; each comes once per epoch."""
    return DatasetConfig(target, options, buffer_size=1)


def _data_set(target: str, options: Mapping[str, Any]) -> DatasetConfig:
    """Return a data set, from its own folder or from a store of its views."""
    folder = options["folder"]
    return stored_dataset(folder) if is_store(folder) else finite_dataset(target, options)


def _holdout(
    model: TRGConfig, pack: str | None, without: str, own_without: str | None
) -> HoldoutConfig:
    if pack is not None:
        return HoldoutConfig(stored_dataset(pack), VALIDATION_COUNT)
    left_out = (
        missing_assets(ingredient_names(without))
        if own_without is None
        else ingredient_names(own_without)
    )
    return synthetic_holdout(model, without=left_out, count=VALIDATION_COUNT)


def _synthetic(model: TRGConfig, pack: str | None, without: str, people: int) -> DatasetConfig:
    if pack is not None:
        if without != UNPROVEN or people != TRAINING_SEED:
            raise ValueError(
                "pack: expected neither without nor people, which are for rendering; of a rendered "
                "hold-out, --option.holdout_without leaves ingredients out"
            )
        return replace(stored_dataset(pack), augment=AugmentConfig.strong())
    options = {
        "seed": people,
        "window": holdout_window(model.crop_size),
        "shots": TRAINING_SHOTS,
        "ingredients": ingredients(ingredient_names(without)),
        "for_training": True,
    }
    return DatasetConfig(
        SYNTHETIC, options, buffer_size=16_384, reuse=6, augment=AugmentConfig.strong()
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value
