"""Sampling of plausible facial expressions, with anatomical couplings.

Expressions use ARKit's blend shape names, with ``_L`` and ``_R`` for the person's own sides. Shapes
that a model lacks are ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from trg.geometry.shape_basis import EXPRESSION_NAMES
from trglab.synth.head.face_model import GAZE_DOWN_DEG, GAZE_SIDE_DEG, GAZE_UP_DEG, FaceModel

KIND_SHARES = {"neutral": 0.18, "mild": 0.27, "speech": 0.29, "smile": 0.18, "strong": 0.08}
"""Probability of each kind of expression."""

CLOSED_SHARE = 0.06
HALF_BLINK_SHARE = 0.10
WINK_SHARE = 0.015

GAZE_SPREAD_DEG = (9.0, 6.0)
"""Standard deviation of the gaze relative to the head, horizontal and vertical."""
VERGENCE_DEG = 2.0
"""Maximum inward rotation of each eye."""

ASYMMETRY = 0.12
"""Standard deviation of the ratio between both sides of a movement."""

VISEMES: Mapping[str, Mapping[str, float]] = {
    "a": {"jawOpen": 0.5, "mouthLowerDown": 0.3, "mouthUpperUp": 0.2},
    "e": {"jawOpen": 0.22, "mouthStretch": 0.35, "mouthLowerDown": 0.35, "mouthUpperUp": 0.15},
    "i": {"jawOpen": 0.1, "mouthStretch": 0.3, "mouthSmile": 0.3, "mouthUpperUp": 0.15},
    "o": {"jawOpen": 0.32, "mouthFunnel": 0.55},
    "u": {"jawOpen": 0.14, "mouthPucker": 0.65, "mouthFunnel": 0.2},
    "m": {"mouthPress": 0.35, "mouthRollLower": 0.2, "mouthRollUpper": 0.2},
    "f": {"jawOpen": 0.1, "mouthRollLower": 0.5, "mouthUpperUp": 0.3},
    "th": {"jawOpen": 0.16, "mouthLowerDown": 0.2, "mouthUpperUp": 0.12},
    "sh": {"jawOpen": 0.08, "mouthFunnel": 0.45, "mouthUpperUp": 0.15},
}
"""Mouth shapes of speech; names without a side stand for both sides."""

STRONG_EXPRESSIONS: Mapping[str, Mapping[str, float]] = {
    "surprise": {"jawOpen": 0.6, "browInnerUp": 0.9, "browOuterUp": 0.9, "eyeWide": 0.8},
    "anger": {
        "browDown": 0.95,
        "eyeSquint": 0.5,
        "noseSneer": 0.6,
        "mouthPress": 0.6,
        "mouthFrown": 0.4,
        "jawForward": 0.3,
    },
    "shout": {
        "browDown": 0.7,
        "eyeSquint": 0.5,
        "noseSneer": 0.6,
        "jawOpen": 0.75,
        "mouthUpperUp": 0.7,
        "mouthLowerDown": 0.7,
        "mouthStretch": 0.4,
    },
    "disgust": {"noseSneer": 0.95, "mouthUpperUp": 0.6, "browDown": 0.5, "eyeSquint": 0.5},
    "sadness": {"browInnerUp": 0.85, "mouthFrown": 0.8, "mouthShrugLower": 0.6},
    "fear": {"browInnerUp": 0.8, "eyeWide": 0.8, "mouthStretch": 0.8, "jawOpen": 0.3},
    "laugh": {
        "mouthSmile": 0.95,
        "jawOpen": 0.45,
        "cheekSquint": 0.8,
        "eyeSquint": 0.6,
        "mouthUpperUp": 0.5,
        "eyeBlink": 0.25,
    },
    "kiss": {"mouthPucker": 0.95, "mouthFunnel": 0.2},
    "puff": {"cheekPuff": 0.9, "mouthPucker": 0.3, "mouthPress": 0.3},
    "yawn": {"jawOpen": 0.95, "eyeBlink": 0.7, "browInnerUp": 0.4, "mouthFunnel": 0.2},
    "wince": {"eyeSquint": 0.9, "cheekSquint": 0.9, "eyeBlink": 0.5, "mouthStretch": 0.6},
    "lip_bite": {"mouthRollLower": 0.8, "mouthRollUpper": 0.3, "mouthPress": 0.3},
    "jaw_left": {"jawLeft": 0.7, "mouthLeft": 0.5},
    "jaw_right": {"jawRight": 0.7, "mouthRight": 0.5},
}
"""Strong expressions at full intensity."""

MILD = (
    *("browInnerUp", "browOuterUp", "browDown", "eyeSquint", "eyeWide", "cheekSquint"),
    *("mouthSmile", "mouthFrown", "mouthPress", "mouthDimple", "mouthStretch", "noseSneer"),
    *("mouthShrugLower", "mouthShrugUpper", "mouthPucker", "mouthRollLower", "jawForward"),
)
"""Shapes that vary slightly in a resting face."""

UNSIDED = frozenset(
    {
        *("jawForward", "jawLeft", "jawOpen", "jawRight", "mouthClose", "mouthFunnel"),
        *("mouthLeft", "mouthRight", "mouthPucker", "mouthRollLower", "mouthRollUpper"),
        *("mouthShrugLower", "mouthShrugUpper"),
    }
)
"""Shapes without sides."""

_Weights = dict[str, float]


def sample_expression(
    rng: np.random.Generator,
    model: FaceModel,
    gaze_deg: tuple[float, float] | None = None,
) -> NDArray[np.float32]:
    """Draw blend shape weights ``(E,)``, 0 to 1.

    Parameters
    ----------
    gaze_deg
        Gaze relative to the head, in degrees to the image's right and down. None: drawn.
    """
    kind = str(rng.choice(list(KIND_SHARES), p=list(KIND_SHARES.values())))
    weights: _Weights = {}
    _DRAW[kind](rng, weights)
    drawn = rng.standard_normal(2) * GAZE_SPREAD_DEG
    look = np.asarray(drawn if gaze_deg is None else gaze_deg, dtype=np.float64)
    _set_gaze(weights, look, float(rng.uniform(0.0, VERGENCE_DEG)))
    _blink(rng, weights)
    _limit_combinations(weights)
    result = np.zeros(len(model.expression_names), dtype=np.float32)
    for name, amount in weights.items():
        index = model.expression_index.get(name)
        if index is not None:
            result[index] = min(max(amount, 0.0), 1.0)
    return result


def arkit_parts(name: str) -> tuple[str, ...]:
    """Return the names of a face model's expressions that together are one of ARKit's.

    ``browInnerUp`` and ``cheekPuff`` have two sides here; ``tongueOut`` has no counterpart.
    """
    if name == "tongueOut":
        return ()
    if name in ("browInnerUp", "cheekPuff"):
        return f"{name}_L", f"{name}_R"
    for side in ("Left", "Right"):
        stem = name.removesuffix(side)
        if stem not in (name, "jaw", "mouth"):
            return (f"{stem}_{side[0]}",)
    return (name,)


def arkit_weights(model: FaceModel, weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return ARKit's weights ``(52,)`` of an expression ``(E,)`` of a face model.

    Of two sides the mean; 0 for what the model does not have.
    """
    padded = np.append(weights, np.float32(0.0))
    first, second = _arkit_sides(model)
    mean: NDArray[np.float32] = (padded[first] + padded[second]) * np.float32(0.5)
    return mean


