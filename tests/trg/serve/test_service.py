"""Requests over real sockets: records, options, and what is refused."""

from __future__ import annotations

import io
import json
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.support.http_service import BOX, MODEL, PREDICT, head, picture
from trg.serve.schema import FailureRecord, Prediction

CALIBRATION = {"fx": 300.0, "fy": 300.0, "cx": 160.0, "cy": 120.0, "width": 320, "height": 240}


def record(answer):
    assert answer.status == 200, answer.content
    [only] = answer.json["records"]
    return only


def test_a_record_is_that_of_predict(service, bundle_path, trg_cli, tmp_path):
    (tmp_path / "a.png").write_bytes(picture())
    (tmp_path / "boxes.json").write_text(json.dumps({"a.png": [BOX]}))
    options = ("--fov", 50, "--ipd", 64, "--frame", "unity", "--landmarks")
    done = trg_cli(
        *("predict", tmp_path / "a.png", "--model", bundle_path, *options),
        *("--boxes", tmp_path / "boxes.json"),
    )
    [expected] = done.records
    answer = service.post_form(
        *(("image", "a.png", picture()), ("ipd", "64"), ("landmarks", "true")),
        *(("boxes", json.dumps([BOX])),),
        query="fov=50&frame=unity",
    )
    assert record(answer) == {**expected, "source": "a.png"}
    assert len(expected["faces"]) == 1
    assert answer.json["model"] == MODEL


def test_every_key_of_a_record_is_in_the_schema(service):
    query = "landmarks=1&camera=" + json.dumps({**CALIBRATION, "distortion": [0.1, 0, 0, 0, 0]})
    answer = service.post(picture(), query.replace(" ", "%20"))
    checked = Prediction.model_validate(answer.json)
    assert checked.records[0].faces[0].landmarks_m
    assert record(answer)["camera"]["distortion"] == [0.1, 0.0, 0.0, 0.0, 0.0]


def test_pictures_keep_their_order_and_a_bad_one_is_a_record_with_an_error(service):
    answer = service.post_form(
        ("image", "a.png", picture(100, 80)),
        ("image", "b.png", b"no picture"),
        ("image", picture(120, 80)),
    )
    first, second, third = answer.json["records"]
    assert [answer.status, first["size"], third["size"]] == [200, [100, 80], [120, 80]]
    assert [first["source"], third["source"]] == ["a.png", "image"]
    assert second.keys() == {"source", "error"}
    assert "file of another kind" in second["error"]


def test_a_request_without_any_good_picture_is_unprocessable_and_tells_why(service):
    answer = service.post_form(("image", "a.png", b"?"), ("image", "b.png", b""))
    assert answer.status == 422
    assert [FailureRecord.model_validate(each).source for each in answer.json["records"]] == [
        "a.png",
        "b.png",
    ]


def test_a_picture_in_a_part_of_another_name_is_told_the_name(service):
    for content in (picture(), b"\xff" * 70_000):
        answer = service.post_form(("file", "a.png", content))
        assert answer.status == 422
        assert "pictures are parts 'image'" in answer.error


def test_the_orientation_in_exif_is_respected(service):
    exif = Image.Exif()
    exif[0x0112] = 6
    assert record(service.post(picture(320, 240, "JPEG", exif=exif)))["size"] == [240, 320]


def test_cameras_are_given_as_content_or_by_a_device_name(service):
    text = "%YAML:1.0\ncamera_matrix: [300, 0, 159.5, 0, 300, 119.5, 0, 0, 1]\n"
    answer = service.post_form(("image", "a", picture()), ("camera", "calib.yaml", text))
    assert record(answer)["camera"]["fx"] == 300.0
    assert record(answer)["camera"]["cx"] == 160.0
    answer = service.post(picture(640, 480), "camera=Logitech%20C920")
    assert record(answer)["camera"]["source"] == "device"


def test_boxes_of_several_pictures_go_by_name(service):
    boxes = {"a.png": [BOX, [10, 10, 60, 60]], "b.png": []}
    answer = service.post_form(
        *(("image", name, picture()) for name in boxes), ("boxes", json.dumps(boxes))
    )
    assert [len(each["faces"]) for each in answer.json["records"]] == [2, 0]


NAN_CAMERA = json.dumps({**CALIBRATION, "fx": float("nan")})


