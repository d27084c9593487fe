"""Writes a dataset with the `lerobot` package: python lerobot_package.py DIR video|image.

Runs in an environment that has lerobot and what its dataset code needs, but not PyTorch (4.1 GB
with its CUDA libraries): imports of torch find a stand-in, and the files are lerobot's own. Writes
what went in to DIR.npz.
"""

import importlib.abc
import importlib.machinery
import sys
import types
from pathlib import Path

import numpy as np

ABSENT = {"torch", "torchvision", "torchcodec", "accelerate", "safetensors", "gymnasium", "cv2"}
CAMERAS = ("image", "wrist_image")
TASKS = ("pick up the milk", "turn on the stove")


class Array(np.ndarray):
    def numpy(self):
        return np.asarray(self)


class StandIn(types.ModuleType):
    """A module whose names are types (Capital), modules or decorators that do nothing."""

    __path__: list = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        if name in ("LongTensor", "tensor"):
            return lambda values: np.asarray(values).view(Array)
        value = type(name, (), {}) if name[0].isupper() else StandIn(f"{self.__name__}.{name}")
        setattr(self, name, value)
        return value

    def __call__(self, function=None, *_, **__):
        return function

    def __ror__(self, other):
        return object


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ABSENT:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        return StandIn(spec.name)

    def exec_module(self, module):
        pass


def steps():
    """Four episodes of 9 to 12 steps."""
    for episode in range(4):
        rng = np.random.default_rng(episode)
        for step in range(9 + episode):
            image = np.full((64, 64, 3), 20 * episode, np.uint8)
            image[:, : 4 + 4 * step] = 200
            wrist = np.full((64, 64, 3), 120, np.uint8)
            wrist[: 4 + 4 * step] = 30 + 10 * episode
            yield {
                "episode": episode,
                "image": image,
                "wrist_image": wrist,
                "state": rng.normal(size=8).astype(np.float32),
                "action": rng.uniform(-1, 1, 7).astype(np.float32),
                "task": TASKS[episode % 2],
            }


def vector(size):
    return {"dtype": "float32", "shape": (size,), "names": [f"dim_{n}" for n in range(size)]}


def write(root: Path, kind: str) -> None:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    names = ["height", "width", "channels"]
    features = {
        f"observation.images.{key}": {"dtype": kind, "shape": (64, 64, 3), "names": names}
        for key in CAMERAS
    }
    features |= {"observation.state": vector(8), "action": vector(7)}
    dataset = LeRobotDataset.create(
        "local/soup", fps=20, features=features, root=root, use_videos=kind == "video"
    )
    written, episode = list(steps()), 0
    for step in written:
        if step["episode"] != episode:
            dataset.save_episode()
            episode = step["episode"]
        frame = {f"observation.images.{key}": step[key] for key in CAMERAS}
        frame |= {"observation.state": step["state"], "action": step["action"]}
        if hasattr(dataset, "finalize"):  # since format 3.0
            dataset.add_frame(frame | {"task": step["task"]})
        else:
            dataset.add_frame(frame, task=step["task"])
    dataset.save_episode()
    if hasattr(dataset, "finalize"):
        dataset.finalize()
    np.savez(f"{root}.npz", **{key: [step[key] for step in written] for key in written[0]})


if __name__ == "__main__":
    sys.meta_path.insert(0, Finder())
    write(Path(sys.argv[1]), sys.argv[2])
