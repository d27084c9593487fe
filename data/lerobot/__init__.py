"""LeRobot datasets (2.x, 3.0) converted to RLDS: worth it where videos have few key frames.

    python -m data.lerobot PATH --robot libero --out datasets [--name kitchen]

Training reads LeRobot datasets as they are; this decodes each video once instead of in every epoch.
"""
