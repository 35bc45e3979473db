"""Send photos to `trg serve` and print the angles of each head: `python client.py a.jpg b.jpg`.

Needs the package httpx: pip install httpx.
"""

import sys
import time
from contextlib import ExitStack
from pathlib import Path

import httpx

URL = "http://127.0.0.1:8000/v1/predict"


def predict(paths, **options):
    """Return a record per photo; wait where the service is busy."""
    while True:
        with ExitStack() as opened:
            files = [("image", opened.enter_context(Path(path).open("rb"))) for path in paths]
            try:
                answer = httpx.post(URL, files=files, params=options, timeout=60)
            except httpx.ConnectError:
                raise SystemExit(f"nothing answers at {URL}; start `trg serve`") from None
        if answer.status_code == 429:
            time.sleep(int(answer.headers["retry-after"]))
            continue
        if "records" not in answer.json():
            raise ValueError(answer.json()["error"])
        return answer.json()["records"]


if __name__ == "__main__":
    for record in predict(sys.argv[1:], fov=60):
        if "error" in record:
            print(record["source"], record["error"])
            continue
        for face in record["faces"]:
            print(record["source"], face["euler_deg"], f"{face['distance_m']:.2f} m")
