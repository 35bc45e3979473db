"""Draw the README's moving picture: two rendered heads, and what `trg` estimates of them.

    python scripts/draw_readme_clip.py [FOLDER]    # docs/images if none is given

Two synthetic people move and speak for six seconds. The frames are written as a video,
`HeadPoseEstimator.stream` tracks it as it would any other, and the faces are drawn into it and
encoded as `heads.webp`. The skins are painted: no photographed
person appears. Needs the extra `train` and the assets `face-model`, `hair_meshes` and `panoramas`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trg import Camera, HeadPoseEstimator
from trg.geometry.projection import OPTICAL_AXIS, transform
from trg.geometry.rotations import rotation_between, rotation_from_euler
from trg.io.overlay import draw_faces
from trg.io.video_writer import VideoWriter
from trglab.synth.assets import require_asset
from trglab.synth.environment.backgrounds import render_panorama
from trglab.synth.environment.filters import blur
from trglab.synth.environment.light import white_point
from trglab.synth.environment.panorama import light_from_panorama, load_panorama
from trglab.synth.environment.sensor import SensorParams, simulate_sensor
from trglab.synth.head.expressions import VISEMES
from trglab.synth.head.face_model import GAZE_DOWN_DEG, GAZE_SIDE_DEG, GAZE_UP_DEG, FaceModel
from trglab.synth.ingredients import Ingredients
from trglab.synth.render.raster import render
from trglab.synth.render.surface import Surface
from trglab.synth.studio import Studio

FPS, FRAMES = 20, 120
CLIP_S = FRAMES / FPS
BLINKS, BLINK_S = (0.2, 0.7), 0.12
"""When eyes are closed, in shares of the clip, and how long they close."""

SIZE = (1280, 720)
SHOWN_SIZE = (640, 360)
CAMERA = Camera.from_fov(55.0, *SIZE)

PANORAMA, HEADING_DEG = "st_fagans_interior", 200.0

MAX_BYTES = 2_000_000

PLAIN_FROM, PLAIN_TO = 0.40, 0.62
"""Shares of the clip between which the overlay is wiped away, and is back."""
WIPE = 0.07


@dataclass(frozen=True)
class Actor:
    """A person and how they move: all angles and lengths are amplitudes of periodic movements."""

    seed: tuple[int, int, int]
    """Of the person, as :class:`~trglab.synth.dataset.SyntheticFaces` draws them."""
    place_m: tuple[float, float, float]
    """Of the head's origin in the camera frame."""
    yaw_deg: float
    pitch_deg: float
    roll_deg: float
    nearer_m: float
    phase: float
    """Where in the loop they start, in turns."""
    words: tuple[Mapping[str, float], ...]
    """Expressions, evenly spread over the loop."""


SMILE = {"mouthSmile": 0.65, "cheekSquint": 0.4, "eyeSquint": 0.2, "browOuterUp": 0.2}
SAY_A, SAY_I, SAY_O = (
    {name: 0.6 * amount for name, amount in VISEMES[sound].items()} for sound in "aio"
)
REST: Mapping[str, float] = {"mouthSmile": 0.15}

ACTORS = (
    Actor((12, 1, 28), (-0.17, 0.03, 0.64), 24.0, 9.0, 7.0, 0.06, 0.0,
          (REST, SAY_A, SAY_I, SAY_O, SAY_A, REST, SMILE, SMILE, SMILE, REST, SAY_I, SAY_A)),
    Actor((12, 1, 12), (0.20, 0.00, 0.84), 32.0, 8.0, 9.0, 0.12, 0.4,
          (REST, REST, SMILE, SMILE, SMILE, REST, SAY_A, SAY_O, SAY_I, SAY_A, REST, REST)),
)  # fmt: skip


