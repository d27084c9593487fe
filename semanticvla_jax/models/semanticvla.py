"""SemanticVLA: the seven slots put together."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


class SemanticVLA(nn.Module):
    """Images, proprioception and an instruction in, a chunk of continuous actions out.

    Slots (parameters carry these names):
      siglip, dino: VisionTower.
      pruners: what the instruction does to each tower, and which tokens go on.
      fuser: exchange between the towers, and projection into the language model.
      llm: decoder over embeddings.
      coupler: the decoder's sequence, mask and read-out.
      head: action token states -> actions.

    Batch:
      images uint8[B, I, H, W, 3]; state f32[B, Q] normalised; prompt_ids int32[B, P] right padded,
      without BOS; prompt_mask bool[B, P]; text_ids int32[B, M]; pruner_noise f32[B, I, N, M] ~ N(0, 1)
      (optional: used in training instead of rng 'noise'). Other keys are ignored.
    """

    siglip: nn.Module
    dino: nn.Module
    fuser: nn.Module
    pruners: nn.Module
    llm: nn.Module
    coupler: nn.Module
    head: nn.Module

    def __call__(
        self, batch: dict[str, jax.Array], train: bool = False
    ) -> tuple[jax.Array, dict[str, Any]]:
        """A batch -> (normalised actions f32[B, K, A], intermediates).

        Intermediates:
          siglip, dino: the pruner's details with leading [B, I]: similarity [.., N, M], kept_patches
            [.., h], cue_words [.., k], cue_attention [.., N, k];
          image_tokens [B, I, tokens, d]; sequence: coupler.Sequence; hidden [B, S, d];
          action_states [B, K, T, d].
        """
        images = batch["images"]
        return self.from_pixels(
            self.dino.normalise(images), self.siglip.normalise(images), batch, train
        )

    def from_pixels(
        self,
        dino_pixels: jax.Array,
        siglip_pixels: jax.Array,
        batch: dict[str, jax.Array],
        train: bool = False,
    ) -> tuple[jax.Array, dict[str, Any]]:
        """The same from normalised pixels [B, I, H, W, 3] of each tower; `batch["images"]` is not used."""
        images = dino_pixels.shape[1]
        prompt = batch["prompt_ids"], batch["prompt_mask"]
        ids, valid = self.coupler.language_ids(*prompt)
        conditions = self.pruners.condition(self.llm.embed(ids), valid)
        dino, siglip = self._encode(dino_pixels, siglip_pixels, conditions)
        selected = self.pruners.select(
            siglip, dino, batch["text_ids"], batch.get("pruner_noise"), train
        )
        tokens = self.fuser.merge(**selected)
        tokens = tokens.reshape(-1, images, *tokens.shape[1:])
        sequence = self.coupler.assemble(
            self.llm.embed,
            tokens.reshape(len(tokens), -1, tokens.shape[-1]),
            batch["state"],
            *prompt,
        )
        hidden = self.llm(sequence.embeddings, sequence.mask)
        states = self.coupler.read(hidden, sequence.start)
        details = {
            tower: {k: v.reshape(-1, images, *v.shape[1:]) for k, v in selection.details.items()}
            for tower, selection in selected.items()
        }
        return self.head(states), {
            **details,
            "image_tokens": tokens,
            "sequence": sequence,
            "hidden": hidden,
            "action_states": states,
        }

    def _encode(self, dino_pixels, siglip_pixels, conditions) -> tuple[tuple, tuple]:
        """Both towers, all images of the batch at once: (patches, queries) of each, [B I, ...]."""
        images = dino_pixels.shape[1]
        towers, tokens, modulations = (self.dino, self.siglip), [], []
        for tower, pixels, name in zip(
            towers, (dino_pixels, siglip_pixels), ("dino", "siglip"), strict=True
        ):
            queries, per_block = conditions[name]
            tokens.append(tower.embed(pixels.reshape(-1, *pixels.shape[2:]), queries))
            modulations.append(jax.tree.map(lambda x: jnp.repeat(x, images, axis=0), per_block))
        done = [0, 0]
        for pair, blocks in enumerate(self.fuser.pairs):
            for t, block in enumerate(blocks):
                tokens[t] = towers[t].run(tokens[t], done[t], block + 1, modulations[t])
                done[t] = block + 1
            dino, siglip = (tower.split(x) for tower, x in zip(towers, tokens, strict=True))
            fused = self.fuser.exchange(pair, dino[1], siglip[1])
            tokens = [
                jnp.concatenate([prefix, patches, queries], axis=1)
                for (prefix, _, queries), patches in zip((dino, siglip), fused, strict=True)
            ]
        for t, tower in enumerate(towers):
            tokens[t] = tower.run(tokens[t], done[t], tower.feature_index + 1, modulations[t])
        return tuple(tower.split(x)[1:] for tower, x in zip(towers, tokens, strict=True))
