"""Shading of fragments: diffuse light, highlights and reflections.

All colours are linear; directions are in the camera frame. Methods: spherical harmonics of
irradiance (Ramamoorthi and Hanrahan 2001), GGX with Schlick's Fresnel term, the split-sum fit for
reflected environment light (Karis 2014), hair (Kajiya and Kay 1989, Scheuermann 2004), coloured
ambient occlusion (Jimenez et al. 2016), wrapped diffuse light for skin (Green 2004).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trglab.synth.environment.light import Light
from trglab.synth.kernels import inlined, kernel
from trglab.synth.render.sampling import bump_normal, interpolate, sample_texture, tangent_frame
from trglab.synth.render.shadow import BIAS_M, BIAS_TEXELS, light_visibility
from trglab.synth.render.surface import Material

SCATTER_RGB = (1.0, 0.42, 0.28)
"""Relative scattering distances of red, green and blue light in skin."""


class ShadingLight(NamedTuple):
    """A :class:`~trglab.synth.environment.light.Light` in the form the kernels use."""

    sh: NDArray[np.float32]
    """``(9, 3)``."""
    direction: NDArray[np.float32]
    """``(3,)``."""
    rgb: NDArray[np.float32]
    """``(3,)``."""
    softness: float
    environment_map: NDArray[np.float32]
    """``(rows, columns, 3)``."""


class ShadingMaterial(NamedTuple):
    """A :class:`~trglab.synth.render.surface.Material` in the form the kernels use."""

    roughness: float
    specular: float
    scatter: float
    mirror: float
    anisotropy: float
    two_sided: bool
    bump_m: float
    coarse_light: bool


def shading_light(light: Light) -> ShadingLight:
    """Convert a light for the kernels."""
    return ShadingLight(
        np.ascontiguousarray(light.irradiance_sh, np.float32),
        np.ascontiguousarray(light.key_direction, np.float32),
        np.ascontiguousarray(light.key_rgb, np.float32),
        float(light.key_softness),
        np.ascontiguousarray(light.environment_map, np.float32),
    )


def shading_material(material: Material) -> ShadingMaterial:
    """Convert a material for the kernels."""
    return ShadingMaterial(
        max(float(material.roughness), 0.04),
        float(material.specular),
        float(material.scatter),
        float(material.mirror),
        float(material.anisotropy),
        bool(material.two_sided),
        float(material.bump_m),
        bool(material.coarse_light),
    )


SAME_BLOCK_DEPTH_SHARE, SAME_BLOCK_COSINE = 0.01, 0.9
"""Fragments of a block share their light if they differ less in depth and normal."""


@kernel
def shade(
    fragments, start, stop, buffers, pixel_samples, columns, texture, height, material, light,
    shadow,
):  # fmt: skip
    """Return radiance and opacity of the fragments ``start`` to ``stop - 1``, ``(n, 4)`` float32.

    Radiance is diffuse light times opacity plus highlights, which transparency does not dim.
    With ``material.coarse_light``, light and shadow are computed once in a block of 2 x 2 pixels;
    ``columns`` is the width of the image.
    """
    out = np.empty((stop - start, 4), np.float32)
    # The last lit fragment of each block in two rows: its row, the point, and its light.
    block_row = np.full(columns // 2 + 1 if material.coarse_light else 0, -1, np.int32)
    block = np.empty((len(block_row), 13), np.float32)
    off = np.float32(BIAS_M + BIAS_TEXELS * shadow.texel_m)
    half, one = np.float32(0.5), np.float32(1.0)
    to_light = (light.direction[0], light.direction[1], light.direction[2])
    lx, ly, lz = to_light
    zero = np.float32(0.0)
    # Cosine beyond the terminator up to which the key light has an effect.
    reach = np.float32(material.scatter + 0.4 * light.softness)
    if material.anisotropy > 0.0:
        reach = np.float32(2.0)
    for k in range(start, stop):
        t = fragments.triangle[k]
        point = interpolate(buffers, t, fragments.x[k], fragments.y[k])
        red, green, blue, alpha = sample_texture(texture, point, pixel_samples)
        albedo = (red, green, blue)
        at, row = np.uint32(0), np.int32(0)
        if material.coarse_light:
            pixel = np.uint32(fragments.pixel[k])
            line = pixel // np.uint32(columns)
            at, row = (pixel - line * np.uint32(columns)) >> np.uint32(1), np.int32(line >> 1)
            if block_row[at] == row and _is_same_block(block[at], point):
                _add_light(out[k - start], albedo, alpha, block[at, 4:])
                continue
        scale = -one / np.sqrt(point.x**2 + point.y**2 + point.z**2)
        view = (point.x * scale, point.y * scale, point.z * scale)
        normal = (point.nx, point.ny, point.nz)
        side = -one if material.two_sided and _dot(normal, view) < 0.0 else one
        strand = normal
        if material.bump_m > 0.0 or material.anisotropy > 0.0:
            grad_u, grad_v, strand = tangent_frame(buffers, t)
            if material.bump_m > 0.0:
                normal = bump_normal(height, point, pixel_samples, material.bump_m, grad_u, grad_v)
        normal = (normal[0] * side, normal[1] * side, normal[2] * side)
        lit = zero
        if reach > -_dot(normal, to_light):
            lit = light_visibility(
                shadow,
                point.x + off * (point.nx * side + half * lx),
                point.y + off * (point.ny * side + half * ly),
                point.z + off * (point.nz * side + half * lz),
            )
        occlusion = min(max(point.occlusion, np.float32(0.0)), one)
        diffuse = _diffuse(albedo, normal, to_light, strand, lit, occlusion, material, light)
        white, tinted = _specular(normal, view, to_light, strand, lit, occlusion, material, light)
        incident = diffuse + white + tinted
        _add_light(out[k - start], albedo, alpha, incident)
        if material.coarse_light:
            block_row[at] = row
            place = (point.z, point.nx, point.ny, point.nz)
            for i in range(4):
                block[at, i] = place[i]
            for i in range(9):
                block[at, 4 + i] = incident[i]
    return out


@inlined
def _is_same_block(stored, point):
    """Return whether a fragment continues the surface of the one stored for its block."""
    cosine = stored[1] * point.nx + stored[2] * point.ny + stored[3] * point.nz
    near = abs(stored[0] - point.z) < np.float32(SAME_BLOCK_DEPTH_SHARE) * point.z
    return near and cosine > np.float32(SAME_BLOCK_COSINE)


@inlined
def _add_light(out, albedo, alpha, incident):
    """Write the radiance of a fragment from its diffuse, white and tinted light, 3 numbers each."""
    for c in range(3):
        tinted = albedo[c] * (incident[c] * alpha + incident[6 + c])
        out[c] = tinted + incident[3 + c]
    out[3] = alpha


@inlined
def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@inlined
def irradiance(sh, x, y, z):
    """Return the RGB radiance of a white surface with unit normal (x, y, z)."""
    basis = (x * y, y * z, np.float32(3.0) * z * z - np.float32(1.0), x * z, x * x - y * y)
    return (
        _harmonics(sh, 0, x, y, z, basis),
        _harmonics(sh, 1, x, y, z, basis),
        _harmonics(sh, 2, x, y, z, basis),
    )


@inlined
def _harmonics(sh, c, x, y, z, basis):
    linear = sh[0, c] + sh[1, c] * y + sh[2, c] * z + sh[3, c] * x
    square = sh[4, c] * basis[0] + sh[5, c] * basis[1] + sh[6, c] * basis[2]
    return max(linear + square + sh[7, c] * basis[3] + sh[8, c] * basis[4], np.float32(0.0))


@inlined
def _diffuse(albedo, normal, to_light, strand, lit, occlusion, material, light):
    """Return diffuse light on a white surface: harmonics, key light with a wrapped cosine.

    It depends on the albedo in creases, by interreflection.
    """
    one, zero = np.float32(1.0), np.float32(0.0)
    n_dot_l = _dot(normal, to_light)
    # On the far side of the terminator, self-shadowing must not remove scattered light.
    ramp = min(max((n_dot_l + np.float32(0.1)) * np.float32(4.0), zero), one)
    spill = (one - ramp) * min(np.float32(3.0 * material.scatter), one)
    lit = lit + (one - lit) * spill
    hair, lobe = np.float32(material.anisotropy), zero
    if hair > zero:
        along = _dot(strand, to_light)
        lobe = np.sqrt(max(one - along * along, zero))
    sky = irradiance(light.sh, normal[0], normal[1], normal[2])
    return (
        _diffuse_channel(0, albedo, sky, n_dot_l, lit, occlusion, hair, lobe, material, light),
        _diffuse_channel(1, albedo, sky, n_dot_l, lit, occlusion, hair, lobe, material, light),
        _diffuse_channel(2, albedo, sky, n_dot_l, lit, occlusion, hair, lobe, material, light),
    )


@inlined
def _diffuse_channel(c, albedo, sky, n_dot_l, lit, occlusion, hair, lobe, material, light):
    one = np.float32(1.0)
    bleed = np.float32(material.scatter * SCATTER_RGB[c])
    wrap = min(bleed + np.float32(0.4 * light.softness), one)
    cosine = max((n_dot_l + wrap) / (one + wrap), np.float32(0.0))
    cosine *= one - wrap + wrap * cosine  # no kink at the terminator
    cosine += hair * (lobe * (np.float32(0.25) + np.float32(0.6) * cosine) - cosine)
    lit += bleed * lit * (one - lit)
    # Interreflection in creases: occlusion is weaker for channels with a high albedo.
    open_ = occlusion / (one - (one - occlusion) * albedo[c])
    return sky[c] * open_ + light.rgb[c] * cosine * lit


@inlined
def _specular(normal, view, to_light, strand, lit, occlusion, material, light):
    """Return specular light: key highlight, environment sheen and environment map reflection.

    The second result is what hair colours: the factor of its albedo.
    """
    dot = _dot(normal, view)
    n_dot_v = max(dot, np.float32(0.02))
    two = np.float32(2.0) * dot
    rx, ry, rz = two * normal[0] - view[0], two * normal[1] - view[1], two * normal[2] - view[2]
    key = _ggx_highlight(normal, view, to_light, material, light.softness, n_dot_v) * lit
    sheen = _environment_specular(material, n_dot_v) * occlusion * occlusion
    sky = irradiance(light.sh, rx, ry, rz)
    red, green, blue = sky[0] * sheen, sky[1] * sheen, sky[2] * sheen
    if material.mirror > 0.0:
        share = np.float32(material.mirror) * occlusion
        share *= _fresnel(np.float32(material.specular), n_dot_v)
        image = _sample_environment(light.environment_map, rx, ry, rz)
        red, green, blue = red + image[0] * share, green + image[1] * share, blue + image[2] * share
    tint = np.float32(0.0)
    if material.anisotropy > 0.0:
        white, coloured = _hair_highlights(normal, view, to_light, strand, material, light.softness)
        hair = np.float32(material.anisotropy)
        key += hair * (white * lit - key)
        tint = coloured * hair * lit
    return (
        (red + light.rgb[0] * key, green + light.rgb[1] * key, blue + light.rgb[2] * key),
        (light.rgb[0] * tint, light.rgb[1] * tint, light.rgb[2] * tint),
    )


@inlined
def _fresnel(at_normal, cosine):
    """Return Schlick's reflectance; zero at all angles if it is zero at normal incidence."""
    grazing = np.float32(1.0) - cosine
    square = grazing * grazing
    return at_normal + (_at_grazing(at_normal) - at_normal) * square * square * grazing


