"""Glasses on the faces of a photo: fits them, draws them in, and writes a scene for 3D programs.

    python glasses.py photo.jpg -o scene         # scene/overlay.png: look at it
    cd scene && npm install three && python -m http.server   # the same in three.js: localhost:8000
    blender -b -P blender_glasses.py -- out/photo.jsonl scene/scene.json glasses.blend

Written are `overlay.png`, the photo, the page's two files, and `scene.json`: the camera, and for
each head its pose, the glasses and the face's mesh, which hides what is behind it. Poses and meshes
have OpenGL's axes, which are those of three.js and glTF (docs/conventions.md). Nothing is loaded
from elsewhere.
"""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import trg
from trg.geometry.axes import HEAD_AXES
from trg.geometry.projection import transform
from trg.io.images import read_image

FRAME, LENS = (38, 48, 66, 255), (120, 170, 200, 70)  # RGBA
SMOOTHING = 4  # times the photo's size, drawn so and reduced
SKIN_M, LENS_M = 0.004, 0.004  # painted as if this much deeper: before the glasses and the rims


def tube(line, radius_m, across, closed=False, sides=10):
    """Return vertices and triangles of a tube along points (n, 3); `across` is not along it."""
    line = np.asarray(line, float)
    ends = np.roll(line, -1, 0) - np.roll(line, 1, 0) if closed else np.gradient(line, axis=0)
    first = np.cross(ends, across)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = np.cross(ends, first)
    second /= np.linalg.norm(second, axis=1, keepdims=True)
    angles = np.linspace(0.0, 2.0 * np.pi, sides, endpoint=False)[:, None, None]
    rings = line + radius_m * (np.cos(angles) * first + np.sin(angles) * second)
    vertices = rings.swapaxes(0, 1).reshape(-1, 3)
    i, j = np.meshgrid(np.arange(len(line) - (not closed)), np.arange(sides), indexing="ij")
    near, far = i * sides, (i + 1) % len(line) * sides
    corners = [near + j, far + j, far + (j + 1) % sides, near + (j + 1) % sides]
    halves = [np.stack([corners[each] for each in half], -1) for half in ((0, 1, 2), (0, 2, 3))]
    return vertices, np.concatenate(halves).reshape(-1, 3)


def fit_glasses(face):
    """Return parts (name, colour, vertices, triangles) that fit a face, in its head frame, m."""
    points = face.landmarks_m[face.topology.landmarks68]
    eyes = {"right": points[36:42].mean(0), "left": points[42:48].mean(0)}
    ears = {"right": points[0], "left": points[16]}
    pupils_m = np.linalg.norm(eyes["left"] - eyes["right"])
    width, height = 0.39 * pupils_m, 0.31 * pupils_m  # from a lens's middle to its rim
    # On the bridge of the nose, and no lash touches them.
    front_z = min(points[27, 2], points[36:48, 2].min() - 0.012)
    angles = np.linspace(0.0, 2.0 * np.pi, 48, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)])
    rim = np.sign(circle) * np.abs(circle) ** 0.7  # rounder corners with exponents nearer to 1
    parts, inner = [], {}
    for side, sign in (("right", -1.0), ("left", 1.0)):
        middle = np.array([eyes[side][0], eyes[side][1] + 0.1 * height, front_z])
        line = middle + np.stack([rim[0] * width, rim[1] * height, 0.0 * angles], 1)
        line[:, 2] += 0.15 * np.abs(line[:, 0]) * (np.abs(line[:, 0]) / pupils_m)  # wraps around
        parts.append((f"rim {side}", FRAME, *tube(line, 0.0018, (0.0, 0.0, 1.0), closed=True)))
        fan = [(48, k, (k + 1) % 48) for k in range(48)]
        parts.append((f"lens {side}", LENS, np.vstack([line, line.mean(0)]), np.array(fan)))
        outer = line[np.argmax(sign * line[:, 0] - 0.5 * line[:, 1])]
        inner[side] = line[np.argmin(sign * line[:, 0] + 0.5 * line[:, 1])]
        ear = np.array([ears[side][0] + sign * 0.006, outer[1], ears[side][2]])
        hinge = outer + (sign * 0.004, 0.0, 0.006)
        parts.append((f"temple {side}", FRAME, *tube([outer, hinge, ear], 0.0018, (0.0, 1.0, 0.0))))
    steps = np.linspace(0.0, 1.0, 9)[:, None]
    bridge = inner["right"] + steps * (inner["left"] - inner["right"])
    bridge -= np.sin(np.pi * steps) * (0.0, 0.003, 0.004)
    return [*parts, ("bridge", FRAME, *tube(bridge, 0.0018, (0.0, 0.0, 1.0)))]


