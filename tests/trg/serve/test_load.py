"""Many requests at once, slow clients, clients that leave, failures, and the end."""

from __future__ import annotations

import contextlib
import json
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
import pytest
from starlette.exceptions import HTTPException

from tests.support.http_service import (
    BOX,
    MODEL,
    RunningService,
    head,
    picture,
    read_all,
    wait_until,
)
from trg.estimator import HeadPoseEstimator
from trg.inference.detections import FixedBoxes
from trg.serve import limits as limits_module
from trg.serve.batching import Batcher, Picture
from trg.serve.limits import Limits, Load

PICTURE = picture()


def test_pictures_that_wait_are_estimated_together(gated):
    with RunningService(gated, batch_size=4) as service, ThreadPoolExecutor(5) as clients:
        answers = [clients.submit(service.post, PICTURE)]
        assert gated.has_started.wait(20)
        answers += [clients.submit(service.post, PICTURE) for _ in range(4)]
        wait_until(lambda: service.service.load.pictures == 5)
        wait_until(lambda: service.service._batcher._decoded.full())
        gated.is_open.set()
        assert {answer.result().status for answer in answers} == {200}
        metrics = service.get("/metrics").content.decode()
    assert "trg_batch_pictures_count 2.0" in metrics
    assert 'trg_batch_pictures_bucket{le="4.0"} 2.0' in metrics


def test_a_full_queue_refuses_and_says_when_to_come_again(gated):
    with RunningService(gated, queue=3, images=3) as service, ThreadPoolExecutor(3) as clients:
        answers = [clients.submit(service.post, PICTURE) for _ in range(2)]
        wait_until(lambda: service.service.load.pictures == 2)
        two = service.post_form(*[("image", "a", PICTURE)] * 2)
        assert (two.status, int(two.headers["retry-after"]) >= 1) == (429, True)
        answers.append(clients.submit(service.post, PICTURE))
        wait_until(lambda: service.service.load.pictures == 3)
        with service.connect() as client:  # the body need not come
            client.sendall(head(1000))
            assert client.recv(100).startswith(b"HTTP/1.1 429")
        gated.is_open.set()
        assert {answer.result().status for answer in answers} == {200}
        assert service.post(PICTURE).status == 200


def test_a_slow_queue_takes_only_what_it_can_answer_in_time():
    load = Load(Limits(queue=64, timeout_s=30.0))
    load._note_speed(8.0)  # so that the average is two seconds
    with ExitStack() as admitted:
        for _ in range(7):
            admitted.enter_context(load.admit(1))
        with pytest.raises(HTTPException) as refused:
            load.refuse_if_full()
    assert refused.value.headers == {"Retry-After": "14"}
    load._note_speed(1000.0)
    with load.admit(3):  # whatever was before, an empty queue takes requests
        assert load.pictures == 3
    assert load.pictures == 0


def test_the_bodies_of_all_requests_share_a_limit_of_memory(network):
    with RunningService(network, body_bytes=100_000, memory_bytes=150_000) as service:
        with service.connect() as client:
            client.sendall(head(90_000) + bytes(80_000))
            wait_until(lambda: service.service.load.bytes == 80_000)
            assert service.post(bytes(90_000)).status == 429
        wait_until(lambda: service.service.load.bytes == 0)
        assert service.post(PICTURE).status == 200


def test_a_client_that_leaves_costs_nothing_more(gated):
    with RunningService(gated, batch_size=1) as service, ThreadPoolExecutor(1) as clients:
        first = clients.submit(service.post, PICTURE)
        assert gated.has_started.wait(20)
        leaving = service.connect()
        leaving.sendall(head(len(PICTURE)) + PICTURE)
        wait_until(lambda: service.service.load.pictures == 2)
        leaving.close()
        wait_until(lambda: service.service.load.pictures == 1)
        gated.is_open.set()
        assert first.result().status == 200
        assert service.post(PICTURE).status == 200
        assert gated.crops == 2
        assert 'status="499"' in service.get("/metrics").content.decode()


def test_a_picture_that_is_given_up_before_it_is_decoded_holds_no_memory(gated):
    estimator = HeadPoseEstimator(gated, FixedBoxes([BOX]), min_confidence=0.0, refine=False)
    batcher = Batcher([{MODEL: estimator}], batch_size=1, decoders=1, on_batch=lambda count: None)
    try:
        others = Picture(PICTURE, MODEL, None, None, 1)
        before = [batcher.submit(others) for _ in range(3)]  # estimated, decoded, being decoded
        assert gated.has_started.wait(20)
        boxes = np.array([BOX])
        given_up, lives = batcher.submit(others._replace(boxes=boxes)), weakref.ref(boxes)
        del boxes
        assert given_up.cancel()
        assert lives() is None
    finally:
        gated.is_open.set()
        batcher.close()
    assert all(each.result().faces for each in before)


