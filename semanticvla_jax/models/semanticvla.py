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
      without BOS; prompt_mask bool[B, P]; text_ids int32[B, M]; optionally pruner_noise
      f32[B, I, N, M] ~ N(0, 1), used in training instead of rng 'noise'. Other keys are ignored.
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
          siglip, dino: the pruner's details with leading [B, I]: similarity [.., N, M],
            kept_patches [.., h], cue_words [.., k], cue_attention [.., N, k];
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
        """The same from each tower's normalised pixels [B, I, H, W, 3], not `batch["images"]`."""
        images = dino_pixels.shape[1]
        prompt = batch["prompt_ids"], batch["prompt_mask"]
        ids, valid = self.coupler.language_ids(*prompt)
        conditions = self.pruners.condition(self.llm.embed(ids), valid)
        features, _ = self.encode({"dino": dino_pixels, "siglip": siglip_pixels}, conditions)
        selected = self.pruners.select(
            features, batch["text_ids"], batch.get("pruner_noise"), train
        )
        tokens = self.fuser.merge(**selected)
        tokens = tokens.reshape(-1, images, *tokens.shape[1:])
        sequence = self.coupler.assemble(
            self.llm.embed,
            tokens.reshape(tokens.shape[0], -1, tokens.shape[-1]),
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

    def encode(
        self, pixels: dict[str, jax.Array], conditions: dict[str, tuple]
    ) -> tuple[dict[str, tuple[jax.Array, jax.Array]], list[dict]]:
        """Both towers over all images at once, exchanging features where the fuser says.

        Args:
          pixels: normalised [B, I, H, W, 3] of each tower.
          conditions: (queries, modulations) of each tower, from the pruners.

        Returns:
          ({tower: (patches [B I, N, D], queries [B I, Q, D])}, and for each exchange
          {tower: (tokens before, tokens after)}).
        """
        towers = {"dino": self.dino, "siglip": self.siglip}
        tokens, modulations, done, exchanges = {}, {}, dict.fromkeys(towers, 0), []
        for name, tower in towers.items():
            batch, images = pixels[name].shape[:2]
            queries, per_block = conditions[name]
            flat = pixels[name].reshape(batch * images, *pixels[name].shape[2:])
            tokens[name] = tower.embed(flat, queries)
            modulations[name] = jax.tree.map(lambda x, n=images: jnp.repeat(x, n, 0), per_block)

        def advance(name: str, stop: int) -> None:
            tokens[name] = towers[name].run(tokens[name], done[name], stop, modulations[name])
            done[name] = stop

        for pair, (dino_block, siglip_block) in enumerate(self.fuser.pairs):
            advance("dino", dino_block + 1)
            advance("siglip", siglip_block + 1)
            before = dict(tokens)
            parts = {name: tower.split(tokens[name]) for name, tower in towers.items()}
            fused = self.fuser.exchange(pair, parts["dino"][1], parts["siglip"][1])
            for name, patches in zip(towers, fused, strict=True):
                prefix, _, queries = parts[name]
                tokens[name] = jnp.concatenate([prefix, patches, queries], axis=1)
            exchanges.append({name: (before[name], tokens[name]) for name in towers})
        for name, tower in towers.items():
            advance(name, tower.feature_index + 1)
        return {n: tower.split(tokens[n])[1:] for n, tower in towers.items()}, exchanges
