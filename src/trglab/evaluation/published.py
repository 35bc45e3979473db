"""Published numbers: the paper's Tables 1 to 4, and those of its successor TRGv2.

Degrees and millimetres. TRGv2: Chun et al. 2026, Pattern Recognition 179, 113585; arXiv
2407.14136v2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

_POSE = (
    "yaw_deg",
    "pitch_deg",
    "roll_deg",
    "mae_r_deg",
    "ge_deg",
    "tx_mm",
    "ty_mm",
    "tz_mm",
    "mae_t_mm",
    "add_mm",
)


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """One method's row; ``means`` and ``medians`` by name of the error."""

    method: str
    means: Mapping[str, float]
    medians: Mapping[str, float]
    source: str
    """Paper and table"""


def _arkit(
    method: str,
    pose: tuple[float | None, ...] = (None,) * 4,
    landmarks: tuple[float, float] | None = None,
) -> PublishedRow:
    """Return a row of Tables 2 (MAE_r, GE, MAE_t, ADD) and 3 (median and mean of landmarks)."""
    names = ("mae_r_deg", "ge_deg", "mae_t_mm", "add_mm")
    means = {name: value for name, value in zip(names, pose, strict=True) if value is not None}
    medians = {}
    if landmarks is not None:
        medians["landmarks_mm"], means["landmarks_mm"] = landmarks
    return PublishedRow(method, means, medians, "TRG paper, Tables 2 and 3")


def _biwi(method: str, *numbers: float | None) -> PublishedRow:
    """Return a row of Table 4; numbers missing at its end are not reported."""
    padded = (*numbers, *(None,) * (len(_POSE) - len(numbers)))
    means = {name: value for name, value in zip(_POSE, padded, strict=True) if value is not None}
    return PublishedRow(method, means, {}, "TRG paper, Table 4")


def _v2(method: str, *numbers: float | None) -> PublishedRow:
    """Return a row of TRGv2's paper: MAE_r, GE, t_x, t_y, t_z, MAE_t, ADD."""
    padded = (*numbers, *(None,) * (len(_POSE) - 3 - len(numbers)))
    means = {
        name: value for name, value in zip(_POSE[3:], padded, strict=True) if value is not None
    }
    return PublishedRow(method, means, {}, "TRGv2 paper")


TABLE_1_COLUMNS: tuple[tuple[Literal["near", "far"], str], ...] = (
    ("near", "landmarks_mm"),
    ("near", "mae_r_deg"),
    ("near", "mae_t_mm"),
    ("near", "add_mm"),
    ("far", "mae_r_deg"),
    ("far", "mae_t_mm"),
    ("far", "add_mm"),
)
"""Test set (near: ARKitFace, far: BIWI) and error"""

TABLE_1 = {
    "1-iter (w/o MS)": (1.69, 1.00, 3.70, 8.93, 3.28, 13.74, 32.28),
    "2-iter (w/o MS)": (1.66, 0.89, 3.61, 8.72, 2.95, 13.77, 31.28),
    "3-iter (w/o MS)": (1.57, 0.88, 3.63, 8.71, 2.59, 13.67, 31.52),
    "T_t-prediction": (1.66, 0.92, 4.64, 11.66, 8.81, 1700.0, 5100.0),
    "Landmark-free baseline": (None, 1.03, 3.86, 9.34, 3.87, 18.42, 42.22),
    "Grid sampled baseline": (1.59, 0.95, 3.74, 8.99, 2.98, 14.58, 35.04),
    "TRG (Ours)": (1.58, 0.91, 3.62, 8.68, 2.75, 12.97, 29.46),
    "TRGv2": (None, 0.87, 3.64, 8.76, 2.87, 13.56, 31.35),
}
"""Table 1, the ablation: means. The paper prints the numbers 1700 and 5100 as 1.7K and 5.1K. The
row TRGv2 is from its own paper."""

TABLE_2_AND_3 = (
    _arkit("img2pose", (5.55, None, 7.02, 20.54)),
    _arkit("Direct 6DoF Regress", (1.87, None, 9.06, 21.39)),
    _arkit("Refined Pix2Pose", (2.35, None, 14.00, 36.44)),
    _arkit("PRNet", landmarks=(1.97, 2.05)),
    _arkit("3DDFA-v2", landmarks=(2.35, 2.31)),
    _arkit("Deng et al.", landmarks=(2.46, 2.55)),
    _arkit("JMLR (retrained, several sets)", (1.16, 2.39, 4.86, 11.87), (1.86, 1.94)),
    _arkit("PerspNet", (0.99, 1.81, 4.18, 10.01), (1.72, 1.76)),
    _arkit("TRG, ARKitFace alone", (0.92, 1.80, 3.64, 8.74), (1.55, 1.61)),
    _arkit("TRG, several sets", (0.91, 1.84, 3.62, 8.68), (1.55, 1.58)),
)
"""Tables 2 and 3: ARKitFace's test set"""

