"""How a point of a surface looks: texture, bump, diffuse light, highlights, reflections.

All colours are linear; directions are in the camera frame. Sources: spherical harmonics of
diffuse light after Ramamoorthi and Hanrahan 2001, GGX with Schlick's Fresnel, the split-sum
fit for the surroundings after Karis 2014, hair after Kajiya and Kay 1989 and Scheuermann 2004,
coloured occlusion after Jimenez et al. 2016, wrapped light for skin after Green 2004.
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
"""How far red, green and blue light travel in skin, relative to each other."""


class ShadingLight(NamedTuple):
    """A :class:`~trglab.synth.environment.light.Light` as the kernels want it."""

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
    """A :class:`~trglab.synth.render.surface.Material` as the kernels want it."""

    roughness: float
    specular: float
    scatter: float
    mirror: float
    anisotropy: float
    two_sided: bool
    bump_m: float


def shading_light(light: Light) -> ShadingLight:
    """Return the light's numbers as float32 arrays."""
    return ShadingLight(
        np.ascontiguousarray(light.irradiance_sh, np.float32),
        np.ascontiguousarray(light.key_direction, np.float32),
        np.ascontiguousarray(light.key_rgb, np.float32),
        float(light.key_softness),
        np.ascontiguousarray(light.environment_map, np.float32),
    )


def shading_material(material: Material) -> ShadingMaterial:
    """Return the material's numbers in the order of :class:`ShadingMaterial`."""
    return ShadingMaterial(
        max(float(material.roughness), 0.04),
        float(material.specular),
        float(material.scatter),
        float(material.mirror),
        float(material.anisotropy),
        bool(material.two_sided),
        float(material.bump_m),
    )


@kernel
def shade(fragments, start, stop, geometry, pixel_samples, texture, height, material, lamp, shadow):
    """Return ``(stop - start, 4)`` float32: light per fragment, and its opacity.

    The first three numbers hold the diffuse light times opacity, plus highlights, which are not
    dimmed by transparency: a clear lens still glints.
    """
    out = np.empty((stop - start, 4), np.float32)
    off = np.float32(BIAS_M + BIAS_TEXELS * shadow.texel_m)
    half, one = np.float32(0.5), np.float32(1.0)
    light = (lamp.direction[0], lamp.direction[1], lamp.direction[2])
    lx, ly, lz = light
    nought = np.float32(0.0)
    # How far past the terminator the key light is felt, as a cosine; nobody asks further out.
    reach = np.float32(material.scatter + 0.4 * lamp.softness)
    if material.anisotropy > 0.0:
        reach = np.float32(2.0)
    for k in range(start, stop):
        t = fragments.triangle[k]
        spot = interpolate(geometry, t, fragments.x[k], fragments.y[k])
        red, green, blue, alpha = sample_texture(texture, spot, pixel_samples)
        scale = -one / np.sqrt(spot.x**2 + spot.y**2 + spot.z**2)
        view = (spot.x * scale, spot.y * scale, spot.z * scale)
        normal = (spot.nx, spot.ny, spot.nz)
        side = -one if material.two_sided and _dot(normal, view) < 0.0 else one
        strand = normal
        if material.bump_m > 0.0 or material.anisotropy > 0.0:
            grad_u, grad_v, strand = tangent_frame(geometry, t)
            if material.bump_m > 0.0:
                normal = bump_normal(height, spot, pixel_samples, material.bump_m, grad_u, grad_v)
        normal = (normal[0] * side, normal[1] * side, normal[2] * side)
        seen = nought
        if reach > -_dot(normal, light):
            seen = light_visibility(
                shadow,
                spot.x + off * (spot.nx * side + half * lx),
                spot.y + off * (spot.ny * side + half * ly),
                spot.z + off * (spot.nz * side + half * lz),
            )
        occlusion = min(max(spot.occlusion, np.float32(0.0)), one)
        albedo = (red, green, blue)
        diffuse = _diffuse(albedo, normal, light, strand, seen, occlusion, material, lamp)
        gloss = _specular(albedo, normal, view, light, strand, seen, occlusion, material, lamp)
        out[k - start, 0] = diffuse[0] * alpha + gloss[0]
        out[k - start, 1] = diffuse[1] * alpha + gloss[1]
        out[k - start, 2] = diffuse[2] * alpha + gloss[2]
        out[k - start, 3] = alpha
    return out


