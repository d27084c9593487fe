"""One demonstration in memory: encoded images and the numbers recorded before each action."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

import numpy as np

NO_OP_NORM = 1e-4


@dataclass(frozen=True, eq=False)
class Episode:
    """T steps of one successful attempt, no-ops already dropped.

    image, wrist_image: T JPEG files each, uint8[H, W, 3] when decoded, rotated 180 degrees.
    state: f32[T, 8], end-effector position (m), axis-angle (rad), two finger positions (m).
    joint_state: f32[T, 7], rad.
    action: f32[T, 7] in [-1, 1], the expert's clean action; gripper -1 opens, +1 closes.
    """

    image: tuple[bytes, ...]
    wrist_image: tuple[bytes, ...]
    state: np.ndarray
    joint_state: np.ndarray
    action: np.ndarray
    instruction: str
    source: str
    """Where it comes from, `suite/task/attempt`: becomes `episode_metadata/file_path`."""

    def __len__(self) -> int:
        return len(self.action)

    @property
    def task_name(self) -> str:
        return self.source.split("/")[1]

    def to_bytes(self) -> bytes:
        buffer = io.BytesIO()
        np.savez(
            buffer,
            **{f"{name}_bytes": _joined(getattr(self, name)) for name in IMAGES},
            **{f"{name}_sizes": _sizes(getattr(self, name)) for name in IMAGES},
            **{name: getattr(self, name) for name in NUMBERS},
            instruction=np.array(self.instruction),
            source=np.array(self.source),
        )
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Episode:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            return cls(
                **{
                    name: _split(stored[f"{name}_bytes"], stored[f"{name}_sizes"])
                    for name in IMAGES
                },
                **{name: stored[name] for name in NUMBERS},
                instruction=str(stored["instruction"]),
                source=str(stored["source"]),
            )


IMAGES = ("image", "wrist_image")
NUMBERS = ("state", "joint_state", "action")


def _joined(files: tuple[bytes, ...]) -> np.ndarray:
    return np.frombuffer(b"".join(files), np.uint8)


def _sizes(files: tuple[bytes, ...]) -> np.ndarray:
    return np.array([len(file) for file in files], np.int64)


def _split(joined: np.ndarray, sizes: np.ndarray) -> tuple[bytes, ...]:
    ends = np.cumsum(sizes)
    return tuple(joined[end - size : end].tobytes() for end, size in zip(ends, sizes, strict=True))


@dataclass
class Recording:
    """Collects what an episode shows, step by step, and drops the no-ops."""

    image: list[bytes] = field(default_factory=list)
    wrist_image: list[bytes] = field(default_factory=list)
    state: list[np.ndarray] = field(default_factory=list)
    joint_state: list[np.ndarray] = field(default_factory=list)
    action: list[np.ndarray] = field(default_factory=list)

    def wants(self, action: np.ndarray) -> bool:
        """Whether a step with this action is kept; only then need its images be rendered."""
        return not is_no_op(action, self.action[-1] if self.action else None)

    def append(self, *, image, wrist_image, state, joint_state, action) -> None:
        self.image.append(image)
        self.wrist_image.append(wrist_image)
        self.state.append(np.asarray(state, np.float32))
        self.joint_state.append(np.asarray(joint_state, np.float32))
        self.action.append(np.asarray(action, np.float32))

    def finish(self, *, instruction: str, source: str) -> Episode:
        return Episode(
            image=tuple(self.image),
            wrist_image=tuple(self.wrist_image),
            state=np.stack(self.state),
            joint_state=np.stack(self.joint_state),
            action=np.stack(self.action),
            instruction=instruction,
            source=source,
        )


def is_no_op(action: np.ndarray, last_kept: np.ndarray | None) -> bool:
    """Whether the arm is told to stay and the gripper nothing new (OpenVLA's LIBERO filter).

    The gripper is compared with the last *kept* action's; before that there is none to change.
    """
    arm_stays = np.linalg.norm(action[:6]) < NO_OP_NORM
    return bool(arm_stays and (last_kept is None or action[6] == last_kept[6]))
