"""Hierarchical fuser: towers exchange features at chosen blocks; their anchors are merged."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from semanticvla_jax.models.layers import MLP, Dense
from semanticvla_jax.models.pruners import Selection


class ResidualDenseFuser(nn.Module):
    """Dense-Fuser: after each pair of blocks, patch i of one tower meets patch i of the other.

    U = concat(DINO, SigLIP) on channels, taken before any update; each tower's patches then receive
    their own MLP of U, added to them. MLP: hidden width = width of U, exact GELU.

    Attributes:
      pairs: [DINO block, SigLIP block], 0-based, ascending.
    """

    pairs: Sequence[tuple[int, int]] = ()
    activation: str = "gelu_exact"
    kernel_init: str = "torch"
    residual_init: str = "torch"
    dense: Callable[..., nn.Module] = Dense

    @nn.compact
    def __call__(
        self, pair: int, dino: jax.Array, siglip: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Fuses patches dino[n, N, D1] and siglip[n, N, D2] with the MLPs of `pairs[pair]`."""
        both = jnp.concatenate([dino, siglip], axis=-1)

        def update(name: str, patches: jax.Array) -> jax.Array:
            widths = (both.shape[-1], patches.shape[-1])
            mlp = MLP(
                widths,
                self.activation,
                self.kernel_init,
                self.residual_init,
                self.dense,
                name=f"pair_{pair}_{name}",
            )
            return self.combine(patches, mlp(both))

        return update("dino", dino), update("siglip", siglip)

    def combine(self, patches: jax.Array, fused: jax.Array) -> jax.Array:
        return patches + fused


class ReplacingDenseFuser(ResidualDenseFuser):
    """The paper's equation 8: the MLP of the concatenation replaces the patches."""

    def combine(self, patches: jax.Array, fused: jax.Array) -> jax.Array:
        return fused


class SparseFuser(nn.Module):
    """Sparse-Fuser (eq. 9) and the projectors into the language model.

    The i-th anchors of both towers are concatenated (DINO, SigLIP) and projected by OpenVLA's
    three-layer projector; cues get a two-layer projector of their own.

    Attributes:
      llm_width: of the language model.
      hidden_ratio: width of the projector's first layer over its input's.
    """

    llm_width: int
    hidden_ratio: int = 4
    activation: str = "gelu_exact"
    kernel_init: str = "torch"
    cue_init: str = "normal_0.02"
    dense: Callable[..., nn.Module] = Dense

    @nn.compact
    def __call__(self, dino: Selection, siglip: Selection) -> jax.Array:
        """Two selections of n images -> [n, cues + anchors, llm_width], cues first."""
        anchors = jnp.concatenate([dino.anchors, siglip.anchors], axis=-1)
        widths = (self.hidden_ratio * anchors.shape[-1], self.llm_width, self.llm_width)
        projector = MLP(
            widths, self.activation, self.kernel_init, dense=self.dense, name="projector"
        )
        tokens = [
            self._project_cues(name, selection.cues)
            for name, selection in (("dino", dino), ("siglip", siglip))
            if selection.cues.shape[1]
        ]
        return jnp.concatenate([*tokens, projector(anchors)], axis=1)

    def _project_cues(self, tower: str, cues: jax.Array) -> jax.Array:
        widths = (self.llm_width, self.llm_width)
        name = f"{tower}_cue_projector"
        return MLP(widths, self.activation, self.cue_init, dense=self.dense, name=name)(cues)


class HierarchicalFuser(nn.Module):
    """Dense and sparse stage together."""

    dense_fuser: nn.Module
    sparse_fuser: nn.Module

    @property
    def pairs(self) -> Sequence[tuple[int, int]]:
        return self.dense_fuser.pairs

    def exchange(
        self, pair: int, dino: jax.Array, siglip: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """The dense stage between blocks: patches of both towers in and out."""
        return self.dense_fuser(pair, dino, siglip)

    def merge(self, dino: Selection, siglip: Selection) -> jax.Array:
        """The sparse stage behind the pruners: [n, tokens, llm_width]."""
        return self.sparse_fuser(dino, siglip)