@pytest.mark.parametrize(
    "query",
    [
        *(
            "fov=nan",
            "fov=5e-324",
            "fov=0",
            "fov=180",
            "fov=-1e400",
            "fov=1&fov=x",
            "fov=",
            "fov[]=1",
        ),
        *("focal=nan", "focal=inf", "focal=-1", "focal=0", "focal=1e300", "focal=1&fov=50"),
        *("ipd=nan", "ipd=0.063", "ipd=1e999", "fov_axis=oblique", "frame=maya", "landmarks=maybe"),
        *("fov_axis=vertical", "fov_axis=vertical&focal=500"),
        *("max_faces=0", "max_faces=6", "max_faces=1.5", "max_faces=99999999999999999999"),
        *("blendshapes=2", "landmark=1", "model=other", "model=../constant", "url=http://a/b"),
        *("camera=", "camera=/etc/passwd", "camera=file:///etc/passwd", "camera=http://a/b.yaml"),
        *("camera={", "camera={}", f"camera={NAN_CAMERA}", "camera=" + "%5B" * 9000),
        *("camera=a:%20%26a%20[*a]%0Ab:%201", "camera=<!DOCTYPE%20a><a/>", "camera=%00"),
        *("boxes=x", "boxes=1", "boxes=null", "boxes={}", "boxes=[[1,2,3]]", "boxes=[[3,3,1,1]]"),
        *("boxes=[[NaN,1,2,3]]", "boxes=[[0,0,1e999,9]]", "boxes=[[0,0,1,1]]", 'boxes="a"'),
        *("boxes=" + "[" * 5000, "boxes=[[1,1,9,9]" + ",[1,1,9,9]" * 5 + "]"),
        *('boxes={"other":[[1,1,9,9]]}', f"boxes=[[{'9' * 5000},1,2,3]]"),
    ],
)
def test_wrong_options_are_unprocessable(service, query):
    answer = service.post(picture(), query.replace(" ", "%20").replace('"', "%22"))
    assert answer.status == 422, answer.content
    assert 0 < len(answer.error) <= 1000
    assert "/etc/passwd" not in answer.error or "camera '" in answer.error
    name, _, value = query.partition("=")
    as_field = service.post_form(("image", "a", picture()), (name, value))
    assert as_field.status == 422, as_field.content


def test_blendshapes_of_a_model_that_has_none_are_unprocessable(service):
    answer = service.post(picture(), "blendshapes=true")
    assert answer.status == 422
    assert "expected the landmark mesh of the bundled models" in answer.json["records"][0]["error"]


def test_an_option_is_given_once(service):
    answer = service.post_form(("image", "a", picture()), ("fov", "50"), query="fov=50")
    assert (answer.status, "both" in answer.error) == (422, True)
    answer = service.post_form(("image", "a", picture()), ("fov", "50"), ("fov", "60"))
    assert (answer.status, "once" in answer.error) == (422, True)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("../../etc/passwd", "passwd"),
        ("/etc/passwd", "passwd"),
        ("C:\\windows\\..\\a.png", "a.png"),
        ("..", ".."),
        ("a/", "image"),
        ("http://a.example/b.png", "b.png"),
        (b"caf\xe9.png", r"caf\xe9.png"),
        ("x" * 5000, None),
        ("a\0b.png", None),
    ],
)
def test_names_of_files_are_shown_and_never_opened(service, name, source):
    answer = service.post_form(("image", name, picture()))
    if answer.status == 200:
        found = record(answer)["source"]
        assert found == source or (source is None and len(found) <= 255)
    else:
        assert answer.status == 400


def bomb(width, height):
    """A PNG that says to be large, and holds nothing."""

    def chunk(kind, data):
        crc = zlib.crc32(kind + data).to_bytes(4, "big")
        return len(data).to_bytes(4, "big") + kind + data + crc

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    zeros = zlib.compress(bytes(10**6))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zeros)


def zip_bomb():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(10**7))
    return stream.getvalue()


def many_scans():
    stream = io.BytesIO()
    Image.new("L", (64, 64)).save(stream, "JPEG", progressive=True)
    data = stream.getvalue()
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * 200 + data[-2:]


@pytest.mark.parametrize(
    "content",
    [
        *(bomb(30_000, 30_000), bomb(2**31 - 1, 2**31 - 1), zip_bomb(), many_scans()),
        *(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"GIF89a", b"\xff\xd8\xff"),
        *(b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"http://a.example/b.png", b"/etc/passwd"),
        picture()[:-40],
    ],
)
def test_bombs_and_other_files_are_unprocessable(service, content):
    answer = service.post(content)
    assert answer.status == 422
    assert answer.json["records"][0]["error"]


def test_an_empty_body_and_other_types_are_refused(service):
    assert service.post(b"").status == 422
    assert service.post(picture(), content_type="text/plain").status == 415
    assert service.post(picture(), content_type="").status == 415
    assert service.post(b"a=1", content_type="application/x-www-form-urlencoded").status == 415
    compressed = service.post(zlib.compress(picture()), content_encoding="deflate")
    assert compressed.status == 415
    assert service.request("POST", PREDICT, picture()).status == 415
    assert service.get(PREDICT).status == 405
    assert service.get("/v1/../etc/passwd").status == 404


