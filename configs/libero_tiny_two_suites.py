"""One tiny policy for a task of libero_object and one of libero_spatial, and rivals alike.

The alphabet soup into the basket, the black bowl between plate and ramekin onto the plate. Any
variant of models/variants.py is trained the same way:

    python -m data.libero_expert --suite libero_object --tasks 0 --episodes 120 \\
        --out datasets/object
    python -m data.libero_expert --suite libero_spatial --tasks 0 --episodes 120 \\
        --out datasets/spatial
    python -m semanticvla_jax.train --config configs/libero_tiny_two_suites.py --workdir runs/two
    ... --config configs/libero_tiny_two_suites.py:openvla --workdir runs/two_openvla
    ... --config configs/libero_tiny_two_suites.py:openvla_oft --workdir runs/two_oft
    python -m semanticvla_jax.evaluate --checkpoint runs/two --suite libero_object,libero_spatial \\
        --tasks 0 --execute 2 --out runs/two/official

`python -m benchmarks.accelerators` compares accelerators on these three.
"""

from ml_collections import ConfigDict

from configs import libero_tiny
from semanticvla_jax.models import presets, variants


def get_config(variant: str = "released") -> ConfigDict:
    config = libero_tiny.get_config()
    config.model = variants.apply(variant, presets.tiny())
    config.data.path = "datasets/object,datasets/spatial"
    config.data.prompt_length = 40  # libero_spatial's sentences are long
    config.data.text_length = 32
    config.total_steps = 2400
    config.checkpoint_every = 400
    return config
