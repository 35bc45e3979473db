"""One synthetic head, rendered at any position."""

from __future__ import annotations

import numpy as np

from tests.support.scenes import lit
from trg.geometry.camera import Camera
from trglab.synth.environment.light import white_point
from trglab.synth.environment.sensor import SensorParams, simulate_sensor
from trglab.synth.ingredients import Ingredients
from trglab.synth.render.raster import render
from trglab.synth.studio import Studio


class RenderedHead:
    """One person with one expression in even light, to be placed and turned."""

    def __init__(self, studio: Studio, seed: int) -> None:
        self._studio = studio
        self._seed = seed
        rng = np.random.default_rng((17, seed))
        self._subject = studio.sample_subject(rng)
        self.vertices_m = studio.sample_face_vertices(rng, self._subject, np.eye(3))
        self._light = lit(ambient=0.8)  # from all sides: no turn changes the shading
        model = studio.model
        self.dense_m = self.vertices_m[model.dense].astype(float)
        self.sparse_m = self.vertices_m[model.landmarks68].astype(float)

    def render(self, camera: Camera, rotation, translation_m, noise_seed: int = 0):
        """Render an image ``(h, w, 3)`` uint8; only the sensor's noise depends on that seed."""
        surfaces = self._studio.build_surfaces(
            np.random.default_rng(self._seed), self._subject, self.vertices_m, np.eye(3)
        )
        behind = np.full((camera.height, camera.width, 3), 0.25, np.float32)
        drawn = render(surfaces, rotation, np.asarray(translation_m), camera, self._light, behind)
        rng = np.random.default_rng(noise_seed)
        sensor = SensorParams(noise=0.004)
        return simulate_sensor(drawn.rgb, rng, sensor, white_point(self._light))


def plain_studio(face_model=None) -> Studio:
    """People without anything before their faces."""
    return Studio(Ingredients(occluders=False), face_model)