@lru_cache(maxsize=4)
def _arkit_sides(model: FaceModel) -> NDArray[np.intp]:
    """Return the two of a model's E shapes of each ARKit name, ``(2, 52)``.

    They are equal for names with one shape; E stands for none.
    """
    index = model.expression_index
    sides = [
        [index[part] for part in arkit_parts(name) if part in index] or [len(index)]
        for name in EXPRESSION_NAMES
    ]
    return np.array([[each[0], each[-1]] for each in sides]).T


def _add(rng: np.random.Generator, weights: _Weights, movements: Mapping[str, float]) -> None:
    """Add movements; those without a side apply to both, slightly asymmetrically."""
    for name, amount in movements.items():
        asymmetry = 0.5 * ASYMMETRY * rng.standard_normal()
        if name in UNSIDED:
            weights[name] = weights.get(name, 0.0) + amount
        else:
            for side, share in (("_L", 1.0 + asymmetry), ("_R", 1.0 - asymmetry)):
                weights[name + side] = weights.get(name + side, 0.0) + amount * share


def _neutral(rng: np.random.Generator, weights: _Weights) -> None:
    _add(rng, weights, {name: 0.02 * rng.exponential() for name in MILD})


def _mild(rng: np.random.Generator, weights: _Weights) -> None:
    chosen = rng.choice(MILD, size=rng.integers(2, 6), replace=False)
    _add(rng, weights, {str(name): min(0.6, 0.15 * rng.exponential()) for name in chosen})
    if rng.random() < 0.3:
        _add(rng, weights, {"jawOpen": 0.08 * rng.exponential()})


def _speech(rng: np.random.Generator, weights: _Weights) -> None:
    """Blend two visemes and add mild movements of the upper face."""
    first, second = rng.choice(list(VISEMES), size=2, replace=False)
    share, strength = rng.random(), rng.uniform(0.5, 1.2)
    for viseme, part in ((first, share), (second, 1.0 - share)):
        shape = VISEMES[str(viseme)].items()
        _add(rng, weights, {name: amount * part * strength for name, amount in shape})
    brows = {"browInnerUp": 0.15, "browOuterUp": 0.12, "browDown": 0.08, "mouthSmile": 0.1}
    _add(rng, weights, {name: amount * rng.exponential() for name, amount in brows.items()})


