"""SemanticVLA on a bimanual ALOHA: 3 cameras, 14 joints, K = 25; options as semanticvla_libero.py.

Published settings: global batch 64, LoRA rank 32; otherwise as for LIBERO.
"""

from ml_collections import ConfigDict

from configs import options, semanticvla_libero
from semanticvla_jax.models import presets, variants


def get_config(chosen: str = "") -> ConfigDict:
    names = options.parse(chosen, robot="aloha")
    config = semanticvla_libero.get_config()
    config.robot = names.robot
    config.model = ConfigDict(variants.apply(names.variant, _model(names.size)))
    config.data.path = "datasets/aloha"
    config.batch_size = 64
    config.optimizer = options.released_optimizer(adapters=names.size == "7b")
    config.loss_weights = ConfigDict()
    return config


def _model(size: str) -> dict:
    if size == "7b":
        return presets.semanticvla_7b_aloha()
    return presets.for_aloha(presets.released(presets.SIZES[size]))
