"""Reading images: modes, bit depths, EXIF orientation and focal length, refused inputs."""

from __future__ import annotations

import io
import math
import os
import sys
import types
import warnings

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageFile, ImageOps

from trg.geometry.camera import Camera
from trg.io.images import allow_pixels, is_image_file, open_image, read_image
from trg.io.orientation import EXIF_ORIENTATIONS

SCENE = np.random.default_rng(1).integers(0, 256, (6, 9, 3), dtype=np.uint8)
LENS = (0.12, -0.08, 0.002, -0.003, 0.01)


def exif_block(orientation: int = 1, focal_35mm: object = None) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    if focal_35mm is not None:
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = focal_35mm
    return exif


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["png", "webp", "tiff"])
def test_orientation_is_applied_as_pillow_does(orientation, kind, tmp_path):
    path = tmp_path / f"turned.{kind}"
    options = {"lossless": True} if kind == "webp" else {}
    Image.fromarray(SCENE).save(path, exif=exif_block(orientation), **options)
    with Image.open(path) as image:
        expected = np.array(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(read_image(path).pixels, expected)
    with Image.open(path) as image:
        np.testing.assert_array_equal(read_image(image).pixels, expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_camera_turns_with_the_pixels(orientation):
    camera = Camera(520, 480, 4.3, 2.1, 9, 6, LENS)
    operation = EXIF_ORIENTATIONS[orientation]
    upright = operation.apply_to_camera(camera)
    pixels = operation.apply(SCENE)
    assert pixels.shape[:2] == (upright.height, upright.width)
    for row, column in [(0, 0), (2, 7), (5, 3)]:
        ray = camera.unproject((column + 0.5, row + 0.5))
        if operation.transpose:
            ray = ray[::-1]
        ray = ray * (-1 if operation.flip_x else 1, -1 if operation.flip_y else 1)
        x, y = upright.pixels_from_rays(ray)
        np.testing.assert_array_equal(pixels[int(y), int(x)], SCENE[row, column])
        assert (x % 1, y % 1) == pytest.approx((0.5, 0.5))


@pytest.mark.parametrize("orientation", [1, 6])
def test_focal_length_is_a_diagonal_measure(orientation, tmp_path):
    path = tmp_path / "photo.jpg"
    Image.new("RGB", (400, 300)).save(path, exif=exif_block(orientation, 26))
    image = read_image(path)
    sides = (300, 400) if orientation == 6 else (400, 300)
    camera = image.camera
    assert (camera.width, camera.height) == sides == image.pixels.shape[1::-1]
    assert camera.source == "exif"
    assert (camera.cx, camera.cy) == (sides[0] / 2, sides[1] / 2)
    assert camera.fov_deg("diagonal") == pytest.approx(
        math.degrees(2 * math.atan(math.hypot(36, 24) / 2 / 26))
    )


@pytest.mark.parametrize(
    ("exif_size", "has_camera"), [((4000, 3000), True), ((3000, 4000), True), ((4000, 2250), False)]
)
def test_cropped_images_have_no_camera(exif_size, has_camera, tmp_path):
    exif = exif_block(1, 26)
    tags = exif.get_ifd(ExifTags.IFD.Exif)
    tags[ExifTags.Base.ExifImageWidth], tags[ExifTags.Base.ExifImageHeight] = exif_size
    Image.new("RGB", (400, 300)).save(tmp_path / "photo.jpg", exif=exif)
    assert (read_image(tmp_path / "photo.jpg").camera is not None) == has_camera


@pytest.mark.parametrize("focal", [None, 0, 1, 60000])
def test_without_a_focal_length_there_is_no_camera(focal, tmp_path):
    path = tmp_path / "photo.jpg"
    Image.new("RGB", (40, 30)).save(path, exif=exif_block(1, focal))
    assert read_image(path).camera is None


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_only_removes_the_camera(tmp_path):
    path = tmp_path / "photo.jpg"
    Image.new("RGB", (40, 30), (255, 0, 0)).save(path, exif=exif_block(1, 26))
    data = path.read_bytes()
    path.write_bytes(data.replace(b"MM\x00*\x00\x00\x00\x08", b"MM\x00*\xff\xff\xff\xff"))
    image = read_image(path)
    assert image.camera is None
    assert image.pixels.shape == (30, 40, 3)


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"]
)
def test_every_mode_becomes_rgb(mode):
    image = Image.fromarray(SCENE).convert(mode)
    expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(read_image(image).pixels, expected)


def test_transparent_pixels_become_white():
    image = Image.new("RGBA", (3, 2), (200, 0, 0, 0))
    image.putpixel((1, 1), (200, 0, 0, 255))
    image.putpixel((2, 1), (200, 0, 0, 51))
    pixels = read_image(image).pixels
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[1, 1].tolist() == [200, 0, 0]
    assert pixels[1, 2].tolist() == [244, 204, 204]
    np.testing.assert_allclose(read_image(np.asarray(image)).pixels, pixels, atol=1)


@pytest.mark.parametrize("kind", ["png", "tiff", "pgm"])
def test_sixteen_bit_values_are_scaled(kind, tmp_path):
    values = np.array([[0, 257, 300], [32768, 65534, 65535]], np.uint16)
    expected = np.round(values / 257.0).astype(np.uint8)
    path = tmp_path / f"deep.{kind}"
    Image.fromarray(values).save(path)
    np.testing.assert_array_equal(read_image(path).pixels, np.stack([expected] * 3, -1))
    np.testing.assert_array_equal(read_image(values).pixels[..., 1], expected)


@pytest.mark.parametrize("kind", ["gif", "webp", "png"])
def test_the_first_frame_of_an_animation_is_read(kind, tmp_path):
    path = tmp_path / f"moving.{kind}"
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if kind == "webp" else {}
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=40, **options)
    assert (read_image(path).pixels == (255, 0, 0)).all()
    assert read_image(path).frame_count == 3


