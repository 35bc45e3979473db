"""Label a data set: run `trg label`, count what failed, keep the sure faces, and look at the worst.

    python label_dataset.py photos/ labels/

`labels/` holds the Parquet files of `trg label` (docs/label.md; needs the extra `data`), and beside
it are written `labels.errors.csv`, the pictures that could not be read, and the reasons;
`labels.kept.parquet`, a row per face with a confidence of at least 0.8 and an error bar of the
rotation of at most 6 degrees; and `labels.worst.jpg`, the least sure of the kept faces and the
surest of the dropped ones, which is where to look before trusting the two limits. Run again after
new photos have come: only what is missing is labelled.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

from trg.io.images import read_image
from trg.io.records.names import unescape_name

TILE_PX, COLUMNS = 200, 6


def rotation_error_deg(faces):
    """Return the root of the summed squares of the three standard deviations of each face."""
    std = faces["rotation_std_deg"].combine_chunks().flatten().to_numpy().reshape(-1, 3)
    return np.linalg.norm(std, axis=1)


def tile(folder, face, is_kept):
    """Return the picture of one face, cut out, with its landmarks and numbers."""
    photo = Image.fromarray(read_image(folder / unescape_name(face["source"])).pixels)
    x0, y0, x1, _ = face["box_xyxy_px"]  # a square
    margin = 0.25 * (x1 - x0)
    corner = np.array([x0 - margin, y0 - margin])
    scale = TILE_PX / (x1 - x0 + 2 * margin)
    end = corner + TILE_PX / scale
    cut = photo.transform((TILE_PX, TILE_PX), Image.Transform.EXTENT, (*corner, *end))
    brush = ImageDraw.Draw(cut)
    for x, y in (np.reshape(face["landmarks68_px"], (68, 2)) - corner) * scale:
        brush.ellipse((x - 1.5, y - 1.5, x + 1.5, y + 1.5), fill=(90, 220, 120))
    text = f"{face['confidence']:.2f}  {face['error_deg']:.1f} deg"
    brush.rectangle((0, 0, TILE_PX, 14), fill=(20, 90, 40) if is_kept else (120, 30, 30))
    brush.text((4, 1), ("kept  " if is_kept else "dropped  ") + text, fill=(255, 255, 255))
    return cut


def contact_sheet(tiles):
    rows = -(-len(tiles) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * TILE_PX, rows * TILE_PX), (40, 40, 40))
    for number, each in enumerate(tiles):
        sheet.paste(each, (number % COLUMNS * TILE_PX, number // COLUMNS * TILE_PX))
    return sheet


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("photos", type=Path, help="a folder of photos")
    parser.add_argument("labels", type=Path)
    parser.add_argument("--min-confidence", type=float, default=0.8)
    parser.add_argument("--max-error-deg", type=float, default=6.0)
    given = parser.parse_args()
    label = [sys.executable, "-m", "trg", "label", given.photos, given.labels]
    done = subprocess.run(label, check=False)
    if done.returncode not in (0, 1):  # 1: some pictures could not be read, and are rows
        raise SystemExit(done.returncode)
    table = pq.read_table(given.labels)  # skips the files that begin with _
    errors = table.filter(pc.is_valid(table["error"])).select(["source", "error"])
    pyarrow.csv.write_csv(errors, given.labels.with_suffix(".errors.csv"))
    faces = table.filter(pc.is_valid(table["confidence"])).drop_columns(["error"])
    error_deg = rotation_error_deg(faces)
    faces = faces.append_column("error_deg", pa.array(error_deg, pa.float32()))
    confidence = faces["confidence"].to_numpy()
    is_kept = (confidence >= given.min_confidence) & (error_deg <= given.max_error_deg)
    pq.write_table(faces.filter(is_kept), given.labels.with_suffix(".kept.parquet"))
    # How far a face is from both limits: negative where it is dropped.
    margin = np.minimum(confidence - given.min_confidence, 1.0 - error_deg / given.max_error_deg)
    order = np.argsort(margin)
    nearest = [*order[~is_kept[order]][-COLUMNS * 2 :], *order[is_kept[order]][: COLUMNS * 2]]
    rows = faces.take(nearest).to_pylist()
    tiles = [tile(given.photos, *pair) for pair in zip(rows, is_kept[nearest], strict=True)]
    if tiles:
        contact_sheet(tiles).save(given.labels.with_suffix(".worst.jpg"), quality=90)
    pictures, kept = len(pc.unique(table["source"])), is_kept.sum()
    print(f"{pictures} pictures: {len(errors)} failed; {len(faces)} faces, {kept} of them kept")


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:
        raise SystemExit(f"error: {error}") from None