@inlined
def _at_grazing(at_normal):
    return min(np.float32(50.0) * at_normal, np.float32(1.0))


@inlined
def _ggx_highlight(normal, view, to_light, material, softness, n_dot_v):
    """Return the GGX highlight of a light with irradiance pi, the scale of ``key_rgb``."""
    one = np.float32(1.0)
    n_dot_l = _dot(normal, to_light)
    if n_dot_l <= 0.0:
        return np.float32(0.0)
    hx, hy, hz = view[0] + to_light[0], view[1] + to_light[1], view[2] + to_light[2]
    scale = one / np.sqrt(hx * hx + hy * hy + hz * hz + np.float32(1e-6))
    half = (hx * scale, hy * scale, hz * scale)
    width = min(np.float32(material.roughness**2 + 0.3 * softness), one)
    square = width * width
    across = _dot(normal, half)
    spread = across * across * (square - one) + one
    k = width * np.float32(0.5)
    masking = (n_dot_l * (one - k) + k) * (n_dot_v * (one - k) + k)
    reflectance = _fresnel(np.float32(material.specular), max(_dot(view, half), np.float32(0.0)))
    return np.float32(0.25) * square * reflectance * n_dot_l / (spread * spread * masking)


@inlined
def _environment_specular(material, n_dot_v):
    """Return the share of a uniform environment that the surface reflects."""
    rough, one = np.float32(material.roughness), np.float32(1.0)
    x = one - rough
    y = np.float32(0.0425) - np.float32(0.0275) * rough
    z = np.float32(1.04) - np.float32(0.572) * rough
    w = np.float32(0.022) * rough - np.float32(0.04)
    a = min(x * x, np.exp(np.float32(-6.4324) * n_dot_v)) * x + y
    head_on = np.float32(material.specular)
    share = head_on * (z - np.float32(1.04) * a) + _at_grazing(head_on) * (w + np.float32(1.04) * a)
    return max(share, np.float32(0.0)) * (one - np.float32(material.mirror))


