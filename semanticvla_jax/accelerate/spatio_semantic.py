"""SP-VLA's token pruning: contours, and what the vision encoder attends to (eq. 5 to 7)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from semanticvla_jax.accelerate.edges import edge_shares
from semanticvla_jax.accelerate.scene import Combined, Scene
from semanticvla_jax.accelerate.selection import top_mask
from semanticvla_jax.accelerate.stage import Stage


def by_ratio(scores: jax.Array, share: jax.Array) -> jax.Array:
    """The ceil(share n) largest of scores f32[m, n], share f32[m]: bool[m, n]."""
    return top_mask(scores, jnp.ceil(share * scores.shape[1] - 1e-4).astype(jnp.int32))


def by_mass(scores: jax.Array, share: jax.Array) -> jax.Array:
    """The fewest whose scores sum to `share` of the total (appendix A.4): bool[m, n]."""
    order = jnp.argsort(-scores, axis=1, stable=True)
    largest_first = jnp.take_along_axis(scores, order, axis=1)
    before = jnp.cumsum(largest_first, axis=1) - largest_first
    total = scores.sum(1, keepdims=True)
    needed = before < share[:, None] * total * (1 - 1e-6)
    return jnp.take_along_axis(needed, jnp.argsort(order, axis=1), axis=1)


def retained_share(speed: jax.Array, slow: float, fast: float, floor: float) -> jax.Array:
    """T_r: 1 below `slow`, falling to 0 at `fast`, but never below `floor`."""
    falling = 1 - (speed - slow) / (fast - slow)
    return jnp.where(speed < slow, 1.0, jnp.clip(falling, floor, 1.0))


@dataclasses.dataclass(frozen=True)
class SpatioSemantic(Stage):
    """Before the decoder: tokens on contours and tokens the tower attends to stay, in order.

    The semantic score is the attention a patch receives in the last block, mean over heads and
    askers. (Equation 6 as printed sums rows, which is 1 for every token behind a softmax.) The
    faster the hand, the fewer semantic tokens; contours always stay. Speed is the length of the
    last executed action's translation; before the first action nothing is dropped. Rotary
    positions stay. Not stated in the paper, chosen here: Canny's thresholds, how many edge pixels
    make a contour patch, the floor, and that the share is a share of the tokens (`by_ratio`;
    `by_mass` is the appendix's).

    Attributes:
      tower: whose attention counts.
      slow, fast: speeds between which the share falls, in the controller's units.
      floor: least share of semantic tokens.
      choose: by_ratio or by_mass.
      low, high: Canny's thresholds.
      edge: least share of edge pixels of a contour patch.
      levels: shares of the tokens that programs are compiled for.
    """

    tower: str = "siglip"
    slow: float = 0.2
    fast: float = 1.0
    floor: float = 0.4
    choose: Callable[[jax.Array, jax.Array], jax.Array] = by_ratio
    low: float = 100.0
    high: float = 200.0
    edge: float = 0.02
    levels: tuple[float, ...] = (0.5, 0.625, 0.75, 0.875, 1.0)
    name: str = "sp_vla_tokens"

    def prepare(self, batch: Mapping[str, np.ndarray], last_action, robot, grid: int) -> dict:
        """Contours of the images, and the speed."""
        images = batch["images"]
        shares = edge_shares(images.reshape(-1, *images.shape[2:]), grid, self.low, self.high)
        speed = 0.0
        if last_action is not None:
            translation = np.asarray(last_action)[list(robot.action_kinds["translation"])]
            speed = float(np.linalg.norm(translation))
        return {
            "edges": shares.reshape(1, images.shape[1], -1),
            "speed": np.full(1, speed, np.float32),
        }

    def combine(self, scene: Scene, state: None) -> tuple[Combined, None]:
        """The anchors that stay."""
        share = retained_share(scene.extras["speed"], self.slow, self.fast, self.floor)
        semantic = self.choose(scene.at_anchors(scene.received), scene.per_image(share))
        edges = scene.extras["edges"].reshape(scene.received.shape)
        return Combined(None, semantic | (scene.at_anchors(edges) >= self.edge)), None
