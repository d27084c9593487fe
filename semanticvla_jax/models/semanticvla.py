"""SemanticVLA: the seven slots put together."""

from __future__ import annotations

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from semanticvla_jax.models.pruners import Condition, Selection
from semanticvla_jax.models.sequence import Prefix, language_ids


class Instruction(NamedTuple):
    """All that the model computes from sentences alone; every array has a leading [B].

    language: [B, P + 2, d], embeddings of BOS, the right padded prompt and the stop token.
    prompt_mask: bool[B, P].
    conditions: {tower: what it and its pruner are told}.
    """

    language: jax.Array
    prompt_mask: jax.Array
    conditions: dict[str, Condition]

    def shortened(self, prompt: int) -> Instruction:
        """With room for `prompt` tokens only, at least as many as any of the prompts has."""
        language = jnp.concatenate([self.language[:, : 1 + prompt], self.language[:, -1:]], axis=1)
        return self._replace(language=language, prompt_mask=self.prompt_mask[:, :prompt])


class SemanticVLA(nn.Module):
    """Images, proprioception and an instruction in, a chunk of continuous actions out.

    Slots (parameters carry these names):
      siglip, dino: VisionTower.
      pruners: what the instruction does to each tower, and which tokens go on.
      fuser: exchange between the towers, and projection into the language model.
      llm: decoder over embeddings.
      coupler: how actions come out of the decoder.
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
            kept_patches [.., h], cue_words [.., k], cue_attention [.., N, k] ...;
          image_tokens [B, I, tokens, d]; and the coupler's own.
        """
        return self.from_pixels(*self.pixels(batch), batch, train)

    def understand(self, batch: dict[str, jax.Array]) -> Instruction:
        """The first half: what depends on `prompt_ids`, `prompt_mask` and `text_ids` alone."""
        prompt = batch["prompt_ids"], batch["prompt_mask"]
        ids, valid = language_ids(*prompt, self.coupler.bos_id, self.coupler.stop_id)
        language = self.llm.embed(ids)
        conditions = self.pruners.condition(language, valid, batch["text_ids"])
        return Instruction(language, batch["prompt_mask"], conditions)

    def act(
        self, instruction: Instruction, batch: dict[str, jax.Array]
    ) -> tuple[jax.Array, dict[str, Any]]:
        """The second half: `__call__` from `images` and `state` and what was understood."""
        prefix, details = self.observe(*self.pixels(batch), instruction, batch)
        actions, more = self.decode(prefix)
        return actions, {**details, **more}

    def supervise(
        self, batch: dict[str, jax.Array], weights: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """The training loss of a batch that has `actions` f32[B, K, A], normalised.

        Args:
          weights: f32[A], of the action dimensions.

        Returns:
          (loss f32[], predicted actions f32[B, K, A]).
        """
        prefix, _ = self.observe(*self.pixels(batch), self.understand(batch), batch, train=True)
        return self.coupler.supervise(self.llm, self.head, prefix, batch["actions"], weights)

    def pixels(self, batch: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
        """The batch's images as (DINOv2, SigLIP) see them, each [B, I, H, W, 3]."""
        return self.dino.normalise(batch["images"]), self.siglip.normalise(batch["images"])

    def from_pixels(
        self,
        dino_pixels: jax.Array,
        siglip_pixels: jax.Array,
        batch: dict[str, jax.Array],
        train: bool = False,
    ) -> tuple[jax.Array, dict[str, Any]]:
        """`__call__` from each tower's normalised pixels instead of `batch["images"]`."""
        prefix, details = self.observe(
            dino_pixels, siglip_pixels, self.understand(batch), batch, train
        )
        actions, more = self.decode(prefix)
        return actions, {**details, **more}

    def decode(self, prefix: Prefix) -> tuple[jax.Array, dict[str, Any]]:
        """What the decoder is told -> (normalised actions f32[B, K, A], the coupler's details)."""
        return self.coupler.decode(self.llm, self.head, prefix)

    def observe(
        self,
        dino_pixels: jax.Array,
        siglip_pixels: jax.Array,
        instruction: Instruction,
        batch: dict[str, jax.Array],
        train: bool = False,
    ) -> tuple[Prefix, dict[str, Any]]:
        """Everything before the decoder: what it is told, and intermediates."""
        noise = batch.get("pruner_noise")
        selected = self.select(dino_pixels, siglip_pixels, instruction, noise, train)
        return self.tell(selected, instruction, batch["state"])

    def select(
        self,
        dino_pixels: jax.Array,
        siglip_pixels: jax.Array,
        instruction: Instruction,
        noise: jax.Array | None = None,
        train: bool = False,
    ) -> dict[str, Selection]:
        """What each tower hands on of its images [B, I, H, W, 3]."""
        pixels = {"dino": dino_pixels, "siglip": siglip_pixels}
        features, _ = self.encode(pixels, instruction.conditions)
        return self.pruners.select(features, instruction.conditions, noise, train)

    def tell(
        self, selected: dict[str, Selection], instruction: Instruction, state: jax.Array
    ) -> tuple[Prefix, dict[str, Any]]:
        """What the decoder is told of what the towers hand on, and intermediates."""
        tokens = self.fuser.merge(**selected)
        images = tokens.shape[0] // state.shape[0]
        tokens = tokens.reshape(-1, images, *tokens.shape[1:])
        flat = tokens.reshape(tokens.shape[0], -1, tokens.shape[-1])
        details = {
            tower: {k: v.reshape(-1, images, *v.shape[1:]) for k, v in selection.details.items()}
            for tower, selection in selected.items()
        }
        prefix = Prefix(flat, state, instruction.language, instruction.prompt_mask)
        return prefix, {**details, "image_tokens": tokens}

    def encode(
        self, pixels: dict[str, jax.Array], conditions: dict[str, Condition]
    ) -> tuple[dict[str, tuple[jax.Array, jax.Array]], list[dict]]:
        """Both towers over all images at once, exchanging features where the fuser says.

        Args:
          pixels: normalised [B, I, H, W, 3] of each tower.
          conditions: of each tower, from the pruners.

        Returns:
          ({tower: (patches [B I, N, D], queries [B I, Q, D])}, and for each exchange
          {tower: (tokens before, tokens after)}).
        """
        towers = {"dino": self.dino, "siglip": self.siglip}
        tokens, modulations, done, exchanges = {}, {}, dict.fromkeys(towers, 0), []
        appended = self.pruners.appended()
        for name, tower in towers.items():
            batch, images = pixels[name].shape[:2]
            flat = pixels[name].reshape(batch * images, *pixels[name].shape[2:])
            tokens[name] = tower.embed(flat, appended[name])
            per_block = conditions[name].modulations
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