@inlined
def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@inlined
def irradiance(sh, x, y, z):
    """Return the diffuse light, three numbers, on a white surface with unit normal (x, y, z)."""
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
def _diffuse(albedo, normal, light, strand, seen, occlusion, material, lamp):
    """Return the light sent back evenly: the sky's by harmonics, the key's by wrapped cosine."""
    one, nought = np.float32(1.0), np.float32(0.0)
    facing = _dot(normal, light)
    # Where a surface turns away, its own shadow must not cut off what scatters past the edge.
    ramp = min(max((facing + np.float32(0.1)) * np.float32(4.0), nought), one)
    spill = (one - ramp) * min(np.float32(3.0 * material.scatter), one)
    seen = seen + (one - seen) * spill
    hair, lit_around = np.float32(material.anisotropy), nought
    if hair > nought:
        along = _dot(strand, light)
        lit_around = np.sqrt(max(one - along * along, nought))
    sky = irradiance(lamp.sh, normal[0], normal[1], normal[2])
    return (
        _diffuse_channel(0, albedo, sky, facing, seen, occlusion, hair, lit_around, material, lamp),
        _diffuse_channel(1, albedo, sky, facing, seen, occlusion, hair, lit_around, material, lamp),
        _diffuse_channel(2, albedo, sky, facing, seen, occlusion, hair, lit_around, material, lamp),
    )


@inlined
def _diffuse_channel(c, albedo, sky, facing, seen, occlusion, hair, lit_around, material, lamp):
    one = np.float32(1.0)
    bleed = np.float32(material.scatter * SCATTER_RGB[c])
    wrap = min(bleed + np.float32(0.4 * lamp.softness), one)
    cosine = max((facing + wrap) / (one + wrap), np.float32(0.0))
    cosine *= one - wrap + wrap * cosine  # no kink at the terminator
    cosine += hair * (lit_around * (np.float32(0.25) + np.float32(0.6) * cosine) - cosine)
    seen += bleed * seen * (one - seen)
    # Light that is caught in a crease bounces there, and takes the skin's colour.
    open_ = occlusion / (one - (one - occlusion) * albedo[c])
    return albedo[c] * (sky[c] * open_ + lamp.rgb[c] * cosine * seen)


@inlined
def _specular(albedo, normal, view, light, strand, seen, occlusion, material, lamp):
    """Return highlights of the key, the sky's sheen, and the mirrored surroundings."""
    dot = _dot(normal, view)
    looking = max(dot, np.float32(0.02))
    two = np.float32(2.0) * dot
    rx, ry, rz = two * normal[0] - view[0], two * normal[1] - view[1], two * normal[2] - view[2]
    key = _ggx_highlight(normal, view, light, material, lamp.softness, looking) * seen
    sheen = _environment_specular(material, looking) * occlusion * occlusion
    sky = irradiance(lamp.sh, rx, ry, rz)
    red, green, blue = sky[0] * sheen, sky[1] * sheen, sky[2] * sheen
    if material.mirror > 0.0:
        share = np.float32(material.mirror) * occlusion
        share *= _fresnel(np.float32(material.specular), looking)
        image = _sample_environment(lamp.environment_map, rx, ry, rz)
        red, green, blue = red + image[0] * share, green + image[1] * share, blue + image[2] * share
    tint = (np.float32(0.0), np.float32(0.0), np.float32(0.0))
    if material.anisotropy > 0.0:
        white, coloured = _hair_highlights(normal, view, light, strand, material, lamp.softness)
        hair = np.float32(material.anisotropy)
        key += hair * (white * seen - key)
        coloured *= hair * seen
        tint = (albedo[0] * coloured, albedo[1] * coloured, albedo[2] * coloured)
    return (
        red + lamp.rgb[0] * (key + tint[0]),
        green + lamp.rgb[1] * (key + tint[1]),
        blue + lamp.rgb[2] * (key + tint[2]),
    )


