"""SemanticVLA, tiny: learns one LIBERO task from scratch on two CPU cores.

Every mechanism of the full model is there and working: both towers, ID- and SA-Pruner with
budgets below the number of patches, both fusers, typed action tokens decoded in one parallel pass.
The parts that only make sense with pretrained weights are swapped: a convolutional stem, learned
placeholders, aligned read-out and per-token heads.
"""

from ml_collections import ConfigDict, config_dict

from semanticvla_jax.models import presets


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.seed = 0
    config.robot = "libero"
    config.model = presets.tiny()

    config.data = ConfigDict()
    config.data.path = "datasets/libero_object"  # written by `python -m data.libero_expert`
    config.data.image_size = 64
    config.data.cameras = "sighted"  # "blank" trains the baseline without eyes
    config.data.tail = "repeat_last"  # the last steps of an episode start chunks too
    config.data.validation_every = 12  # every 12th episode is kept out of training
    config.data.crop_area = 0.9
    config.data.brightness = 0.0  # the simulator's light does not change
    config.data.contrast = 0.0
    config.data.saturation = 0.0
    config.data.hue = 0.0
    config.data.prompt_length = 32
    config.data.text_length = 28
    config.data.workers = 0

    config.init_from = config_dict.placeholder(str)  # directory of converted parameters
    config.batch_size = 32
    config.accumulate_steps = 1  # parts of the batch, one after the other
    config.total_steps = 1600
    config.optimizer = ConfigDict(
        dict(
            rule="muon",  # from scratch it needs a fraction of Adam's samples
            muon=dict(matrices=".*kernel", min_dim=16, beta=0.95, scale=2.0),
            learning_rate=1e-3,
            warmup_steps=64,
            decay_steps=0,  # the rest of the run
            final_learning_rate=1e-5,
            b1=0.9,
            b2=0.98,
            eps=1e-8,
            weight_decay=1e-3,
            decay_mask=".*kernel",
            clip_norm=1.0,
            groups=((".*", 1.0),),  # (regex, learning-rate multiplier); None freezes
        )
    )
    config.loss_weights = ConfigDict(dict(translation=1.0, rotation=0.3, gripper=2.0))
    config.ema_decay = 0.0  # of averaged parameters, which are evaluated; 0 = none

    config.mesh = ConfigDict(dict(data=-1, fsdp=1, tensor=1))
    config.log_every = 20
    config.checkpoint_every = 400
    config.keep_checkpoints = 2
    config.validate_every = 0  # steps between losses on held-out episodes; 0 = never
    config.validation_batches = 8
    config.profile_steps = ()  # (first, last), traced into WORKDIR/profile
    config.wandb = ""  # project of Weights & Biases to log to as well
    return config