FORM = "multipart/form-data; boundary=b"
PART = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", PART),
        ("multipart/form-data; boundary=", PART),
        ("multipart/form-data; boundary=" + "b" * 400, PART),
        (FORM, b""),
        (FORM, b"garbage"),
        (FORM, b"--b"),
        (FORM, PART),
        (FORM, PART + b"data\r\n--b\r\n"),
        (FORM, PART + b"data\r\n--b--garbage"),
        (FORM, b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n"),
        (FORM, b"--b\r\n\r\nx\r\n--b--\r\n"),
        (FORM, b"--b\r\n" + b"A: b\r\n" * 100 + b"\r\nx\r\n--b--\r\n"),
        (FORM, b"--b\r\nA: " + b"b" * 10**5 + b"\r\n\r\nx\r\n--b--\r\n"),
        (FORM, PART[:-2] + b"Content-Transfer-Encoding: base64\r\n\r\n!!!!\r\n--b--\r\n"),
        (FORM, PART[:-2] + b"Content-Transfer-Encoding: uuencode\r\n\r\nx\r\n--b--\r\n"),
        (FORM, PART.replace(b"a", b"\xff\x00") + b"x\r\n--b--\r\n"),
        (FORM, b"--c\r\n" + PART + b"x\r\n--b--\r\n"),
        (FORM, PART.replace(b"image", b"\xff\xfe") + b"x\r\n--b--\r\n"),
        (FORM, PART.replace(b"image", b"fov") + b"\xff\r\n--b--\r\n"),
        (FORM, (PART + b"\r\n") * 9 + b"--b--\r\n"),
        (FORM, PART.replace(b"image", b"camera") + b"x" * 70_000 + b"\r\n--b--\r\n"),
        ("image/\xff\xfe", b"x"),
    ],
)
def test_damaged_forms_are_refused(service, content_type, body):
    answer = service.post(body, content_type=content_type)
    assert answer.status in (400, 415, 422), answer.content
    assert answer.error


def test_large_bodies_are_refused_before_and_while_they_come(service):
    declared = service.exchange(head(2**30, connection="close") + b"x" * 100)
    assert declared.startswith(b"HTTP/1.1 413")
    with service.connect() as client:
        client.sendall(head(None))
        for _ in range(30):
            client.sendall(b"2710\r\n" + bytes(10_000) + b"\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 413")
    asked = service.exchange(head(2**30, expect="100-continue", connection="close"))
    assert asked.startswith(b"HTTP/1.1 413")
    assert service.service.load.bytes == 0


@pytest.mark.parametrize(
    "data",
    [
        b"\0\1\2\3\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET /v1/health HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nA: " + b"b" * 10**5 + b"\r\n\r\n",
        head(5).replace(b"Length: 5", b"Length: -5"),
        head(5).replace(b"Length: 5", b"Length: 5\r\nContent-Length: 6"),
        head(5).replace(b"Length: 5", b"Length: " + b"9" * 50),
        head(None) + b"zz\r\n",
        head(None) + b"-1\r\n\r\n",
    ],
)
def test_requests_that_are_no_http_are_bad(service, data):
    answer = service.exchange(data)
    assert answer.startswith(b"HTTP/1.1 4") or answer == b""


def test_pages_of_other_sites_are_refused(service):
    assert service.post(picture(), origin="https://evil.example").status == 403
    assert "--cors" in service.post(picture(), origin="https://evil.example").json["error"]
    assert service.post(picture(), origin="null").status == 403
    assert service.post(picture(), origin="http://[").status == 403
    assert service.post(picture(), origin=f"http://127.0.0.1:{service.port}").status == 200
    friend = service.post(picture(), origin="https://friend.example")
    assert friend.status == 200
    assert friend.headers["access-control-allow-origin"] == "https://friend.example"


def test_the_documentation_describes_every_refusal_and_loads_nothing(service):
    described = service.get("/openapi.json")
    operation = described.json["paths"][PREDICT]["post"]
    assert {"200", "400", "403", "408", "413", "415", "422", "429", "500", "503"} == {
        *operation["responses"]
    }
    assert {each["name"] for each in operation["parameters"]} >= {"fov", "boxes", "landmarks"}
    form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert {*form} == {"image", *(each["name"] for each in operation["parameters"])}
    assert b"http" not in described.content.replace(b"HTTP", b"")
    assert service.get("/docs").status == 404


def test_health_models_and_metrics(service):
    assert service.get("/v1/health").json["status"] == "ready"
    assert service.get("/v1/health/live").status == 204
    assert service.get("/v1/models").json["models"][0]["name"] == MODEL
    before = np.array(counts(service))
    service.post_form(*[("image", "a.png", picture())] * 2, ("image", "b.png", b"x"))
    after = np.array(counts(service))
    assert (after - before).tolist() == [1, 2, 1, 0]


def counts(service):
    text = service.get("/metrics").content.decode()
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")
    names = (
        'trg_requests_total{status="200"}',
        "trg_faces_total",
        "trg_picture_failures_total",
        "trg_queue_pictures",
    )
    return [float(values.get(name, 0)) for name in names]