@inlined
def _hair_highlights(normal, view, to_light, strand, material, softness):
    """Return the white primary and tinted secondary highlight of hair, for irradiance pi."""
    hx, hy, hz = view[0] + to_light[0], view[1] + to_light[1], view[2] + to_light[2]
    scale = np.float32(1.0) / np.sqrt(hx * hx + hy * hy + hz * hz + np.float32(1e-6))
    half = (hx * scale, hy * scale, hz * scale)
    along, across = _dot(strand, half), _dot(normal, half)
    width = max(np.float32(material.roughness**2 + 0.2 * softness), np.float32(0.02))
    power = np.float32(2.0) / (width * width)
    n_dot_l = _dot(normal, to_light)
    open_ = min(max(np.float32(0.3) + np.float32(0.9) * n_dot_l, np.float32(0.0)), np.float32(1.0))
    strength = open_ * np.float32(material.specular) * np.float32(0.25) / width
    white = strength * _strand_lobe(along - np.float32(0.08) * across, power)
    coloured = (
        np.float32(4.0)
        * strength
        * _strand_lobe(along + np.float32(0.14) * across, power * np.float32(0.3))
    )
    return white, coloured


@inlined
def _strand_lobe(along, power):
    """Return ``(1 - along^2)^(power / 2)``, a power of the sine to the strand, as a Gaussian."""
    return np.exp(np.float32(-0.5) * power * along * along)