def main() -> None:
    """Render, track, draw and encode."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path("docs/images"))
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        clip = Path(name) / "heads.mp4"
        frames = list(render_frames(range(FRAMES)))
        with VideoWriter(clip, *SIZE, FPS) as video:
            for index in range(2 * FRAMES):  # tracked twice: its end must lead to its beginning
                video.write(frames[index % FRAMES], index / FPS)
        drawn = list(draw_tracked(clip))
    save_animation(drawn, folder / "heads.webp")


def render_frames(numbers: Iterable[int]) -> Iterator[NDArray[np.uint8]]:
    """Render frames of the clip ``(h, w, 3)``."""
    studio = Studio(
        Ingredients(
            photo_skin=False, portraits=False, panoramas=False, hair_meshes=True, occluders=False
        )
    )
    subjects = [studio.sample_subject(np.random.default_rng(actor.seed)) for actor in ACTORS]
    panorama = load_panorama(require_asset("panoramas") / f"{PANORAMA}.hdr")
    cam_from_world = rotation_from_euler(np.array([HEADING_DEG, 0.0, 0.0]))
    light = light_from_panorama(panorama, cam_from_world)
    background = blur(
        render_panorama(panorama, CAMERA, cam_from_world, np.random.default_rng(1)), 0.02 * SIZE[0]
    )
    for frame in numbers:
        surfaces: list[Surface] = []
        for number, (actor, subject) in enumerate(zip(ACTORS, subjects, strict=True)):
            turn, place_m = pose_at(actor, frame / FRAMES)
            weights = expression_at(actor, frame / FRAMES, turn, studio.model)
            vertices_m = studio.model.express(subject.neutral_m, weights, subject.person.scale)
            rotation = rotation_between(OPTICAL_AXIS, place_m) @ turn
            # The same stream for each frame: the body's posture stays what it is.
            own = studio.build_surfaces(np.random.default_rng(number), subject, vertices_m, turn)
            surfaces += [placed(surface, rotation, place_m) for surface in own]
        rendering = render(
            surfaces, np.eye(3), np.array((0.0, 0.0, 0.8)), CAMERA, light, background
        )
        sensor = SensorParams(noise=0.002)
        yield simulate_sensor(
            rendering.rgb, np.random.default_rng(frame), sensor, white_point(light)
        )


def pose_at(actor: Actor, share: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return rotation relative to the line of sight, and place, in a share of the loop."""
    turns = 2.0 * np.pi * (share + actor.phase)
    yaw = actor.yaw_deg * (0.8 * np.sin(turns) + 0.35 * np.sin(3.0 * turns + 0.6))
    pitch = actor.pitch_deg * np.sin(2.0 * turns + 1.1)
    roll = actor.roll_deg * np.sin(2.0 * turns - 0.5)
    place_m = np.array(actor.place_m)
    place_m += (0.025 * np.sin(turns + 0.4), 0.01 * np.sin(2.0 * turns), 0.0)
    place_m *= 1.0 - actor.nearer_m / actor.place_m[2] * np.sin(turns - 0.9)
    return rotation_from_euler(np.array([yaw, pitch, roll])), place_m


def expression_at(
    actor: Actor, share: float, turn: NDArray[np.float64], model: FaceModel
) -> NDArray[np.float32]:
    """Return blend shape weights ``(E,)``: eased words, blinks, and eyes that seek the camera."""
    position = share * len(actor.words)
    before, part = int(position), position % 1.0
    part = part * part * (3.0 - 2.0 * part)
    amounts = dict.fromkeys(SMILE, 0.0)
    for words, weight in ((before, 1.0 - part), (before + 1, part)):
        for name, amount in actor.words[words % len(actor.words)].items():
            amounts[name] = amounts.get(name, 0.0) + weight * amount
    off_s = (abs((share + actor.phase - blink + 0.5) % 1.0 - 0.5) * CLIP_S for blink in BLINKS)
    amounts["eyeBlink"] = max(0.0, *(1.0 - each / BLINK_S for each in off_s))
    x, y, z = turn.T @ (0.0, 0.0, -1.0)  # towards the camera, in the head frame
    right, down = np.clip(np.degrees((np.arctan2(x, -z), np.arctan2(y, np.hypot(x, z)))), -15, 15)
    for side, outward in (("_L", right), ("_R", -right)):
        amounts[f"eyeLookOut{side}"] = max(outward, 0.0) / GAZE_SIDE_DEG
        amounts[f"eyeLookIn{side}"] = max(-outward, 0.0) / GAZE_SIDE_DEG
        amounts[f"eyeLookDown{side}"] = max(down, 0.0) / GAZE_DOWN_DEG
        amounts[f"eyeLookUp{side}"] = max(-down, 0.0) / GAZE_UP_DEG
    weights = np.zeros(len(model.expression_index), np.float32)
    for name, amount in amounts.items():
        for own in (name, f"{name}_L", f"{name}_R"):
            if own in model.expression_index:
                weights[model.expression_index[own]] = amount
    return weights


def placed(
    surface: Surface, rotation: NDArray[np.float64], place_m: NDArray[np.float64]
) -> Surface:
    """Return a surface of a head frame in the camera frame."""
    vertices_m = transform(surface.vertices_m, rotation, place_m).astype(np.float32)
    return replace(surface, vertices_m=vertices_m, frame="camera")


def draw_tracked(clip: Path) -> Iterator[Image.Image]:
    """Track the clip and draw its second round, with the overlay wiped away for a while."""
    for frame in HeadPoseEstimator("trg_s").stream(clip, camera=CAMERA):
        if frame.index < FRAMES:
            continue
        share = frame.index / FRAMES - 1.0
        shown = draw_faces(frame.pixels, frame.faces)
        left, right = (
            round(np.clip((share - start) / WIPE, 0.0, 1.0) * SIZE[0])
            for start in (PLAIN_FROM, PLAIN_TO)
        )
        shown[:, right:left] = frame.pixels[:, right:left]
        for column in (left, right):
            if 0 < column < SIZE[0]:
                shown[:, max(column - 2, 0) : column + 2] = 255
        yield Image.fromarray(shown).resize(SHOWN_SIZE, Image.Resampling.LANCZOS)


def save_animation(frames: list[Image.Image], path: Path) -> None:
    """Encode a loop as WebP, in the highest quality that stays below MAX_BYTES."""
    for quality in range(75, 20, -10):
        frames[0].save(
            path, save_all=True, append_images=frames[1:], duration=round(1000 / FPS), loop=0,
            quality=quality, method=4,
        )  # fmt: skip
        if path.stat().st_size <= MAX_BYTES:
            return
    raise SystemExit(f"{path}: expected at most {MAX_BYTES} bytes, got {path.stat().st_size}")


if __name__ == "__main__":
    main()
