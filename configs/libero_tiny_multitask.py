"""One tiny policy for three tasks of libero_goal: one scene, only the sentence says what to do.

The bowl on the stove, the wine bottle on top of the cabinet, the bowl on the plate:

    python -m data.libero_expert --suite libero_goal --tasks 1,2,8 --episodes 80 \\
        --out datasets/goal
    python -m semanticvla_jax.train --config configs/libero_tiny_multitask.py --workdir runs/goal
    python -m semanticvla_jax.evaluate --checkpoint runs/goal --suite libero_goal --tasks 1,2,8 \\
        --episodes 10 --execute 2 --seed 777 --out runs/goal/official
    ... --placement jittered --out runs/goal/jittered
    ... --tasks 8 --sentence "put the bowl on the stove" --out runs/goal/wrong_sentence

The README has the figures.
"""

from ml_collections import ConfigDict

from configs import libero_tiny


def get_config() -> ConfigDict:
    config = libero_tiny.get_config()
    config.data.path = "datasets/goal"
    config.total_steps = 2400
    config.checkpoint_every = 800
    return config
