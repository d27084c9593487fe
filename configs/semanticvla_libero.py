"""SemanticVLA on LIBERO's four suites, and every variant, baseline and size of it.

    --config configs/semanticvla_libero.py                 the released 7B model, LoRA
    --config configs/semanticvla_libero.py:lite            a variant (models/variants.py)
    --config configs/semanticvla_libero.py:r4,small        at another size: small, base, 7b
    --config configs/semanticvla_libero.py:openvla,libero_one_camera    another robot (robots.py)

Published settings: global batch 128, AdamW at 5e-4 with weight decay 0.01 on everything, 2,000
steps of warm-up, a cosine over 80,000 to 1e-5, no clipping.
"""

from ml_collections import ConfigDict

from configs import options
from semanticvla_jax.models import presets, variants


def get_config(chosen: str = "") -> ConfigDict:
    names = options.parse(chosen, robot="libero")
    config = ConfigDict()
    config.seed = 7
    config.robot = names.robot
    config.model = variants.apply(names.variant, _model(names.size))
    config.init_from = ""  # converted weights to start from, see docs/weights.md

    config.data = ConfigDict()
    config.data.path = "datasets/libero_4_task_suites_no_noops"
    config.data.image_size = 224
    config.data.prompt_length = 64
    config.data.text_length = 64
    config.data.language_vocabulary = "vocabularies/llama2/tokenizer.model"
    config.data.text_vocabulary = "vocabularies/siglip/spiece.model"
    config.data.workers = 8

    config.batch_size = 128
    config.accumulate_steps = 1  # parts of the batch, one after the other
    config.total_steps = 80_005
    config.optimizer = options.released_optimizer(adapters=names.size == "7b")
    config.loss_weights = ConfigDict(dict(translation=1.0, rotation=1.0, gripper=1.0))
    config.ema_decay = 0.0  # of averaged parameters, which are evaluated; 0 = none

    config.mesh = ConfigDict(dict(data=1, fsdp=-1, tensor=1))
    config.log_every = 50
    config.checkpoint_every = 10_000
    config.keep_checkpoints = 8
    config.validate_every = 0  # steps between losses on held-out episodes; 0 = never
    config.validation_batches = 8
    config.profile_steps = ()  # (first, last), traced into WORKDIR/profile
    config.wandb = ""  # project of Weights & Biases to log to as well
    return config


def _model(size: str) -> dict:
    if size == "7b":
        return presets.semanticvla_7b_libero()
    return presets.released(presets.SIZES[size])
