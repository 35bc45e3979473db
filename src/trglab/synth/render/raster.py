"""The renderer: draws surfaces with a head pose, a camera and a light into a linear image.

    surfaces --pack--> mesh --transform, project--> screen --rasterize--> depth buffer
                              |                                              |
                      shadow map of the key light                  resolve_fragments
                              |                                              |
                              +------------------> shade <-------------------+
                                                     |
                          background --------> composite <-- transparent surfaces, far to near

Visibility is tested at ``supersample`` x ``supersample`` samples per pixel; shading happens once
per pixel and surface layer (multisampling). Single-threaded and deterministic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trg._util.checks import finite_array
from trg.geometry.camera import Camera
from trglab.synth.environment.light import Light
from trglab.synth.kernels import kernel
from trglab.synth.render.mesh import (
    NO_ALPHA,
    PackedMesh,
    alpha_mask,
    pack_surfaces,
    smooth_normals,
    transform_points,
)
from trglab.synth.render.sampling import VertexBuffers, height_map, texels_per_pixel
from trglab.synth.render.shade import ShadingLight, shade, shading_light, shading_material
from trglab.synth.render.shadow import (
    SHADOW_RADIUS_M,
    ShadowCaster,
    ShadowMap,
    alpha_limits,
    ambient_occlusion,
    draw_shadow_casters,
    empty_shadow_map,
    shadow_map_size,
)
from trglab.synth.render.surface import Surface
from trglab.synth.render.zbuffer import (
    Fragments,
    project,
    raster_camera,
    rasterize,
    resolve_fragments,
)

__all__ = [
    "Rendering",
    "ambient_occlusion",
    "render",
    "visible_vertices",
]

MAX_SUPERSAMPLE = 5
"""The samples of a pixel are the bits of one integer."""

VISIBLE_BEHIND_M, VISIBLE_BEHIND_SHARE = 0.004, 0.01
"""Depth tolerance of visible points, in metres and as a share of the depth."""

MIPMAP_TEXELS_PER_PIXEL = 1.7
"""Above this many texels per pixel, the next smaller mipmap loses no detail."""


class Rendering(NamedTuple):
    """An image with its geometry buffers; s is ``supersample``.

    Transparent surfaces (lenses, tears) appear in ``rgb`` only.
    """

    rgb: NDArray[np.float32]
    """``(h, w, 3)``, linear."""
    coverage: NDArray[np.float32]
    """``(h, w)``: share of each pixel that surfaces cover."""
    surface_id: NDArray[np.int16]
    """``(h, w)``: surface that covers most of the pixel, -1 for the background."""
    inverse_depth: NDArray[np.float32]
    """``(h * s, w * s)``: 1 / z in the camera frame in 1 / m, 0 for the background."""
    triangle_id: NDArray[np.int32]
    """``(h * s, w * s)``: index of the triangle over all surfaces, -1 for the background."""
    first_triangle: NDArray[np.int32]
    """``(n_surfaces + 1,)``: triangle t of surface i has the index ``first_triangle[i] + t``."""

    @property
    def depth_m(self) -> NDArray[np.float32]:
        """``(h * s, w * s)``: z in the camera frame, infinity for the background."""
        return _depth_from_inverse(self.inverse_depth)


def render(
    surfaces: Sequence[Surface],
    cam_from_head_R: ArrayLike,
    cam_from_head_T: ArrayLike,
    camera: Camera,
    light: Light,
    background_rgb: ArrayLike,
    *,
    supersample: int = 2,
) -> Rendering:
    """Draw surfaces over a background.

    Parameters
    ----------
    surfaces
        In the head or camera frame. Their order matters for exact ties of depth only (surfaces
        without holes come first).
    cam_from_head_R, cam_from_head_T
        ``(3, 3)`` rotation and ``(3,)`` translation in metres.
    camera
        Image size and intrinsics, including distortion.
    light
        In the camera frame.
    background_rgb
        ``(h, w, 3)`` linear, of the camera's image size.
    supersample
        Samples per pixel along each axis, 1 to 5.

    Raises
    ------
    ValueError
        An array has the wrong shape, or a surface is inconsistent.
    """
    R = finite_array("cam_from_head_R", cam_from_head_R, (3, 3), np.float64)
    T = finite_array("cam_from_head_T", cam_from_head_T, (3,), np.float64)
    size = (camera.height, camera.width)
    background = finite_array("background_rgb", background_rgb, (*size, 3), np.float32)
    if not 1 <= supersample <= MAX_SUPERSAMPLE:
        raise ValueError(f"supersample: expected 1 to {MAX_SUPERSAMPLE}, got {supersample}")
    scene = _Scene(surfaces, R, T, camera, light, supersample)
    inverse_depth = np.zeros((size[0] * supersample, size[1] * supersample), np.float32)
    ids = np.full(inverse_depth.shape, -1, np.int32)
    for i in scene.opaque:
        scene.draw(i, inverse_depth, ids)
    rgb, coverage = background.copy(), np.zeros(size, np.float32)
    surface_id = np.full(size, -1, np.int16)
    everywhere = (0, 0, camera.width, camera.height)
    fragments, first = resolve_fragments(
        inverse_depth, ids, supersample, scene.mesh.first_triangle, everywhere
    )
    _composite_background(fragments, first, rgb, coverage, surface_id)
    for i in scene.opaque:
        if first[i] < first[i + 1]:
            _add_opaque(fragments, first[i], scene.shade(i, fragments, first), rgb)
    if scene.transparent:
        over, over_ids = np.empty_like(inverse_depth), np.empty_like(ids)
    for i in scene.transparent:
        window = scene.screen_bounds(i, everywhere)
        rows = slice(window[1] * supersample, window[3] * supersample)
        over[rows], over_ids[rows] = inverse_depth[rows], -1
        scene.draw(i, over, over_ids)
        fragments, first = resolve_fragments(
            over, over_ids, supersample, scene.mesh.first_triangle, window
        )
        if first[-1]:
            _blend(fragments, scene.shade(i, fragments, first), rgb)
    return Rendering(rgb, coverage, surface_id, inverse_depth, ids, scene.mesh.first_triangle)


def _depth_from_inverse(inverse_depth: NDArray[np.float32]) -> NDArray[np.float32]:
    with np.errstate(divide="ignore"):
        depth_m: NDArray[np.float32] = np.float32(1.0) / inverse_depth
    return depth_m


def visible_vertices(
    rendering: Rendering, points_cam: ArrayLike, camera: Camera
) -> NDArray[np.bool_]:
    """Return which points ``(n, 3)`` in the camera frame are visible, ``(n,)``.

    A point is visible if it lies in the image and at most 4 mm (or 1 % of its depth, if that is
    more) behind the depth buffer at one of the four nearest samples. Points on a silhouette and
    points in front of all surfaces are therefore visible.
    """
    points = finite_array("points_cam", points_cam, (None, 3), np.float64)
    rows, columns = rendering.inverse_depth.shape
    scale = columns // camera.width
    if (rows, columns) != (camera.height * scale, camera.width * scale):
        raise ValueError(
            f"camera: expected the one used for rendering ({columns} x {rows} samples), "
            f"got {camera.width} x {camera.height} px"
        )
    in_front = points[:, 2] > 0
    pixels = np.full((len(points), 2), -1.0)
    pixels[in_front] = camera.project(points[in_front])
    inside = in_front & (pixels >= 0).all(-1) & (pixels < (camera.width, camera.height)).all(-1)
    corner = np.floor(np.where(inside[:, None], pixels, 0.0) * scale - 0.5).astype(np.int64)
    least = np.full(len(points), np.inf, np.float32)
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
        column = np.clip(corner[:, 0] + dx, 0, columns - 1)
        row = np.clip(corner[:, 1] + dy, 0, rows - 1)
        least = np.minimum(least, rendering.inverse_depth[row, column])
    slack = np.maximum(VISIBLE_BEHIND_M, VISIBLE_BEHIND_SHARE * points[:, 2])
    return inside & (points[:, 2] <= _depth_from_inverse(least) + slack)


class _Scene:
    """Surfaces after vertex processing, to be rasterised and shaded one by one."""

    def __init__(
        self,
        surfaces: Sequence[Surface],
        R: NDArray[np.float64],
        T: NDArray[np.float64],
        camera: Camera,
        light: Light,
        supersample: int,
    ) -> None:
        self.surfaces = surfaces
        self.supersample = supersample
        self.columns = camera.width
        self.mesh = pack_surfaces(surfaces)
        self._all_triangle_numbers = np.arange(len(self.mesh.triangles), dtype=np.int32)
        points = _points_in_camera_frame(surfaces, self.mesh, R, T)
        screen = project(points, raster_camera(camera, supersample))
        normals = smooth_normals(points, self.mesh.triangles)
        self.buffers = VertexBuffers(
            screen, points, normals, self.mesh.uv, self.mesh.occlusion, self.mesh.triangles
        )
        self.textures = [np.ascontiguousarray(s.texture) for s in surfaces]
        masks = [
            (NO_ALPHA, False) if s.material.blend else alpha_mask(texture)
            for s, texture in zip(surfaces, self.textures, strict=True)
        ]
        self.alpha = [alpha for alpha, _ in masks]
        self.holes = [has_holes for _, has_holes in masks]
        # Surfaces without holes first: fragments that they hide need no alpha test.
        self.opaque = sorted(
            (i for i, s in enumerate(surfaces) if not s.material.blend), key=self.holes.__getitem__
        )
        self.transparent = self._far_to_near(
            [i for i, s in enumerate(surfaces) if s.material.blend]
        )
        self.light: ShadingLight = shading_light(light)
        self.shadow = self._shadow_map(T)

    def draw(self, i: int, inverse_depth: NDArray[np.float32], ids: NDArray[np.int32]) -> None:
        """Rasterise surface i into a depth buffer."""
        rasterize(
            self.buffers.screen,
            self.mesh.triangles,
            self._triangles_near_to_far(i) if self.holes[i] else self._triangle_numbers(i),
            not self.surfaces[i].material.two_sided,
            self.mesh.uv,
            self.alpha[i],
            self.holes[i],
            alpha_limits(self.surfaces[i].material),
            inverse_depth,
            ids,
        )

    def shade(self, i: int, fragments: Fragments, first: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return radiance and opacity ``(n, 4)`` of surface i's fragments."""
        surface = self.surfaces[i]
        colours: NDArray[np.float32] = shade(
            fragments,
            first[i],
            first[i + 1],
            self.buffers,
            self.supersample,
            self.columns,
            self._texture(i, fragments, first),
            height_map(surface),
            shading_material(surface.material),
            self.light,
            self.shadow,
        )
        return colours

    def screen_bounds(self, i: int, within: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
        """Return left, top, right, bottom of surface i in pixels, clipped to ``within``."""
        own = self.buffers.screen[self.mesh.first_vertex[i] : self.mesh.first_vertex[i + 1]]
        own = own[own[:, 2] > 0, :2]
        if not len(own):
            return (0, 0, 0, 0)
        low = np.clip(own.min(axis=0) / self.supersample, within[:2], within[2:]).astype(int)
        high = np.ceil(np.clip(own.max(axis=0) / self.supersample, low, within[2:])).astype(int)
        return (int(low[0]), int(low[1]), int(high[0]), int(high[1]))

    def _texture(self, i: int, fragments: Fragments, first: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the mipmap of surface i whose texels are about as large as pixels."""
        texture = self.textures[i]
        if self.surfaces[i].mipmaps:
            part = (first[i], first[i + 1], self.buffers, self.supersample)
            spanned = texels_per_pixel(fragments, *part, texture)
            for mipmap in self.surfaces[i].mipmaps:
                if spanned < MIPMAP_TEXELS_PER_PIXEL:
                    break
                texture, spanned = mipmap, 0.5 * spanned
        return texture

    def _triangle_numbers(self, i: int) -> NDArray[np.int32]:
        start, stop = self.mesh.first_triangle[i : i + 2]
        return self._all_triangle_numbers[start:stop]

    def _triangles_near_to_far(self, i: int) -> NDArray[np.int32]:
        """Return surface i's triangles from near to far, which minimises alpha tests."""
        numbers = self._triangle_numbers(i)
        near = self.buffers.screen[:, 2]
        corners = self.mesh.triangles[self.mesh.first_triangle[i] : self.mesh.first_triangle[i + 1]]
        inverse_depth = near[corners[:, 0]] + near[corners[:, 1]] + near[corners[:, 2]]
        # An approximate order suffices, and NumPy sorts 16-bit integers several times as fast.
        least, most = inverse_depth.min(initial=np.inf), inverse_depth.max(initial=0.0)
        rank = (most - inverse_depth) * (65535.0 / max(most - least, 1e-9))
        return numbers[np.argsort(rank.astype(np.uint16), kind="stable")]

    def _far_to_near(self, numbers: list[int]) -> list[int]:
        def distance(i: int) -> float:
            own = slice(self.mesh.first_vertex[i], self.mesh.first_vertex[i + 1])
            return float(self.buffers.points[own, 2].mean()) if own.start < own.stop else 0.0

        return sorted(numbers, key=distance, reverse=True)

    def _shadow_map(self, centre_m: NDArray[np.float64]) -> ShadowMap:
        size = shadow_map_size(self.light.softness)
        shadow_map = empty_shadow_map(self.light.direction, centre_m, SHADOW_RADIUS_M, size)
        if self.light.rgb.max() > 0.0:
            casters = [
                ShadowCaster(
                    self._triangle_numbers(i),
                    not self.surfaces[i].material.two_sided,
                    self.alpha[i],
                    self.holes[i],
                    alpha_limits(self.surfaces[i].material),
                )
                for i in self.opaque
            ]
            mesh = self.mesh
            draw_shadow_casters(shadow_map, self.buffers.points, mesh.uv, mesh.triangles, casters)
        return shadow_map


def _points_in_camera_frame(
    surfaces: Sequence[Surface], mesh: PackedMesh, R: NDArray[np.float64], T: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return all vertices ``(n, 3)`` in the camera frame."""
    points = np.empty_like(mesh.vertices_m)
    for i, surface in enumerate(surfaces):
        own = slice(mesh.first_vertex[i], mesh.first_vertex[i + 1])
        if surface.frame == "head":
            transform_points(mesh.vertices_m[own], R, T, points[own])
        else:
            points[own] = mesh.vertices_m[own]
    return points


@kernel
def _composite_background(fragments, first, rgb, coverage, surface_id):
    """Dim the background behind fragments; compute coverage and surface ids."""
    colour, share, owner = rgb.reshape(-1, 3), coverage.reshape(-1), surface_id.reshape(-1)
    most = np.zeros(len(share), np.float32)
    for i in range(len(first) - 1):
        for k in range(first[i], first[i + 1]):
            pixel, weight = fragments.pixel[k], fragments.weight[k]
            share[pixel] += weight
            if weight > most[pixel]:
                most[pixel] = weight
                owner[pixel] = i
    for pixel in range(len(share)):
        covered = min(share[pixel], np.float32(1.0))
        share[pixel] = covered
        if covered > 0.0:
            for c in range(3):
                colour[pixel, c] *= np.float32(1.0) - covered
            if most[pixel] < np.float32(1.0) - covered:
                owner[pixel] = -1


@kernel
def _add_opaque(fragments, start, colours, rgb):
    """Add the weighted ``colours (n, 4)`` of opaque fragments, which begin at ``start``."""
    pixels = rgb.reshape(-1, 3)
    for i in range(len(colours)):
        pixel, weight = fragments.pixel[start + i], fragments.weight[start + i]
        for c in range(3):
            pixels[pixel, c] += weight * colours[i, c]


@kernel
def _blend(fragments, colours, rgb):
    """Blend transparent fragments with ``colours (n, 4)`` over the image."""
    pixels = rgb.reshape(-1, 3)
    for i in range(len(colours)):
        pixel, weight = fragments.pixel[i], fragments.weight[i]
        through = np.float32(1.0) - weight * colours[i, 3]
        for c in range(3):
            pixels[pixel, c] = pixels[pixel, c] * through + weight * colours[i, c]
