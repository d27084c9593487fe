"""Measures one point."""

from __future__ import annotations

import dataclasses
import time

import numpy as np

from benchmarks import random_policy, roofline
from benchmarks.latency_growth.points import Point
from semanticvla_jax.costs.chips import Chip
from semanticvla_jax.models import abstract
from semanticvla_jax.text.tokenizers import PromptTokenizer

SENTENCE = "pick up the alphabet soup and place it in the basket"


@dataclasses.dataclass(frozen=True)
class Measured:
    """Of a point.

    Attributes:
      seconds: of each query.
      positions: of the decoder.
      flops: of a query.
      least: seconds, the roofline.
    """

    point: Point
    seconds: list[float]
    positions: int
    flops: int
    least: float

    @property
    def median(self) -> float:
        return float(np.median(self.seconds))

    @property
    def p99(self) -> float:
        return float(np.percentile(self.seconds, 99))


def measure(point: Point, machine: Chip, calls: int) -> Measured:
    """Queries from prepared images on the host to actions on the host, after three that warm up.

    The sentence is known; images are new for every query.
    """
    text = point.model["pruners"].get("text_encoder") or {"length": abstract.TEXT_LENGTH}
    tokenizer = PromptTokenizer(prompt_length=512, text_length=text["length"])
    prompt_tokens = int(tokenizer.encode(SENTENCE)["prompt_mask"].sum())
    tokenizer = dataclasses.replace(tokenizer, prompt_length=prompt_tokens)
    policy = random_policy.policy(point.model, point.robot, tokenizer)
    query = roofline.count(point.model, point.robot, prompt_tokens, batch=point.batch)
    ids, generator = tokenizer.encode(SENTENCE), np.random.default_rng(0)
    shape = len(point.robot.cameras), policy.transform.size, policy.transform.size, 3

    def row() -> dict[str, np.ndarray]:
        state = np.zeros(point.robot.state_size, np.float32)
        return {"images": generator.integers(0, 256, shape, np.uint8), "state": state, **ids}

    seconds = []
    for _ in range(calls + 3):
        rows = [row() for _ in range(point.batch)]
        began = time.perf_counter()
        policy.compute(rows)
        seconds.append(time.perf_counter() - began)
    positions = query.tokens.sequence
    return Measured(point, seconds[3:], positions, query.flops, query.seconds(machine))