def test_a_client_that_leaves_while_it_sends_frees_its_memory(network):
    with RunningService(network) as service:
        with service.connect() as client:
            client.sendall(head(1000) + bytes(10))
            wait_until(lambda: service.service.load.bytes == 10)
        wait_until(lambda: service.service.load.bytes == 0)


def test_slow_bodies_time_out_and_hold_no_place_in_the_queue(network):
    with RunningService(network, queue=1, images=1, timeout_s=1.0) as service:
        with service.connect() as slow:
            slow.sendall(head(1000))
            start_s = time.monotonic()
            assert service.post(PICTURE).status == 200
            answer = b""
            while not answer:
                slow.sendall(b"x")
                slow.settimeout(0.1)
                try:
                    answer = slow.recv(100)
                except TimeoutError:
                    assert time.monotonic() < start_s + 20
        assert answer.startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize("sent", [b"", b"POST /v1/predict HTTP/1.1\r\nHost: a\r\nA: "])
def test_connections_without_a_request_are_closed(network, monkeypatch, sent):
    monkeypatch.setattr(limits_module, "IDLE_CHECK_S", 0.1)
    with RunningService(network) as service, service.connect() as client:
        client.sendall(sent)
        assert read_all(client) == b""


def test_a_refused_upload_that_never_ends_is_closed(network, monkeypatch):
    monkeypatch.setattr(limits_module, "IDLE_CHECK_S", 0.1)
    with RunningService(network) as service, service.connect() as client:
        client.sendall(head(2**30) + bytes(1000))
        assert read_all(client).startswith(b"HTTP/1.1 413")


def test_a_client_that_reads_no_answers_is_closed(network, monkeypatch):
    monkeypatch.setattr(limits_module, "IDLE_CHECK_S", 0.2)
    with RunningService(network) as service, service.connect() as client:
        request = b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n" * 100
        client.settimeout(1.0)
        with contextlib.suppress(OSError):  # full, or closed already
            for _ in range(1000):
                client.sendall(request)
        wait_until(lambda: not service.server.server_state.connections)


def test_requests_that_work_longer_than_a_check_are_answered(gated, monkeypatch):
    monkeypatch.setattr(limits_module, "IDLE_CHECK_S", 0.05)
    with RunningService(gated) as service, ThreadPoolExecutor(1) as clients:
        answer = clients.submit(service.post, PICTURE)
        assert gated.has_started.wait(20)
        time.sleep(0.3)
        gated.is_open.set()
        assert answer.result().status == 200


def test_too_many_connections_are_closed(network, monkeypatch):
    monkeypatch.setattr(limits_module, "MAX_CONNECTIONS", 1)
    with RunningService(network) as service, service.connect():
        wait_until(lambda: len(service.server.server_state.connections) == 1)
        with service.connect() as second:
            assert read_all(second) == b""


def test_pictures_that_are_not_processed_in_time_are_given_up(gated):
    with RunningService(gated, timeout_s=1.0) as service:
        answer = service.post(PICTURE)
        assert (answer.status, "retry-after" in answer.headers) == (503, True)
        gated.is_open.set()
        assert service.post(PICTURE).status == 200


def test_a_picture_that_fails_in_the_network_fails_alone(gated):
    with RunningService(gated, batch_size=4) as service, ThreadPoolExecutor(5) as clients:
        answers = [clients.submit(service.post, PICTURE)]
        assert gated.has_started.wait(20)
        two_faces = (("image", "a", PICTURE), ("boxes", json.dumps([BOX, BOX])))
        bad = clients.submit(service.post_form, *two_faces)
        answers += [clients.submit(service.post, PICTURE) for _ in range(2)]
        wait_until(lambda: service.service.load.pictures == 4)
        gated.refused_crops = 2
        gated.is_open.set()
        assert (bad.result().status, "internal" in bad.result().error) == (500, True)
        assert {answer.result().status for answer in answers} == {200}
        assert service.get("/v1/health").status == 200


def test_the_end_finishes_what_is_in_flight_and_takes_nothing_new(gated):
    with RunningService(gated) as service, ThreadPoolExecutor(1) as clients:
        answer = clients.submit(service.post, PICTURE)
        assert gated.has_started.wait(20)
        service.server.handle_exit(2, None)
        assert service.service.is_ready is False

        def is_closed():
            try:
                service.connect().close()
            except ConnectionRefusedError:
                return True
            return False

        wait_until(is_closed)
        gated.is_open.set()
        assert answer.result().status == 200


@pytest.mark.parametrize(
    "wrong", [{"queue": 0}, {"timeout_s": float("nan")}, {"queue": 2, "images": 3}]
)
def test_limits_that_cannot_hold_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        Limits(**wrong)
    with pytest.raises(ValueError, match="body_bytes"):
        Limits(body_bytes=10**9)
