"""The smallest complete training configuration: compiles in seconds."""

from __future__ import annotations

from pathlib import Path

from ml_collections import ConfigDict

from configs import libero_tiny, options
from semanticvla_jax.models import presets


def smallest_config(dataset: Path) -> ConfigDict:
    """`configs/libero_tiny.py` shrunk: 32 px images, 16 patches, one block per part."""
    config = libero_tiny.get_config()
    for tower in ("siglip", "dino"):
        config.model[tower].update(image_size=32, width=16, depth=1, mlp_width=16)
        config.model[tower].patch_embed = {
            "name": "convolutional_stem",
            "stages": ((4, 8, 8),),
            "last_merge": 2,
        }
    config.model.pruners.siglip.update(anchors=4, cues=2)
    config.model.pruners.dino.queries = 4
    config.model.fuser.dense_fuser.pairs = ((0, 0),)
    config.model.llm.update(width=32, depth=1, mlp_width=32)
    config.model.head.hidden = (16,)
    config.data.update(path=str(dataset), image_size=32, validation_every=0)
    config.update(batch_size=4, total_steps=6, log_every=1, checkpoint_every=2)
    # A decay of fixed length, so that runs of any length share one compiled step.
    config.optimizer.update(warmup_steps=2, decay_steps=100)
    return config


def adapted_config(dataset: Path) -> ConfigDict:
    """The smallest one with what the released run has: adapters on frozen parts stored in bfloat16,
    a scanned decoder that is recomputed in the backward pass, its optimizer; computes in f32."""
    config = smallest_config(dataset)
    config.model = ConfigDict(presets.adapted(config.model.to_dict(), rank=8, alpha=16))
    config.model.llm.update(depth=2, scan=True, remat=True)
    settings = options.released_optimizer(adapters=True)
    config.optimizer.update(
        rule=settings.rule, groups=settings.groups, decay_mask=settings.decay_mask
    )
    config.ema_decay = 0.9
    return config


CONFIGS = {"smallest": smallest_config, "adapted": adapted_config}