@pytest.mark.parametrize("shape", [(6, 9), (6, 9, 1), (6, 9, 3), (6, 9, 4), (1, 1, 3), (2, 20000)])
def test_arrays_are_read(shape):
    array = np.full(shape, 7, np.uint8)
    if shape[2:] == (4,):
        array[..., 3] = 255
    pixels = read_image(array[::-1]).pixels
    assert pixels.shape == (*shape[:2], 3)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert (pixels == 7).all()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros((4, 4, 3)), r"uint8.*uint16.*float64.*\* 255"),
        (np.zeros((4, 4), bool), "bool"),
        (np.zeros((4, 4, 2), np.uint8), r"\(4, 4, 2\)"),
        (np.zeros((0, 4, 3), np.uint8), "at least one pixel"),
        (np.zeros((1, 4, 4, 3), np.uint8), r"\(h, w, 3\)"),
        (Image.new("F", (4, 4)), "mode 'F'"),
        (Image.new("I", (4, 4)), "mode 'I'"),
        (Image.new("RGB", (0, 4)), "at least one pixel"),
        (b"\xff\xd8", "bytes"),
        (None, "NoneType"),
    ],
)
def test_unsupported_inputs_are_refused(source, message):
    with pytest.raises(ValueError, match=message):
        read_image(source)


def test_truncated_files_are_errors(tmp_path):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    for kind, options in [
        ("jpg", {}),
        ("jpg", {"progressive": True}),
        ("png", {}),
        ("webp", {}),
        ("tiff", {}),
        ("bmp", {}),
        ("gif", {}),
        ("jp2", {}),
        ("tga", {}),
        ("ppm", {}),
    ]:
        path = tmp_path / f"whole.{kind}"
        noise.save(path, **options)
        assert read_image(path).pixels.shape == (64, 64, 3)
        data = path.read_bytes()
        for share in (0.0, 0.1, 0.5, 0.9):
            path.write_bytes(data[: int(len(data) * share)])
            with pytest.raises(ValueError, match=path.name):
                read_image(path)


def test_files_that_are_not_images_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.jpg"):
        read_image(tmp_path / "nothing.jpg")
    with pytest.raises(IsADirectoryError, match="got a folder"):
        read_image(tmp_path)
    (tmp_path / "notes.txt").write_text("not an image")
    with pytest.raises(ValueError, match=r"expected an image \(JPEG, PNG.*another kind"):
        read_image(tmp_path / "notes.txt")


POSTSCRIPT = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"


def test_postscript_reaches_no_interpreter_whatever_its_suffix(tmp_path, monkeypatch):
    monkeypatch.setattr("subprocess.check_call", lambda *_: pytest.fail("runs a program"))
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_: pytest.fail("runs a program"))
    for name in ("photo.jpg", "drawing.eps"):
        (tmp_path / name).write_text(POSTSCRIPT)
        with pytest.raises(ValueError, match=rf"{name}.*another kind"):
            read_image(tmp_path / name)
        with pytest.raises(OSError, match=name):
            open_image(tmp_path / name)
    with Image.open(tmp_path / "photo.jpg") as drawing, pytest.raises(ValueError, match="drawing"):
        read_image(drawing)


HEIC_HEADER = b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic"