@inlined
def _fresnel(at_normal, cosine):
    """Schlick's reflectance; surfaces that reflect nothing head-on do not at grazing angles."""
    grazing = np.float32(1.0) - cosine
    square = grazing * grazing
    return at_normal + (_at_grazing(at_normal) - at_normal) * square * square * grazing


@inlined
def _at_grazing(at_normal):
    return min(np.float32(50.0) * at_normal, np.float32(1.0))


@inlined
def _ggx_highlight(normal, view, light, material, softness, looking):
    """Return GGX's highlight for a light of irradiance pi, as ``key_rgb`` is scaled."""
    one = np.float32(1.0)
    facing = _dot(normal, light)
    if facing <= 0.0:
        return np.float32(0.0)
    hx, hy, hz = view[0] + light[0], view[1] + light[1], view[2] + light[2]
    scale = one / np.sqrt(hx * hx + hy * hy + hz * hz + np.float32(1e-6))
    half = (hx * scale, hy * scale, hz * scale)
    width = min(np.float32(material.roughness**2 + 0.3 * softness), one)
    square = width * width
    across = _dot(normal, half)
    spread = across * across * (square - one) + one
    k = width * np.float32(0.5)
    masking = (facing * (one - k) + k) * (looking * (one - k) + k)
    reflectance = _fresnel(np.float32(material.specular), max(_dot(view, half), np.float32(0.0)))
    return np.float32(0.25) * square * reflectance * facing / (spread * spread * masking)


@inlined
def _environment_specular(material, looking):
    """Return the share of evenly bright surroundings that the surface reflects."""
    rough, one = np.float32(material.roughness), np.float32(1.0)
    x = one - rough
    y = np.float32(0.0425) - np.float32(0.0275) * rough
    z = np.float32(1.04) - np.float32(0.572) * rough
    w = np.float32(0.022) * rough - np.float32(0.04)
    a = min(x * x, np.exp(np.float32(-6.4324) * looking)) * x + y
    head_on = np.float32(material.specular)
    share = head_on * (z - np.float32(1.04) * a) + _at_grazing(head_on) * (w + np.float32(1.04) * a)
    return max(share, np.float32(0.0)) * (one - np.float32(material.mirror))


@inlined
def _hair_highlights(normal, view, light, strand, material, softness):
    """Return hair's white highlight and the tinted one nearer to the tips, for irradiance pi."""
    hx, hy, hz = view[0] + light[0], view[1] + light[1], view[2] + light[2]
    scale = np.float32(1.0) / np.sqrt(hx * hx + hy * hy + hz * hz + np.float32(1e-6))
    half = (hx * scale, hy * scale, hz * scale)
    along, across = _dot(strand, half), _dot(normal, half)
    width = max(np.float32(material.roughness**2 + 0.2 * softness), np.float32(0.02))
    power = np.float32(2.0) / (width * width)
    facing = _dot(normal, light)
    open_ = min(max(np.float32(0.3) + np.float32(0.9) * facing, np.float32(0.0)), np.float32(1.0))
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
    """Sine to a power of the angle to the strand, ``(1 - along^2)^(power / 2)``, as a Gaussian."""
    return np.exp(np.float32(-0.5) * power * along * along)


@inlined
def _sample_environment(surroundings, x, y, z):
    """Bilinear radiance of the equirectangular surroundings in direction (x, y, z)."""
    rows, columns = surroundings.shape[0], surroundings.shape[1]
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
        _weighted_sum(surroundings, 0, left, top, right, below, a, b, c, d),
        _weighted_sum(surroundings, 1, left, top, right, below, a, b, c, d),
        _weighted_sum(surroundings, 2, left, top, right, below, a, b, c, d),
    )


@inlined
def _weighted_sum(picture, channel, left, top, right, below, a, b, c, d):
    upper = a * picture[top, left, channel] + b * picture[top, right, channel]
    return upper + c * picture[below, left, channel] + d * picture[below, right, channel]