V2_ARKITFACE = (
    _v2("MPC (in TRGv2's paper)", 0.98, None, 0.97, 2.06, 10.02, 4.35, 10.21),
    _v2("JMLR (retrained for TRGv2)", 1.16, 2.39, 0.98, 2.48, 11.13, 4.86, 11.87),
    _v2("PerspNet (retrained for TRGv2)", 0.88, 1.81, 0.91, 2.06, 8.86, 3.95, 9.42),
    _v2("TRGv2", 0.87, 1.76, 0.80, 1.90, 8.23, 3.64, 8.76),
)
"""ARKitFace's test set, in TRGv2's paper"""

TABLE_4 = (
    _biwi("Dlib", 11.86, 13.00, 19.56, 14.81),
    _biwi("3DDFA", 5.50, 41.90, 13.22, 19.07),
    _biwi("EVA-GCN", 4.01, 4.78, 2.98, 3.92),
    _biwi("HopeNet", 4.81, 6.61, 3.27, 4.89, 9.53),
    _biwi("QuatNet", 4.01, 5.49, 2.94, 4.15),
    _biwi("Liu et al.", 4.12, 5.61, 3.15, 4.29),
    _biwi("FSA-Net", 4.27, 4.96, 2.76, 4.00, 7.64),
    _biwi("HPE", 4.57, 5.18, 3.12, 4.29),
    _biwi("WHENet-V", 3.60, 4.10, 2.73, 3.48),
    _biwi("RetinaFace (several sets)", 4.07, 6.42, 2.97, 4.49),
    _biwi("FDN", 4.52, 4.70, 2.56, 3.93),
    _biwi("MNN", 3.98, 4.61, 2.39, 3.66),
    _biwi("TriNet", 3.05, 4.76, 4.11, 3.97),
    _biwi("6DRepNet", 3.24, 4.48, 2.68, 3.47),
    _biwi("Cao et al.", 4.21, 3.52, 3.10, 3.61),
    _biwi("TokenHPE", 3.95, 4.51, 2.71, 3.72),
    _biwi("Cobo et al.", 4.58, 4.65, 2.71, 3.98, 7.30),
    _biwi("img2pose (several sets)", 4.57, 3.55, 3.24, 3.79, 7.10),
    _biwi(
        "Direct 6DoF Regress", 16.49, 14.03, 5.81, 12.11, None, 62.36, 85.01, 366.52, 171.30, 562.38
    ),
    _biwi("Refined Pix2Pose", 5.75, 5.06, 11.23, 7.35, None, 16.82, 21.30, 255.36, 97.83, 356.32),
    _biwi("MICA (several sets)", 5.40, 7.17, 3.80, 5.46, None, 9.32, 13.66, 60.13, 27.70, 68.03),
    _biwi(
        "JMLR (retrained, several sets)",
        *(6.31, 6.17, 3.72, 5.40, 8.61, 8.66, 7.27, 32.63, 16.19, 39.71),
    ),
    _biwi("PerspNet", 3.10, 3.37, 2.38, 2.95, 5.61, 4.15, 6.43, 46.69, 19.09, 100.09),
    _biwi("TRG, ARKitFace alone", 3.28, 3.52, 1.87, 2.89, 5.68, 8.41, 7.38, 27.13, 14.31, 32.10),
    _biwi("TRG, several sets", 3.04, 3.44, 1.78, 2.75, 5.35, 7.83, 6.99, 24.07, 12.97, 29.46),
)
"""Table 4: BIWI. "Several sets": trained on more data sets than ARKitFace"""

V2_BIWI = (
    _v2("Xu et al. (in TRGv2's paper)", 3.38),
    _v2("HRHPE (in TRGv2's paper)", 3.41),
    _v2("FaceXFormer (in TRGv2's paper)", 3.52),
    _v2("PerspNet (retrained for TRGv2)", 2.89, 5.61, 7.82, 8.08, 28.39, 14.76, 33.68),
    _v2("TRGv2", 2.87, 5.73, 7.64, 6.67, 26.37, 13.56, 31.35),
)
"""BIWI with its own head frames, in TRGv2's paper. 6DRepNet's row is that of Table 4"""

V2_BIWI_ALIGNED = (
    _v2("JMLR (retrained for TRGv2)", 5.40, 8.61, 3.77, 4.59, 31.65, 15.25, 35.54),
    _v2("PerspNet (retrained for TRGv2)", 2.89, 5.61, 3.13, 4.00, 29.80, 12.31, 32.00),
    _v2("TRGv2", 2.87, 5.73, 2.99, 4.13, 26.89, 11.33, 29.25),
)
"""BIWI after the alignment of its head origins to ARKitFace's, in TRGv2's paper"""
