"""Load `trg serve` with many clients at once, and report latencies, statuses and its memory.

    python scripts/load_service.py photo.jpg --clients 1000 --seconds 60

Each client sends the photo again and again on one connection. Where it is refused it waits as long
as Retry-After says. Needs nothing but the standard library. The exit code is 1 if a request
failed other than by status 429.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path


class Load:
    """What all clients saw."""

    def __init__(self, host: str, port: int, photo: bytes, query: str) -> None:
        self.host, self.port = host, port
        head = (
            f"POST /v1/predict?{query} HTTP/1.1\r\nHost: {host}:{port}\r\n"
            f"Content-Type: image/jpeg\r\nContent-Length: {len(photo)}\r\n\r\n"
        )
        self.request = head.encode() + photo
        self.statuses: Counter[str] = Counter()
        self.latencies_s: list[float] = []
        """Of requests that succeeded, each try on its own."""
        self.waits_s: list[float] = []
        """Of the same, from the first try on."""

    async def client(self, end_s: float) -> None:
        """Send requests until the end; a lost connection is an error, and opened again."""
        await asyncio.sleep(random.uniform(0.0, 1.0))
        reader = writer = None
        first_s = time.monotonic()
        while time.monotonic() < end_s:
            start_s = time.monotonic()
            try:
                if writer is None:
                    reader, writer = await asyncio.open_connection(self.host, self.port)
                writer.write(self.request)
                await writer.drain()
                status, retry_s = await asyncio.wait_for(read_answer(reader), 120)
            except (OSError, EOFError, asyncio.TimeoutError) as error:
                self.statuses[type(error).__name__] += 1
                if writer is not None:
                    writer.close()
                writer = None
                await asyncio.sleep(1.0)
                continue
            self.statuses[str(status)] += 1
            now_s = time.monotonic()
            if status == 429:
                writer.close()  # the service would close it meanwhile
                writer = None
                await asyncio.sleep(retry_s * random.uniform(1.0, 1.5))
                continue
            if status == 200:
                self.latencies_s.append(now_s - start_s)
                self.waits_s.append(now_s - first_s)
            first_s = now_s
        if writer is not None:
            writer.close()


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, float]:
    """Return the status of an answer, and the seconds of its Retry-After."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    await reader.readexactly(int(length[1]) if length else 0)
    retry = re.search(rb"retry-after: (\d+)", head, re.IGNORECASE)
    return int(head.split()[1]), float(retry[1]) if retry else 1.0


def memory_mb(host: str, port: int) -> float:
    """Return the resident memory of the service from its own metrics; only Linux states it."""
    with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=60) as answer:
        found = re.search(r"^process_resident_memory_bytes (\S+)", answer.read().decode(), re.M)
    return float(found[1]) / 1e6 if found else float("nan")


async def watch_memory(load: Load, end_s: float, seen_mb: list[float]) -> None:
    """Note the memory every five seconds."""
    while time.monotonic() < end_s:
        seen_mb.append(await asyncio.to_thread(memory_mb, load.host, load.port))
        await asyncio.sleep(5.0)


def percentile(values: list[float], share: float) -> float:
    """Return the value below which this share lies; NaN of none."""
    return sorted(values)[int(share * (len(values) - 1))] if values else float("nan")


async def main() -> int:
    """Run and report; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photo", type=Path)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--query", default="", help="options, as fov=60&landmarks=true")
    given = parser.parse_args()
    load = Load(given.host, given.port, given.photo.read_bytes(), given.query)
    end_s = time.monotonic() + given.seconds
    seen_mb: list[float] = []
    clients = [load.client(end_s) for _ in range(given.clients)]
    await asyncio.gather(watch_memory(load, end_s, seen_mb), *clients)
    good = len(load.latencies_s)
    print(f"{good} answers, {good / given.seconds:.1f} a second; statuses {dict(load.statuses)}")
    for name, values in (("answer", load.latencies_s), ("answer and refusals", load.waits_s)):
        shown = ", ".join(
            f"p{round(100 * each)} {percentile(values, each):.2f}" for each in (0.5, 0.99)
        )
        print(f"seconds to an {name}: {shown}")
    print("memory, MB:", " ".join(f"{each:.0f}" for each in seen_mb))
    return int(bool(set(load.statuses) - {"200", "429"}))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