@inlined
def _sample_environment(environment_map, x, y, z):
    """Return the bilinear radiance of an equirectangular map in direction (x, y, z)."""
    rows, columns = environment_map.shape[0], environment_map.shape[1]
    turn = np.arctan2(x, z) * np.float32(0.5 / np.pi) + np.float32(0.5)
    rise = np.arctan2(y, np.sqrt(x * x + z * z)) * np.float32(1.0 / np.pi) + np.float32(0.5)
    column = turn * np.float32(columns) - np.float32(0.5)
    row = min(max(rise * np.float32(rows) - np.float32(0.5), np.float32(0.0)), np.float32(rows - 1))
    left, top = int(np.floor(column)), int(row)
    fx, fy = column - np.float32(left), row - np.float32(top)
    right, below = (left + 1) % columns, min(top + 1, rows - 1)
    left = left % columns
    gx, gy = np.float32(1.0) - fx, np.float32(1.0) - fy
    a, b, c, d = gx * gy, fx * gy, gx * fy, fx * fy
    return (
        _weighted_sum(environment_map, 0, left, top, right, below, a, b, c, d),
        _weighted_sum(environment_map, 1, left, top, right, below, a, b, c, d),
        _weighted_sum(environment_map, 2, left, top, right, below, a, b, c, d),
    )


@inlined
def _weighted_sum(image, channel, left, top, right, below, a, b, c, d):
    upper = a * image[top, left, channel] + b * image[top, right, channel]
    return upper + c * image[below, left, channel] + d * image[below, right, channel]
