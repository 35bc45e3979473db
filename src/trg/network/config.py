"""Network configurations: nested frozen dataclasses, presets, and the variants of Table 1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from typing import Any, Literal, get_args

from trg._util.field_types import typed_fields

Features = Literal["aligned", "grid"]
"""Sampling points after the first step: the projected landmarks, or the grid P_0."""

TranslationForm = Literal["correction", "direct"]
"""What the regressor estimates: the bounding box correction of Eq. 2, or the translation itself."""

Trunk = Literal["resnet", "mobile"]
"""The trunk: the paper's ResNet, or inverted bottlenecks with depthwise convolutions."""

Upsampling = Literal["deconvolution", "nearest"]
"""How the decoder doubles a map's resolution."""


MAX_CHANNELS = 4096
"""Of a convolution or a hidden layer. The limits keep damaged files from taking all memory."""

MAX_LAYERS = 64
MAX_CROP_SIZE = 2048


@dataclass(frozen=True, slots=True)
class BackboneConfig:
    """The trunk of the feature extractor."""

    width: int = 64
    """Channels after the first convolution. The stages of a ResNet have 1, 2, 4 and 8 times as
    many, those of the mobile trunk 2, 4, 6 and 8 times. 64, with two blocks per stage, is
    torchvision's resnet18."""
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    """Residual blocks per stage of a ResNet; the mobile trunk's are fixed."""
    trunk: Trunk = "resnet"
    """The paper's ResNet, or the mobile trunk."""

    def __post_init__(self) -> None:
        _check_fields(
            self,
            "backbone ",
            ("width", 1 <= self.width <= MAX_CHANNELS // 8, f"1 to {MAX_CHANNELS // 8}"),
            ("trunk", self.trunk in get_args(Trunk), get_args(Trunk)),
            ("blocks", len(self.blocks) == 4, "four numbers"),
            ("blocks", _all_within(self.blocks, MAX_LAYERS), f"1 to {MAX_LAYERS} each"),
        )


@dataclass(frozen=True, slots=True)
class SamplerConfig:
    """The feature sampler's dimension reduction layer (section 3.3, Eq. 1)."""

    hidden: tuple[int, ...] = (128, 64)
    """Hidden layers of the point MLP, each followed by Leaky ReLU."""
    features: int = 5
    """Features per point; small, because those of 305 points are concatenated."""
    reduces_map: bool = False
    """Whether the first layer is applied to the feature map, before sampling. A linear layer
    commutes with bilinear sampling, so inside the crop the function is the same. It is cheaper if
    the points outnumber the cells of the map."""

    def __post_init__(self) -> None:
        _check_fields(
            self,
            "sampler ",
            ("features", 1 <= self.features <= MAX_CHANNELS, f"1 to {MAX_CHANNELS}"),
            ("hidden", len(self.hidden) <= MAX_LAYERS, f"at most {MAX_LAYERS} layers"),
            ("hidden", _all_within(self.hidden, MAX_CHANNELS), f"1 to {MAX_CHANNELS} each"),
            ("hidden", bool(self.hidden) or not self.reduces_map, "a layer with reduces_map"),
        )


@dataclass(frozen=True, slots=True)
class RegressorConfig:
    """The face regressor's MLP (section 3.4)."""

    hidden: tuple[int, ...] = (1024, 1024)
    """Hidden layers."""
    dropout: float = 0.5
    """After each hidden layer. PyMAF's value; not needed with unlimited synthetic data."""
    nonlinear: bool = True
    """Leaky ReLU after each hidden layer. The paper says MLP; the authors' release has no
    non-linearity, which makes a step linear."""
    vertex_rank: int | None = None
    """Width of a linear bottleneck before the vertices, which learns a shape basis. None: vertices
    from the last hidden layer, as in the paper. Faces have few degrees of freedom, and 3660 x 1024
    weights are a third of a small network."""
    shared_basis: bool = False
    """Whether all steps share one basis of ``vertex_rank`` shapes. Theta then holds the codes, its
    coordinates on that basis, in place of the vertices."""
    vertex_unit_m: float = 1.0
    """Unit of length of the MLP's vertices. Metres in the paper: one step of Adam then moves a
    vertex by centimetres, as much as faces differ. Decimetres make early training smoother and as
    fast, centimetres slow it down."""

    def __post_init__(self) -> None:
        _check_fields(
            self,
            "regressor ",
            ("hidden", 1 <= len(self.hidden) <= MAX_LAYERS, f"1 to {MAX_LAYERS} layers"),
            ("hidden", _all_within(self.hidden, MAX_CHANNELS), f"1 to {MAX_CHANNELS} each"),
            ("dropout", 0.0 <= self.dropout < 1.0, "0 <= dropout < 1"),
            ("vertex_unit_m", self.vertex_unit_m > 0, "above 0"),
            (
                "vertex_rank",
                self.vertex_rank is None or 1 <= self.vertex_rank <= MAX_CHANNELS,
                f"None or 1 to {MAX_CHANNELS}",
            ),
            ("vertex_rank", bool(self.vertex_rank) or not self.shared_basis, "a basis to share"),
        )


@dataclass(frozen=True, slots=True)
class TRGConfig:
    """The TRG network. The defaults are the paper's (sections 3 and 4.1)."""

    crop_size: int = 192
    """Side of the square crop, px; a multiple of 32, the trunk's stride."""
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    """The trunk of the feature extractor."""
    decoder: tuple[int, ...] = (256, 256, 256)
    """Channels of the decoder's layers; each doubles the resolution: 1/16, 1/8, 1/4 of the crop."""
    upsampling: Upsampling = "deconvolution"
    """The paper's deconvolutions; or 1x1 convolution, repetition of the nearest cell and a
    depthwise separable convolution, at a fifth of the cost."""
    skips: bool = False
    """Whether the trunk's maps are added to the decoder's of the same resolution. Not in the paper,
    where all features pass through the coarsest map: enough for the pose, but little detail of, for
    example, the mouth."""
    heatmap_gain: float = 1.0
    """Factor on the heatmaps before the softmax. Values above 1 sharpen them earlier: with 10 and
    Adam, L_L falls about twice as fast."""
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    """The feature sampler of each step."""
    regressor: RegressorConfig = field(default_factory=RegressorConfig)
    """The face regressor of each step."""
    grid_side: int = 18
    """Side of P_0, in the paper an 18 x 18 grid over the crop (section 4.1). With the side of the
    coarsest map, P_0 is that map's cells and costs no sampling."""
    iterations: int = 3
    """Steps, each of which refines Theta."""
    multi_scale: bool = True
    """Step t samples map t; otherwise all steps sample the first, coarsest map ("w/o MS")."""
    features: Features = "aligned"
    """Where steps after the first sample the map."""
    geometry: bool = True
    """Whether to estimate vertices; otherwise the template is used."""
    reprojection_residual: bool = False
    """Whether the regressors also get the difference between the heatmaps' 68 landmarks and the
    projected ones, rotated into the head's axes. Not in the paper, where they must infer it from
    the features."""
    translation: TranslationForm = "correction"
    """What the regressors estimate of the translation."""
    start_depth_m: float = 0.6
    """Initial depth with "direct" translation: an arm's length."""
    box_centre_gain: float = 1.0
    """Factor on the box centre at the regressor's input; the authors' release has 4."""

    def __post_init__(self) -> None:
        maps, is_aligned = len(self.decoder), self.features == "aligned"
        forms, points = get_args(TranslationForm), get_args(Features)
        upsamplings = get_args(Upsampling)
        is_multiple = 32 <= self.crop_size <= MAX_CROP_SIZE and self.crop_size % 32 == 0
        map_per_step = not self.multi_scale or self.iterations <= maps
        _check_fields(
            self,
            "",
            ("crop_size", is_multiple, f"a positive multiple of 32, at most {MAX_CROP_SIZE}"),
            ("decoder", 1 <= maps <= 5, "one to five layers"),
            ("decoder", _all_within(self.decoder, MAX_CHANNELS), f"1 to {MAX_CHANNELS} each"),
            ("decoder", not self.skips or maps <= 3, "at most three layers with skips"),
            ("upsampling", self.upsampling in upsamplings, upsamplings),
            ("features", self.features in points, points),
            ("translation", self.translation in forms, forms),
            ("skips", self.skips or self.upsampling != "nearest", "True with nearest upsampling"),
            ("grid_side", 1 <= self.grid_side <= MAX_LAYERS, f"1 to {MAX_LAYERS}"),
            ("heatmap_gain", self.heatmap_gain > 0, "above 0"),
            ("iterations", 1 <= self.iterations <= MAX_LAYERS, f"1 to {MAX_LAYERS}"),
            ("iterations", map_per_step, f"at most one per map, {maps}, with multi_scale"),
            (
                "features",
                self.geometry or not is_aligned,
                '"grid" when geometry is False: there are no landmarks to align to',
            ),
            (
                "reprojection_residual",
                self.geometry or not self.reprojection_residual,
                "False without geometry",
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return nested dicts, lists and numbers, for checkpoints and cards."""
        return {name: _plain(value) for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TRGConfig:
        """Build a configuration from the result of :meth:`to_dict`.

        Raises ValueError if a key is unknown or missing, or a value is out of range.
        """
        if isinstance(values, Mapping):
            values = {_LEGACY_NAMES.get(name, name): value for name, value in values.items()}
        return _from_dict(cls, values, "network config")


_LEGACY_NAMES = {"misfit": "reprojection_residual"}
"""Keys of weights saved before version 0.2, by their present names."""

_LEGACY_DEFAULTS: dict[str, dict[str, Any]] = {
    "BackboneConfig": {"trunk": "resnet"},
    "SamplerConfig": {"reduces_map": False},
    "RegressorConfig": {"shared_basis": False},
    "TRGConfig": {
        "upsampling": "deconvolution",
        "grid_side": 18,
        "skips": False,
        "reprojection_residual": False,
    },
}
"""Fields that weights of earlier versions lack, with their meaning at that time."""


def trg_r18() -> TRGConfig:
    """Return the paper's network: ResNet-18, 192 px crops, 12/24/48 px maps, 1024-wide
    regressors.
    """
    return TRGConfig()


def trg_v2() -> TRGConfig:
    """Return TRGv2 (Chun et al. 2026, Pattern Recognition 179): the paper's network with two steps.

    Both sample the coarsest map, the first at the grid, the second at the 305 projected vertices:
    the 2-iteration model of Table 1. Whether TRGv2 also shortens the decoder is not known here; the
    heatmaps come from the last of three maps.
    """
    return replace(trg_r18(), iterations=2, multi_scale=False)


def trg_s() -> TRGConfig:
    """Return the network for one CPU core: half the width, 128 px crops, 8/16/32 px maps."""
    return TRGConfig(
        crop_size=128,
        backbone=BackboneConfig(width=32),
        decoder=(64, 64, 64),
        skips=True,
        reprojection_residual=True,
        heatmap_gain=10.0,
        box_centre_gain=4.0,
        sampler=SamplerConfig(hidden=(32, 16), features=5),
        regressor=RegressorConfig(
            hidden=(256, 256), dropout=0.0, vertex_rank=96, vertex_unit_m=0.1
        ),
    )


def trg_m() -> TRGConfig:
    """Return trg_s with the paper's trunk and crop size, half its decoder, and 512-wide regressors.

    19 M parameters instead of the paper's 38 M, most of them in the trunk; 17 MB in eight bits.
    """
    return replace(
        trg_s(),
        crop_size=192,
        backbone=BackboneConfig(),
        decoder=(128, 128, 128),
        sampler=SamplerConfig(hidden=(64, 32)),
        regressor=RegressorConfig(
            hidden=(512, 512), dropout=0.0, vertex_rank=96, vertex_unit_m=0.1
        ),
    )


def trg_fast() -> TRGConfig:
    """Return the network for live use on one CPU core: trg_s at 0.3 of its time.

    A trunk of inverted bottlenecks, nearest-neighbour upsampling, feature maps that are reduced
    before sampling, and one shape basis for all steps: 58 M multiply-adds, 2.1 M parameters.
    """
    return replace(
        trg_s(),
        backbone=BackboneConfig(width=16, trunk="mobile"),
        decoder=(64, 48, 40),
        upsampling="nearest",
        grid_side=8,
        box_centre_gain=1.0,
        sampler=SamplerConfig(hidden=(16, 16), features=4, reduces_map=True),
        regressor=RegressorConfig(
            hidden=(256, 256), dropout=0.0, vertex_rank=96, shared_basis=True, vertex_unit_m=0.1
        ),
    )


PRESETS = {
    "trg_r18": trg_r18,
    "trg_v2": trg_v2,
    "trg_m": trg_m,
    "trg_s": trg_s,
    "trg_fast": trg_fast,
}
"""Named network configurations."""


def preset(name: str) -> TRGConfig:
    """Return a preset by name; raises ValueError for unknown names."""
    if name not in PRESETS:
        raise ValueError(f"preset: expected one of {sorted(PRESETS)}, got {name!r}")
    return PRESETS[name]()


def table1_variants(base: TRGConfig) -> dict[str, TRGConfig]:
    """Return the variants of the paper's Table 1, derived from the full network ``base``."""
    return {
        "1-iter": replace(base, iterations=1, multi_scale=False),
        "2-iter": replace(base, iterations=2, multi_scale=False),
        "3-iter": replace(base, iterations=3, multi_scale=False),
        "t-prediction": replace(base, translation="direct"),
        "landmark-free": replace(
            base, geometry=False, features="grid", reprojection_residual=False
        ),
        "grid-sampled": replace(base, features="grid"),
        "full": base,
    }


def _check_fields(config: Any, prefix: str, *rules: tuple[str, bool, object]) -> None:
    """Raise ValueError for the first rule (field, whether it holds, expectation) that fails."""
    for name, holds, expected in rules:
        if not holds:
            got = getattr(config, name)
            raise ValueError(f"{prefix}{name}: expected {expected}, got {got!r}")


def _all_within(counts: tuple[int, ...], largest: int) -> bool:
    """Return whether all counts are from 1 to ``largest``."""
    return all(1 <= count <= largest for count in counts)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _from_dict(cls: type, values: Any, where: str) -> Any:
    """Build a dataclass from nested dicts; default factories give the nested classes."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{where}: expected a mapping of fields, got {values!r:.100}")
    values = {**_LEGACY_DEFAULTS.get(cls.__name__, {}), **values}
    expected = {f.name: f for f in fields(cls)}
    unknown = sorted(str(name)[:40] for name in set(values) - set(expected))
    missing = sorted(set(expected) - set(values))
    if unknown or missing:
        raise ValueError(
            f"{where}: unknown keys {unknown}, missing keys {missing}; expected {sorted(expected)}"
        )
    arguments: dict[str, Any] = {}
    for name, value in values.items():
        nested = expected[name].default_factory
        if isinstance(nested, type) and is_dataclass(nested):
            value = _from_dict(nested, value, f"{where}, {name}")
        arguments[name] = tuple(value) if isinstance(value, list) else value
    return cls(**typed_fields(cls, arguments, f"{where}, "))
