"""Functions of the product done wrongly: each takes the right one and returns a wrong one."""

from __future__ import annotations

import jax.numpy as jnp

from semanticvla_jax.models import pruners


def final_norm_applied(original):
    def encode(self, pixels, conditions):
        features, exchanges = original(self, pixels, conditions)
        towers = {"dino": self.dino, "siglip": self.siglip}
        normed = {n: tuple(towers[n].normed(x) for x in xs) for n, xs in features.items()}
        return normed, exchanges

    return encode


def positions_from_the_class_token_on(original):
    def embed(self, pixels, queries=None):
        tokens = original(self, pixels, queries)
        if not self.class_token:
            return tokens
        shifted = jnp.roll(self.pos_embed, 1, axis=1) - self.pos_embed
        start = self.prefix
        return tokens.at[:, start : start + self.patches].add(shifted[:, -self.patches :])

    return embed


def queries_before_the_patches(original):
    def embed(self, pixels, queries=None):
        tokens = original(self, pixels, queries)
        prefix, patches, appended = self.split(tokens)
        return jnp.concatenate([prefix, appended, patches], axis=1)

    return embed


def film_before_attention(original):
    def call(self, x, mask=None, modulation=None):
        if modulation is not None:
            scale, shift = modulation
            x = (1 + scale[:, None]) * x + shift[:, None]
        return original(self, x, mask, None)

    return call


def film_without_one(original):
    def call(self, x, mask=None, modulation=None):
        if modulation is not None:
            modulation = modulation[0] - 1, modulation[1]
        return original(self, x, mask, modulation)

    return call


def one_tower_after_the_other(original):
    def call(self, pair, dino, siglip):
        first, _ = original(self, pair, dino, siglip)
        return first, original(self, pair, first, siglip)[1]

    return call


def pads_not_hidden(original):
    def read(self, text_ids):
        words = original(self, text_ids)
        return words and words._replace(mask=jnp.ones_like(words.mask))

    return read


def without_stop_token(original):
    return lambda embeddings, valid: original(embeddings[:, :-1], valid[:, :-1])


def cues_behind_anchors(original):
    def merge(self, dino, siglip):
        return jnp.roll(original(self, dino, siglip), -siglip.cues.shape[1], axis=1)

    return merge


def anchors_swapped(original):
    def call(self, dino, siglip):
        swapped = dino._replace(anchors=siglip.anchors), siglip._replace(anchors=dino.anchors)
        return original(self, *swapped)

    return call


def state_first(original):
    def assemble(self, image_tokens, *rest):
        built = original(self, image_tokens, *rest)
        bos, images_, state, tail = jnp.split(
            built.embeddings, [1, 1 + image_tokens.shape[1], 2 + image_tokens.shape[1]], axis=1
        )
        return built._replace(embeddings=jnp.concatenate([bos, state, images_, tail], axis=1))

    return assemble


def neighbouring_pairs(original):
    def rotate(x, angles):
        paired = jnp.concatenate([x[..., 0::2], x[..., 1::2]], axis=-1)
        first, second = jnp.split(original(paired, angles), 2, axis=-1)
        return jnp.stack([first, second], axis=-1).reshape(x.shape)

    return rotate


def second_to_last_block(original):
    def run(self, tokens, start, stop, modulations=None):
        if stop < self.depth:
            return original(self, tokens, start, stop, modulations)
        before = original(self, tokens, start, stop - 1, modulations)
        original(self, before, stop - 1, stop, modulations)  # its parameters exist all the same
        return before

    return run


def best_patch_first(original):
    def select(self, *args):
        selection = original(self, *args)
        scores, kept = (selection.details[n] for n in ("patch_scores", "kept_patches"))
        order = jnp.argsort(-jnp.take_along_axis(scores, kept, axis=1))
        return selection._replace(anchors=pruners.take_rows(selection.anchors, order))

    return select


def block_without_stop(original):
    return lambda valid, start, length: original(valid, start, length - 1)


def epsilon_1e6(original):
    return lambda epsilon, *args, **kwargs: original(1e-6, *args, **kwargs)


def without_mask(original):
    return lambda self, ids, mask=None: original(self, ids, None)


def without_warmup(original):
    return lambda peak, **settings: original(peak, **{**settings, "warmup_steps": 0})


def not_negated(original):
    def to_environment(self, actions):
        actions = original(self, actions)
        actions[..., self.index] *= -1
        return actions

    return to_environment


def unchanged(original):
    """A step that is left out: what it is given comes back."""
    return lambda x, *args, **kwargs: x


def only_kernels_decay(original):
    def released_optimizer(**arguments):
        settings = original(**arguments)
        settings.decay_mask = ".*kernel"
        return settings

    return released_optimizer


def other_bounds(original):
    other = {"bounds": "bounds_q99", "bounds_q99": "bounds"}
    return lambda self, kind: original(self, other[kind])