def draw(pixels, fitted):
    """Return an RGB picture with the glasses of faces, hidden where the faces hide them."""
    height, width = pixels.shape[:2]
    layer = Image.new("RGBA", (width * SMOOTHING, height * SMOOTHING))
    shapes = []  # depth, colour, corners in px: painted from far to near
    for face, parts in fitted:
        skin = face.mesh()
        meshes = [((0, 0, 0, 0), skin.vertices_m, skin.triangles, SKIN_M)]  # shows the photo
        for _, colour, vertices_m, triangles in parts:
            in_camera_m = transform(vertices_m, face.rotation, face.translation_m)
            meshes.append((colour, in_camera_m, triangles, LENS_M * (colour == LENS)))
        for colour, vertices_m, triangles, deeper_m in meshes:
            corners_px = SMOOTHING * face.camera.project(vertices_m)[triangles]
            corners_m = vertices_m[triangles]
            normals = np.cross(corners_m[:, 1] - corners_m[:, 0], corners_m[:, 2] - corners_m[:, 0])
            towards = np.abs(normals[:, 2]) / np.maximum(np.linalg.norm(normals, axis=1), 1e-12)
            for corners, light, depth_m in zip(
                corners_px, 0.55 + 0.65 * towards, corners_m[..., 2].mean(1) + deeper_m, strict=True
            ):
                shade = tuple(min(int(each * light), 255) for each in colour[:3])
                shapes.append((depth_m, (*shade, colour[3]), corners))
    brush = ImageDraw.Draw(layer)
    for _, colour, corners in sorted(shapes, key=lambda each: -each[0]):
        brush.polygon([tuple(each) for each in corners], fill=colour)
    photo = Image.fromarray(pixels).convert("RGBA")
    layer = layer.resize(photo.size, Image.Resampling.BOX)
    return Image.alpha_composite(photo, layer).convert("RGB")


def scene_of(camera, fitted, photo_name):
    """Return the scene as plain numbers; matrices are 4x4, row by row."""
    axes = HEAD_AXES["opengl"]

    def mesh(name, colour, vertices_m, triangles):
        vertices = (vertices_m @ axes.T).round(6).tolist()
        return {"name": name, "rgba": colour, "vertices": vertices, "triangles": triangles.tolist()}

    heads = [
        {
            "pose": face.to_frame("opengl").round(7).tolist(),
            "face": mesh("face", (0, 0, 0, 0), face.landmarks_m, face.topology.triangles),
            "glasses": [mesh(*part) for part in parts],
        }
        for face, parts in fitted
    ]
    return {"photo": photo_name, "camera": camera.to_dict(), "heads": heads}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("photo", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=Path("scene"))
    parser.add_argument("--camera", help="a calibration file; else EXIF's or an assumed camera")
    given = parser.parse_args()
    camera = trg.read_calibration(given.camera) if given.camera else None
    image = read_image(given.photo)
    faces = trg.HeadPoseEstimator()(image, camera)
    if not faces:
        raise SystemExit(f"{given.photo}: found no face")
    fitted = [(face, fit_glasses(face)) for face in faces]
    given.out.mkdir(parents=True, exist_ok=True)
    draw(image.pixels, fitted).save(given.out / "overlay.png")
    Image.fromarray(image.pixels).save(given.out / "photo.png")  # upright, as EXIF says
    scene = scene_of(faces[0].camera, fitted, "photo.png")
    (given.out / "scene.json").write_text(json.dumps(scene))
    for name in ("index.html", "viewer.js"):
        shutil.copy(Path(__file__).with_name(name), given.out)
    count = "1 face" if len(faces) == 1 else f"{len(faces)} faces"
    print(f"glasses on {count}: look at {given.out / 'overlay.png'}")
    print(f"in a browser: cd {given.out} && npm install three && python3 -m http.server")


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:
        raise SystemExit(f"error: {error}") from None
