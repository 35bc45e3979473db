"""Calibration files of other programs, and cameras to write into them."""

from __future__ import annotations

import json

from trg.geometry.camera import Camera
from trg.io.calibration import COLMAP_PARAMETERS

PINHOLE = Camera(812.5, 809.25, 331.0, 237.5, 640, 480)
LENS = Camera(812.5, 809.25, 331.0, 237.5, 640, 480, (-0.12, 0.08, 0.002, -0.003, 0.01))
FISHEYE = Camera(
    310.0, 305.5, 331.0, 237.5, 640, 480, (-0.01, 0.02, -0.01, 0.001), lens_model="fisheye"
)
RADIAL = Camera(812.5, 812.5, 331.0, 237.5, 640, 480, (-0.12, 0.08, 0.0, 0.0, 0.0))


def opencv_matrix(rows: int, numbers: list[float]) -> str:
    """One matrix as cv::FileStorage writes it."""
    data = ", ".join(f"{n:.16e}" for n in numbers)
    columns = len(numbers) // rows
    return f"!!opencv-matrix\n   rows: {rows}\n   cols: {columns}\n   dt: d\n   data: [ {data} ]"


def centre_from_zero(camera: Camera) -> list[float]:
    return [camera.fx, 0.0, camera.cx - 0.5, 0.0, camera.fy, camera.cy - 0.5, 0.0, 0.0, 1.0]


def opencv_yaml(camera: Camera, distortion_key: str = "distortion_coefficients") -> str:
    return (
        "%YAML:1.0\n---\n"
        'calibration_time: "Mon 07 Sep 2026 10:11:12"\n'
        f"image_width: {camera.width}\nimage_height: {camera.height}\nflags: 0\n"
        "fisheye_model: 0\n"
        f"camera_matrix: {opencv_matrix(3, centre_from_zero(camera))}\n"
        f"{distortion_key}: {opencv_matrix(5, list(camera.distortion))}\n"
        "avg_reprojection_error: 2.1e-01\n"
    )


def opencv_json(camera: Camera) -> str:
    def matrix(rows: int, numbers: list[float]) -> dict[str, object]:
        shape = {"rows": rows, "cols": len(numbers) // rows, "dt": "d"}
        return {"type_id": "opencv-matrix", **shape, "data": numbers}

    return json.dumps(
        {
            "image_width": camera.width,
            "image_height": camera.height,
            "camera_matrix": matrix(3, centre_from_zero(camera)),
            "distortion_coefficients": matrix(1, list(camera.distortion)),
        }
    )


def ros_yaml(camera: Camera, model: str = "plumb_bob") -> str:
    return (
        f"image_width: {camera.width}\nimage_height: {camera.height}\ncamera_name: head_camera\n"
        f"camera_matrix:\n  rows: 3\n  cols: 3\n  data: {centre_from_zero(camera)}\n"
        f"distortion_model: {model}\n"
        f"distortion_coefficients:\n  rows: 1\n  cols: 5\n  data: {list(camera.distortion)}\n"
        "rectification_matrix:\n  rows: 3\n  cols: 3\n  data: [1, 0, 0, 0, 1, 0, 0, 0, 1]\n"
        "projection_matrix:\n  rows: 3\n  cols: 4\n  data: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]\n"
    )


def ros_message(camera: Camera) -> str:
    return (
        "header:\n  stamp:\n    sec: 3\n    nanosec: 5\n  frame_id: camera\n"
        f"height: {camera.height}\nwidth: {camera.width}\ndistortion_model: plumb_bob\n"
        f"d: {list(camera.distortion)}\nk: {centre_from_zero(camera)}\n---\n"
    )


def colmap_text(camera: Camera, model: str) -> str:
    k1, k2, p1, p2, _ = camera.distortion
    known = {"f": camera.fx, "fx": camera.fx, "fy": camera.fy, "cx": camera.cx, "cy": camera.cy}
    known |= {"k1": k1, "k2": k2, "p1": p1, "p2": p2}
    numbers = " ".join(repr(known[name]) for name in COLMAP_PARAMETERS[model].split())
    return (
        "# Camera list with one line of data per camera:\n#   CAMERA_ID, MODEL, WIDTH, HEIGHT, "
        f"PARAMS[]\n# Number of cameras: 1\n1 {model} {camera.width} {camera.height} {numbers}\n"
    )


def written(tmp_path, name: str, text: str):
    path = tmp_path / name
    path.write_text(text)
    return path


def kalibr_yaml(camera: Camera, model: str, name: str = "cam0") -> str:
    return (
        f"{name}:\n  cam_overlaps: []\n  camera_model: pinhole\n"
        f"  distortion_coeffs: {list(camera.distortion[:4])}\n  distortion_model: {model}\n"
        f"  intrinsics: [{camera.fx}, {camera.fy}, {camera.cx - 0.5}, {camera.cy - 0.5}]\n"
        f"  resolution: [{camera.width}, {camera.height}]\n  rostopic: /cam0/image_raw\n"
    )


def opencv_xml(camera: Camera) -> str:
    def matrix(name: str, rows: int, numbers: list[float]) -> str:
        data = " ".join(f"{n:.16e}" for n in numbers)
        return (
            f'<{name} type_id="opencv-matrix"><rows>{rows}</rows><cols>{len(numbers) // rows}'
            f"</cols><dt>d</dt><data>\n {data}</data></{name}>\n"
        )

    return (
        '<?xml version="1.0"?>\n<opencv_storage>\n<calibration_Time>"now"</calibration_Time>\n'
        f"<image_Width>{camera.width}</image_Width>\n<image_Height>{camera.height}</image_Height>"
        + matrix("Camera_Matrix", 3, centre_from_zero(camera))
        + matrix("Distortion_Coefficients", 5, list(camera.distortion))
        + "</opencv_storage>\n"
    )


def roi_text(x: int, y: int, width: int, height: int, binning: int = 0) -> str:
    return (
        ros_message(LENS).removesuffix("---\n")
        + f"binning_x: {binning}\nbinning_y: {binning}\nroi:\n  x_offset: {x}\n  y_offset: {y}\n"
        f"  height: {height}\n  width: {width}\n  do_rectify: false\n"
    )
