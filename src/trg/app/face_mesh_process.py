"""MediaPipe's FaceMesh in a process and an environment of its own, timed on request.

Run by :mod:`trg.app.bench_peer` with the Python of that environment, as a file: it imports nothing
of this package. For each line ``video N`` or ``static N`` it processes the image N times and prints
the milliseconds of CPU time, and whether a face was found.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np


def main(image_path: str) -> None:
    """Serve requests from standard input until it ends."""
    import mediapipe  # type: ignore[import-not-found]  # only the other environment has it

    image = np.load(image_path)
    meshes = {
        mode: mediapipe.solutions.face_mesh.FaceMesh(
            static_image_mode=mode == "static", max_num_faces=1, refine_landmarks=False
        )
        for mode in ("video", "static")
    }
    for line in sys.stdin:
        mode, count = line.split()
        times_ms, found = [], True
        for _ in range(int(count)):
            start = time.process_time()  # of all threads
            answer = meshes[mode].process(image)
            times_ms.append((time.process_time() - start) * 1000.0)
            found = found and bool(answer.multi_face_landmarks)
        sys.stdout.write(json.dumps({"times_ms": times_ms, "found": found}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
