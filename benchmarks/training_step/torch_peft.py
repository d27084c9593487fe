"""A plain PyTorch/PEFT training step of the same shapes: what ours is compared with.

    python -m benchmarks.training_step.torch_peft --sizes FILE.json --batch 16 --steps 10

Written as such scripts usually are: the plain policy (benchmarks/plain_torch) with gradient
checkpointing, PEFT adapters on every linear layer of towers and language model, bf16 autocast,
fused AdamW. Needs torch, timm, transformers and peft, and nothing of JAX; prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import time

import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import nn
from torch.nn import functional as F

from benchmarks.plain_torch import vla


def adapt(module: nn.Module, lora: dict) -> None:
    """Freezes it in bf16, and puts f32 adapters on all its linear layers."""
    module.requires_grad_(False).bfloat16()
    config = LoraConfig(r=lora["rank"], lora_alpha=lora["alpha"], target_modules="all-linear")
    inject_adapter_in_model(config, module)
    for name, parameter in module.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.float()


def model(sizes: dict) -> vla.VLA:
    """What is trained: adapters, and everything around the adapted and frozen parts."""
    model = vla.build(sizes)
    model.vision.text.requires_grad_(False).bfloat16()
    for tower in ("dino", "siglip"):
        adapt(getattr(model.vision, tower), sizes["lora"])
        getattr(model.vision, tower).set_grad_checkpointing(sizes[tower]["checkpointed"])
    adapt(model.llm, sizes["lora"])
    model.llm.gradient_checkpointing_enable({"use_reentrant": False})
    return model.train()


def predict(model: vla.VLA, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Actions f32[B, K, A]; both towers see pixels from -1 to 1."""
    pixels = (batch["images"].flatten(0, 1).float() / 127.5 - 1).repeat(1, 2, 1, 1)
    told = model.instruction(batch["text"], batch["prompt"])
    return model(pixels, batch["state"], told).float()


def random_batch(sizes: dict, count: int, device: str) -> dict[str, torch.Tensor]:
    side, cameras = sizes["siglip"]["image_size"], sizes["cameras"]
    draw = torch.randint
    text, llm = sizes["text"], sizes["llm"]
    return {
        "images": draw(256, (count, cameras, 3, side, side), dtype=torch.uint8, device=device),
        "text": draw(text["vocab_size"], (count, text["length"]), device=device),
        "prompt": draw(llm["vocab_size"], (count, sizes["prompt_tokens"]), device=device),
        "state": torch.randn(count, sizes["state"], device=device),
        "actions": torch.randn(count, sizes["chunk"], sum(sizes["heads"]), device=device),
    }


def measure(sizes: dict, count: int, steps: int) -> dict:
    """Seconds of each of `steps` steps after two that warm up, and peak memory in bytes."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    with torch.device(device):
        policy = model(sizes)
    trained = [p for p in policy.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5, fused=device == "cuda")
    seconds = []
    for _ in range(steps + 2):
        batch = random_batch(sizes, count, device)
        synchronize(device)
        began = time.perf_counter()
        with torch.autocast(device, torch.bfloat16):
            loss = F.l1_loss(predict(policy, batch), batch["actions"])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        synchronize(device)
        seconds.append(time.perf_counter() - began)
    return {
        "seconds": seconds[2:],
        "loss": loss.item(),
        "trained": sum(p.numel() for p in trained),
        "peak_bytes": torch.cuda.max_memory_allocated() if device == "cuda" else None,
        "versions": {"torch": torch.__version__},
    }


def synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(description="A plain PyTorch/PEFT training step, timed.")
    parser.add_argument("--sizes", required=True, help="JSON written by benchmarks.training_step")
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--steps", type=int, default=10)
    arguments = parser.parse_args()
    with open(arguments.sizes) as file:
        sizes = json.load(file)
    print(json.dumps(measure(sizes, arguments.batch, arguments.steps)))


if __name__ == "__main__":
    main()
