"""The smallest training as a configuration file: `--config tests/launch/smallest.py:DATASET`."""

from pathlib import Path

from ml_collections import ConfigDict

from tests.smallest import smallest_config


def get_config(dataset: str) -> ConfigDict:
    config = smallest_config(Path(dataset))
    config.update(total_steps=40, checkpoint_every=20)
    return config
