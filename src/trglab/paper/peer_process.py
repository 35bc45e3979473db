"""Another method in a process and an environment of its own: faces of images, on request.

Run by :mod:`trglab.paper.peers` with the Python of that environment, as a file: it imports nothing
of this package. The argument is the method's name. Each line of input is a JSON object with
``image``, the path of a .npy file with RGB uint8 pixels, and ``box``, the face box in px. Each line
of output is one with ``ms``, the CPU time of all threads, and ``faces``, a list of what the method
finds: ``points_px``, or ``pitch_yaw_roll_deg``.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

import numpy as np

Run = Callable[[Any, Any], list[dict[str, Any]]]

MAX_FACES = 4


def mediapipe() -> Run:
    """MediaPipe's FaceMesh, with its own detector, on whole images."""
    import mediapipe as package  # type: ignore[import-not-found]

    mesh = package.solutions.face_mesh.FaceMesh(
        static_image_mode=True, max_num_faces=MAX_FACES, refine_landmarks=False
    )

    def run(image: Any, _: Any) -> list[dict[str, Any]]:
        height, width = image.shape[:2]
        found = mesh.process(image).multi_face_landmarks or []
        return [
            {"points_px": [[point.x * width, point.y * height] for point in face.landmark]}
            for face in found
        ]

    return run


def sixdrepnet() -> Run:
    """6DRepNet on crops of the face box, by the interface that its README documents."""
    from sixdrepnet import SixDRepNet  # type: ignore[import-not-found]

    model = SixDRepNet(gpu_id=-1)

    def run(image: Any, box: Any) -> list[dict[str, Any]]:
        crop_bgr = np.ascontiguousarray(crop_of(image, box)[..., ::-1])
        angles = [float(np.ravel(angle)[0]) for angle in model.predict(crop_bgr)]
        return [{"pitch_yaw_roll_deg": angles}]

    return run


def crop_of(image: Any, box: Any) -> Any:
    """Return the pixels of a box, black outside the image."""
    left, top, right, bottom = (round(number) for number in box)
    height, width = image.shape[:2]
    crop = np.zeros((max(bottom - top, 1), max(right - left, 1), 3), np.uint8)
    rows = slice(min(max(top, 0), height), min(max(bottom, 0), height))
    columns = slice(min(max(left, 0), width), min(max(right, 0), width))
    inside = image[rows, columns]
    if inside.size:
        row, column = rows.start - top, columns.start - left
        crop[row : row + inside.shape[0], column : column + inside.shape[1]] = inside
    return crop


METHODS = {"mediapipe": mediapipe, "6drepnet": sixdrepnet}


def main(name: str, answers: TextIO) -> None:
    """Serve requests from standard input until it ends."""
    run = METHODS[name]()
    for line in sys.stdin:
        request = json.loads(line)
        image = np.load(request["image"])
        start = time.process_time()
        faces = run(image, request["box"])
        ms = (time.process_time() - start) * 1000.0
        print(json.dumps({"ms": ms, "faces": faces}), file=answers, flush=True)


if __name__ == "__main__":
    own, sys.stdout = sys.stdout, sys.stderr  # what a method prints is no answer
    main(sys.argv[1], own)