def test_heic_is_recognised_by_content_and_the_extra_offered(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr(Image, "OPEN", {k: v for k, v in Image.OPEN.items() if k != "HEIF"})
    (tmp_path / "sent.jpg").write_bytes(HEIC_HEADER)
    with pytest.raises(ValueError, match=r"sent\.jpg: .*pip install 'trg-headpose\[heic\]'"):
        read_image(tmp_path / "sent.jpg")
    assert is_image_file(tmp_path / "sent.jpg")
    (tmp_path / "sent.heic").write_bytes(b"\0\0\0\x18ftypavif\0\0\0\0mif1avif")
    with pytest.raises(ValueError, match="another kind"):
        read_image(tmp_path / "sent.heic")


def test_heic_is_decoded_by_pillow_heif(tmp_path, monkeypatch):
    class HeifImage(ImageFile.ImageFile):
        format = "HEIF"

        def _open(self):
            self._size, self._mode = (3, 2), "RGB"
            self.tile = [ImageFile._Tile("raw", (0, 0, 3, 2), 24, "RGB")]

    def register_heif_opener():
        Image.OPEN["HEIF"] = (HeifImage, lambda prefix: prefix[4:8] == b"ftyp")

    monkeypatch.setattr(Image, "OPEN", {k: v for k, v in Image.OPEN.items() if k != "HEIF"})
    plugin = types.SimpleNamespace(register_heif_opener=register_heif_opener)
    monkeypatch.setitem(sys.modules, "pillow_heif", plugin)
    (tmp_path / "sent.jpg").write_bytes(HEIC_HEADER + bytes(range(18)))
    assert read_image(tmp_path / "sent.jpg").pixels.ravel().tolist() == list(range(18))


def test_a_stream_is_read_within_a_limit(monkeypatch):
    file = io.BytesIO()
    Image.fromarray(SCENE).save(file, "png")
    read_end, write_end = os.pipe()
    os.write(write_end, file.getvalue())
    os.close(write_end)
    with open(read_end, "rb") as stream:  # cannot seek
        np.testing.assert_array_equal(read_image(stream).pixels, SCENE)
    monkeypatch.setattr("trg.io.images.MAX_STREAM_BYTES", 10)
    with pytest.raises(ValueError, match="at most 10 bytes"):
        read_image(io.BytesIO(file.getvalue()))


@pytest.mark.parametrize("orientation", [1, 6, 7])
@pytest.mark.parametrize("mode", ["RGB", "P", "LA", "I;16"])
def test_large_images_are_converted_in_strips(mode, orientation, tmp_path, monkeypatch):
    exif = exif_block(orientation)
    if mode == "I;16":
        image = Image.fromarray(SCENE[..., 0].astype(np.uint16) * 257)
    else:
        image = Image.fromarray(SCENE).convert(mode)
    options = {"transparency": 3} if mode == "P" else {}
    image.save(tmp_path / "photo.png", exif=exif, **options)
    whole = read_image(tmp_path / "photo.png").pixels
    monkeypatch.setattr("trg.io.images._STRIP_PX", 2 * 9 + 1)
    np.testing.assert_array_equal(read_image(tmp_path / "photo.png").pixels, whole)


def test_images_above_the_size_limit_are_refused(tmp_path):
    stream = io.BytesIO()
    Image.new("1", (20000, 20000)).save(stream, "png")
    (tmp_path / "bomb.png").write_bytes(stream.getvalue())
    with pytest.raises(ValueError, match=r"at most 17\d,\d{3},\d{3} pixels.*MAX_IMAGE_PIXELS"):
        read_image(tmp_path / "bomb.png")
    Image.new("1", (20000, 40)).save(tmp_path / "wide.png")
    assert read_image(tmp_path / "wide.png").pixels.shape == (40, 20000, 3)


def test_the_size_limit_can_be_raised(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)  # restored afterwards
    Image.new("1", (100, 40)).save(tmp_path / "photo.png")
    with warnings.catch_warnings():
        allow_pixels(3998)
        with pytest.raises(ValueError, match="--max-megapixels"):
            read_image(tmp_path / "photo.png")
        warnings.simplefilter("error")
        allow_pixels(4000)
        assert read_image(tmp_path / "photo.png").pixels.shape == (40, 100, 3)


def jpeg_with_scans(count, thumbnail=b"", hide=b""):
    """A progressive JPEG with ``count`` more scans than Pillow writes."""
    stream = io.BytesIO()
    Image.new("L", (64, 64)).save(stream, "JPEG", progressive=True)
    data = stream.getvalue()
    scan = hide + data[data.rindex(b"\xff\xda") : -2]
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    return data[:2] + segment + data[2:-2] + scan * count + data[-2:]


def test_a_jpeg_of_so_many_scans_that_it_takes_hours_is_refused():
    with pytest.raises(ValueError, match="at most 100 scans"):
        read_image(io.BytesIO(jpeg_with_scans(200)))
    with pytest.raises(ValueError, match="at most 100 scans"):
        read_image(io.BytesIO(jpeg_with_scans(200, hide=b"\xff\x01")))  # a marker without length
    photo = read_image(io.BytesIO(jpeg_with_scans(20, thumbnail=b"\xff\xda\0\2\xff\xd9" * 200)))
    assert photo.pixels.shape == (64, 64, 3)
    assert read_image(io.BytesIO(jpeg_with_scans(0) + b"\xff\xda" * 200)).frame_count == 1
