"""What `python -m semanticvla_jax.data.check` looks at, one file per subject.

Every function takes an `EpisodeSource` and a `RobotSpec` and returns findings.
"""
