"""Compute the compact face-shape basis of the package from ICT-FaceKit.

    python scripts/compute_face_basis.py ICT_FACEKIT [--modes 40] [--out FILE]

``ICT_FACEKIT`` is the kit's ``FaceXModel`` folder or its packed ``.npz``. The result,
``src/trg/bundles/face_basis.npz``, is :class:`trg.geometry.shape_basis.ShapeBasis` on the 1220
landmarks. Run this script again only if the landmark mesh changes.

Identity: the kit's 100 modes, restricted to the landmarks, are independent with unit variance. The
singular vectors of that matrix, scaled by their singular values, have the same covariance, so the
first ones are the best basis of their size (the principal components).

Expressions: ARKit's 52 from the kit's 53. ``browInnerUp`` and ``cheekPuff`` are the sums of the
kit's two sides; ``tongueOut`` is zero, because the landmark mesh has no tongue; ``_L`` and ``_R``
at the end of a name become ``Left`` and ``Right``.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np

from trg._util.files import write_atomic
from trg.geometry.shape_basis import BUNDLED_BASIS, EXPRESSION_NAMES, ShapeBasis
from trglab.synth.head.expressions import arkit_parts
from trglab.synth.head.face_model import FaceModel
from trglab.synth.head.ict_facekit import load_ict_facekit

MODES = 40


def compute_basis(model: FaceModel, modes: int = MODES) -> tuple[ShapeBasis, float]:
    """Return the basis of a face model's landmarks and its share of the identity variance."""
    shapes = model.identity[:, model.dense].astype(np.float64)
    _, deviations, directions = np.linalg.svd(shapes.reshape(len(shapes), -1), full_matrices=False)
    # The sign of a singular vector is arbitrary: the largest component becomes positive.
    largest = np.abs(directions).argmax(1)
    directions *= np.sign(directions[np.arange(len(directions)), largest])[:, None]
    kept = (deviations[:, None] * directions)[:modes].reshape(-1, *shapes.shape[1:])
    zero = np.zeros(shapes.shape[1:])
    expressions = [
        sum(
            (model.expression[model.expression_index[n], model.dense] for n in arkit_parts(name)),
            zero,
        )
        for name in EXPRESSION_NAMES
    ]
    basis = ShapeBasis(model.mean_m[model.dense], kept, np.stack(expressions))
    return basis, float((deviations[:modes] ** 2).sum() / (deviations**2).sum())


def main() -> None:
    """Write the basis and say how much of the variance it holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kit", type=Path, help="FaceXModel folder or packed .npz")
    parser.add_argument("--modes", type=int, default=MODES, help="number of identity modes")
    parser.add_argument("--out", type=Path, default=BUNDLED_BASIS, help="file to write")
    options = parser.parse_args()
    basis, share = compute_basis(load_ict_facekit(options.kit), options.modes)
    stream = io.BytesIO()
    np.savez_compressed(stream, **basis.to_arrays())  # type: ignore[arg-type]  # NumPy's stub
    write_atomic(options.out, lambda file: file.write(stream.getvalue()))
    print(
        f"{options.out}: {len(basis.identity_m)} identity modes with {share:.2%} of the variance, "
        f"{len(stream.getvalue()) / 1000:.0f} kB"
    )


if __name__ == "__main__":
    main()
