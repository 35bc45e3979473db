"""Small scenes for the renderer's tests."""

from __future__ import annotations

import numpy as np

from trg.geometry.camera import Camera
from trg.geometry.rotations import normalize
from trglab.synth.environment.light import Light
from trglab.synth.render.raster import render
from trglab.synth.render.surface import Material, Surface

EYE = np.eye(3)
ORIGIN = np.zeros(3)
MATTE = Material(specular=0.0, roughness=1.0)
ASYMMETRIC = Camera(90.0, 70.0, 25.3, 37.8, 64, 56, distortion=(-0.2, 0.05, 0.004, -0.003, 0.0))


def flat(rgb=(255, 255, 255), alpha=255):
    return np.array([[[*rgb, alpha]]], np.uint8)


def make(vertices, triangles, *, uv=None, texture=None, material=MATTE, frame="camera", **more):
    vertices = np.asarray(vertices, np.float32)
    return Surface(
        "thing",
        vertices,
        np.asarray(triangles, np.int32).reshape(-1, 3),
        np.zeros((len(vertices), 2), np.float32) if uv is None else np.asarray(uv, np.float32),
        flat() if texture is None else texture,
        material,
        frame=frame,
        **more,
    )


def quad(x0, y0, x1, y1, z, **more):
    """Facing the camera; (0, 0) of the texture is at (x0, y0)."""
    corners = [(x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)]
    more.setdefault("uv", [(0, 0), (1, 0), (1, 1), (0, 1)])
    return make(corners, [(0, 2, 1), (0, 3, 2)], **more)


def sphere(radius, centre, rings=24, **more):
    rows, columns = np.mgrid[0 : rings + 1, 0 : 2 * rings]
    polar, turn = rows.ravel() * np.pi / rings, columns.ravel() * np.pi / rings
    unit = np.stack([np.sin(polar) * np.cos(turn), np.cos(polar), np.sin(polar) * np.sin(turn)], -1)
    a = (rows[:-1] * 2 * rings + columns[:-1]).ravel()
    b = (rows[:-1] * 2 * rings + (columns[:-1] + 1) % (2 * rings)).ravel()
    a_low, b_low = a + 2 * rings, b + 2 * rings
    triangles = np.concatenate([np.stack([a, b, b_low], -1), np.stack([a, b_low, a_low], -1)])
    return make(unit * radius + centre, triangles, **more)


def lit(ambient=1.0, key=0.0, direction=(0.0, 0.0, -1.0), softness=0.0):
    sh = np.zeros((9, 3), np.float32)
    sh[0] = ambient
    return Light(
        sh,
        normalize(np.array(direction)).astype(np.float32),
        np.full(3, key, np.float32),
        softness,
        np.full((32, 64, 3), ambient, np.float32),
    )


def camera(side=32, focal=None):
    return Camera(focal or side, focal or side, side / 2, side / 2, side, side)


def draw(surfaces, cam=None, light=None, R=EYE, T=ORIGIN, background=0.0, **more):
    cam = cam or camera()
    back = np.full((cam.height, cam.width, 3), background, np.float32)
    return render(surfaces, R, T, cam, light or lit(), back, **more)