def _smile(rng: np.random.Generator, weights: _Weights) -> None:
    """Smile with the corresponding cheeks and eyes, lips closed or open."""
    strength = rng.uniform(0.2, 1.0)
    felt = rng.uniform(0.2, 1.0)  # involvement of the eyes (Duchenne smile)
    shape = {
        "mouthSmile": strength,
        "cheekSquint": 0.6 * strength * felt,
        "eyeSquint": 0.4 * strength * felt,
        "mouthDimple": 0.2 * rng.random(),
    }
    if rng.random() < 0.6:
        shape |= {"mouthUpperUp": 0.4 * strength, "jawOpen": 0.15 * strength * rng.random()}
        shape |= {"mouthLowerDown": 0.2 * strength * rng.random()}
    _add(rng, weights, shape)
    if rng.random() < 0.15:  # one-sided smile
        weights["mouthSmile" + str(rng.choice(["_L", "_R"]))] *= rng.uniform(0.0, 0.5)


def _strong(rng: np.random.Generator, weights: _Weights) -> None:
    shape = STRONG_EXPRESSIONS[str(rng.choice(list(STRONG_EXPRESSIONS)))].items()
    strength = rng.uniform(0.4, 1.05)
    _add(rng, weights, {name: amount * strength * rng.uniform(0.8, 1.2) for name, amount in shape})


_DRAW: Mapping[str, Callable[[np.random.Generator, _Weights], None]] = {
    "neutral": _neutral,
    "mild": _mild,
    "speech": _speech,
    "smile": _smile,
    "strong": _strong,
}


def _set_gaze(weights: _Weights, gaze_deg: NDArray[np.float64], vergence_deg: float) -> None:
    """Rotate both eyes to the gaze, slightly converging; the shapes move the lids, too."""
    right, down = gaze_deg
    for side, outward in (("_L", 1.0), ("_R", -1.0)):
        out = (outward * right - vergence_deg) / GAZE_SIDE_DEG
        weights[f"eyeLookOut{side}"], weights[f"eyeLookIn{side}"] = max(out, 0.0), max(-out, 0.0)
        weights[f"eyeLookDown{side}"] = max(down, 0.0) / GAZE_DOWN_DEG
        weights[f"eyeLookUp{side}"] = max(-down, 0.0) / GAZE_UP_DEG


def _blink(rng: np.random.Generator, weights: _Weights) -> None:
    """Close both eyes or one, fully or partially, with low probability."""
    kind, amount = rng.random(), rng.random()
    if kind < CLOSED_SHARE:
        weights["eyeBlink_L"] = weights["eyeBlink_R"] = 1.0
    elif kind < CLOSED_SHARE + HALF_BLINK_SHARE:
        _add(rng, weights, {"eyeBlink": 0.2 + 0.5 * amount})
    elif kind < CLOSED_SHARE + HALF_BLINK_SHARE + WINK_SHARE:
        side, other = ("_L", "_R") if amount < 0.5 else ("_R", "_L")
        weights[f"eyeBlink{side}"] = 1.0
        weights[f"cheekSquint{side}"] = weights.get(f"cheekSquint{side}", 0.0) + 0.5
        weights[f"eyeSquint{other}"] = weights.get(f"eyeSquint{other}", 0.0) + 0.2


def _limit_combinations(weights: _Weights) -> None:
    """Reduce shapes that exclude each other.

    Lids: blinking, squinting, looking down and widening add up on the same lid. Lips:
    ``mouthClose`` compensates the jaw, so it cannot exceed ``jawOpen``; pressed or rolled lips and
    a pucker exclude a wide open jaw.
    """
    for side in ("_L", "_R"):
        blink = min(weights.get(f"eyeBlink{side}", 0.0), 1.0)
        down = min(weights.get(f"eyeLookDown{side}", 0.0), 1.0)
        weights[f"eyeBlink{side}"] = blink * (1.0 - 0.5 * down)
        weights[f"eyeSquint{side}"] = weights.get(f"eyeSquint{side}", 0.0) * (1.0 - 0.7 * blink)
        weights[f"eyeWide{side}"] = weights.get(f"eyeWide{side}", 0.0) * (1.0 - blink)
        for name in ("mouthPress", "mouthFrown"):
            if f"{name}{side}" in weights:
                weights[f"{name}{side}"] *= 1.0 - min(weights.get("jawOpen", 0.0), 1.0)
    jaw = min(weights.get("jawOpen", 0.0), 1.0)
    weights["mouthClose"] = min(weights.get("mouthClose", 0.0), jaw)
    for name in ("mouthPucker", "mouthRollLower", "mouthRollUpper"):
        if name in weights:
            weights[name] *= 1.0 - 0.7 * jaw
