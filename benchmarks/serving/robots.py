"""Robots that ask a server as fast as it answers.

    python -m benchmarks.serving.robots URL ROBOTS SECONDS

Prints one JSON object: seconds of every answer, and of the whole run.
"""

from __future__ import annotations

import json
import sys
import threading
import time

import numpy as np

from semanticvla_jax.client.policy_client import PolicyClient


def picture(size: int) -> np.ndarray:
    """uint8[size, size, 3] of shades and edges: noise would cost a codec more than any scene."""
    rows, columns = np.mgrid[0:size, 0:size]
    shade = 60 + 120 * rows // size
    blocks = 50 * ((rows // 37 + columns // 23) % 3 == 0)
    return np.stack([shade + blocks, shade, 200 - shade + blocks], -1).astype(np.uint8)


def robot(url: str, barrier: threading.Barrier, seconds: float, latencies: list[float]) -> None:
    """Asks for `seconds`, one question after the other."""
    with PolicyClient(url, timeout=60) as client:
        image = picture(client.camera_size)
        cameras = [camera["name"] for camera in client.metadata["cameras"]]
        observation = {
            **dict.fromkeys(cameras, image),
            "state": np.zeros(len(client.metadata["state"]), np.float32),
            "instruction": "pick up the alphabet soup and place it in the basket",
        }
        client.infer(observation)
        barrier.wait()
        end = time.perf_counter() + seconds
        while (began := time.perf_counter()) < end:
            client.infer(observation)
            latencies.append(time.perf_counter() - began)


def main(url: str, count: int, seconds: float) -> None:
    latencies: list[float] = []
    barrier = threading.Barrier(count + 1)
    threads = [
        threading.Thread(target=robot, args=(url, barrier, seconds, latencies))
        for _ in range(count)
    ]
    for thread in threads:
        thread.start()
    barrier.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    print(json.dumps({"latencies": latencies, "seconds": time.perf_counter() - began}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
