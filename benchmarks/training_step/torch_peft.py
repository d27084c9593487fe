"""A plain PyTorch/PEFT training step of the same shapes: what ours is compared with.

    python -m benchmarks.training_step.torch_peft --sizes FILE.json --batch 16 --steps 10

Written as such scripts usually are: timm towers, transformers' Llama with gradient checkpointing,
PEFT adapters on every linear layer of both, bf16 autocast, fused AdamW. It selects and fuses tokens
as SemanticVLA does and trains the same modules, but only its cost is comparable, never its outputs.
Needs torch, timm, transformers and peft, and nothing of JAX; prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import time

import torch
from peft import LoraConfig, inject_adapter_in_model
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from transformers import LlamaConfig, LlamaModel, SiglipTextConfig, SiglipTextModel


def tower(sizes: dict) -> VisionTransformer:
    """A timm vision transformer without head, as `sizes` of a slot of ours says."""
    return VisionTransformer(
        img_size=sizes["image_size"],
        patch_size=sizes["patch"],
        embed_dim=sizes["width"],
        depth=sizes["depth"],
        num_heads=sizes["heads"],
        mlp_ratio=sizes["mlp_width"] / sizes["width"],
        class_token=sizes["class_token"],
        reg_tokens=sizes["registers"],
        init_values=1e-5 if sizes["class_token"] else None,
        no_embed_class=True,
        num_classes=0,
        global_pool="",
    )


def transformer_sizes(sizes: dict) -> dict:
    return dict(
        vocab_size=sizes["vocab_size"],
        hidden_size=sizes["width"],
        num_hidden_layers=sizes["depth"],
        num_attention_heads=sizes["heads"],
        intermediate_size=sizes["mlp_width"],
    )


def adapted(module: nn.Module, lora: dict) -> nn.Module:
    """Frozen in bf16, with f32 adapters on all its linear layers."""
    module.requires_grad_(False).bfloat16()
    if not lora:
        return module
    config = LoraConfig(r=lora["rank"], lora_alpha=lora["alpha"], target_modules="all-linear")
    adapted = inject_adapter_in_model(config, module)
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.float()
    return adapted


def mlp(*widths: int) -> nn.Sequential:
    layers = []
    for before, after in zip(widths[:-1], widths[1:], strict=True):
        layers += [nn.Linear(before, after), nn.GELU()]
    return nn.Sequential(*layers[:-1])


class Head(nn.Module):
    """Residual MLP over one step's concatenated action tokens."""

    def __init__(self, inputs: int, width: int, outputs: int):
        super().__init__()
        self.before = nn.Sequential(nn.LayerNorm(inputs), nn.Linear(inputs, width), nn.ReLU())
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU()) for _ in range(2)
        )
        self.after = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.before(x)
        for block in self.blocks:
            x = x + block(x)
        return self.after(x)


class Model(nn.Module):
    """Two fused towers, pruned to a few tokens, a Llama, a head per action type."""

    def __init__(self, sizes: dict):
        super().__init__()
        self.sizes, lora = sizes, sizes["lora"]
        dino, siglip, llm = (sizes[name]["width"] for name in ("dino", "siglip", "llm"))
        self.dino = adapted(tower(sizes["dino"]), lora)
        self.siglip = adapted(tower(sizes["siglip"]), lora)
        self.text = adapted(
            SiglipTextModel(
                SiglipTextConfig(
                    **transformer_sizes(sizes["text"]),
                    max_position_embeddings=sizes["text"]["length"],
                )
            ),
            {},
        )
        self.llm = adapted(LlamaModel(LlamaConfig(**transformer_sizes(sizes["llm"]))), lora)
        self.pairs = sizes["pairs"]
        both = dino + siglip
        self.to_dino = nn.ModuleList(mlp(both, both, dino) for _ in self.pairs)
        self.to_siglip = nn.ModuleList(mlp(both, both, siglip) for _ in self.pairs)
        self.films = nn.ModuleList(nn.Linear(llm, 2 * dino) for _ in range(sizes["dino"]["depth"]))
        self.queries = nn.Parameter(torch.randn(1, sizes["queries"], dino))
        self.text_projector = mlp(siglip, siglip, siglip)
        self.projector = mlp(both, 4 * both, llm, llm)
        self.cue_projector = mlp(siglip, llm, llm)
        self.proprio = mlp(sizes["state"], llm, llm)
        per_step = len(sizes["heads"])
        self.heads = nn.ModuleList(Head(per_step * llm, llm, out) for out in sizes["heads"])

    def forward(self, batch: dict) -> torch.Tensor:
        language = self.llm.embed_tokens(batch["prompt"])
        tokens = self.see(batch["images"], batch["text"], language)
        count, action_tokens = len(language), self.sizes["chunk"] * len(self.heads)
        width = language.shape[-1]
        empty = torch.zeros(count, action_tokens, width, device=tokens.device, dtype=tokens.dtype)
        state = self.proprio(batch["state"])[:, None]
        sequence = torch.cat([tokens, state, language, empty], dim=1)
        everywhere = torch.ones(
            count, 1, *(sequence.shape[1],) * 2, dtype=torch.bool, device=tokens.device
        )
        hidden = self.llm(inputs_embeds=sequence, attention_mask=everywhere).last_hidden_state
        steps = hidden[:, -action_tokens:].reshape(count, self.sizes["chunk"], -1)
        return torch.cat([head(steps) for head in self.heads], dim=-1)

    def see(self, images: torch.Tensor, text: torch.Tensor, language: torch.Tensor):
        """uint8[B, C, 3, H, W] -> [B, C * tokens, width], of which few are left."""
        batch, cameras = images.shape[:2]
        pixels = images.flatten(0, 1).float() / 127.5 - 1
        with torch.no_grad():
            sentence = self.text(text).last_hidden_state.mean(1)
        sentence = self.text_projector(sentence).repeat_interleave(cameras, 0)
        condition = language.mean(1).repeat_interleave(cameras, 0)
        dino, siglip = self.encode(pixels, condition)
        queries, skipped = self.sizes["queries"], self.dino.num_prefix_tokens
        similarity = F.cosine_similarity(siglip, sentence[:, None], dim=-1)
        kept = similarity.topk(queries).indices[..., None]
        anchors = torch.gather(siglip, 1, kept.expand(-1, -1, siglip.shape[-1]))
        cues = similarity.softmax(-1)[:, None] @ siglip
        cues = cues.expand(-1, self.sizes["cues"], -1)
        dense = self.projector(torch.cat([dino[:, skipped : skipped + queries], anchors], -1))
        tokens = torch.cat([dense, self.cue_projector(cues)], dim=1)
        return tokens.reshape(batch, -1, tokens.shape[-1])

    def encode(self, pixels: torch.Tensor, condition: torch.Tensor):
        """Both towers block by block, exchanging patch features at a few depths."""
        dino = self.dino._pos_embed(self.dino.patch_embed(pixels))
        skipped = self.dino.num_prefix_tokens
        queries = self.queries.to(dino).expand(len(dino), -1, -1)
        dino = torch.cat([dino[:, :skipped], queries, dino[:, skipped:]], dim=1)
        patches = slice(skipped + self.sizes["queries"], None)
        siglip = self.siglip._pos_embed(self.siglip.patch_embed(pixels))
        starts = [(0, 0), *((i + 1, j + 1) for i, j in self.pairs)]
        last = len(self.dino.blocks) - 2, len(self.siglip.blocks) - 2  # features, as in ours
        stages = zip(starts, [*self.pairs, last], strict=True)
        for number, ((first_dino, first_siglip), (last_dino, last_siglip)) in enumerate(stages):
            for i in range(first_dino, last_dino + 1):
                dino = self.run("dino", i, dino)
                scale, shift = self.films[i](condition)[:, None].chunk(2, -1)
                dino = dino * (1 + scale) + shift
            for i in range(first_siglip, last_siglip + 1):
                siglip = self.run("siglip", i, siglip)
            if number < len(self.pairs):
                both = torch.cat([dino[:, patches], siglip], dim=-1)
                more = F.pad(self.to_dino[number](both), (0, 0, patches.start, 0))
                dino, siglip = dino + more, siglip + self.to_siglip[number](both)
        return dino, siglip

    def run(self, tower: str, index: int, x: torch.Tensor) -> torch.Tensor:
        block = getattr(self, tower).blocks[index]
        if self.sizes[tower]["checkpointed"]:
            return checkpoint(block, x, use_reentrant=False)
        return block(x)


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
        model = Model(sizes)
    model.llm.gradient_checkpointing_enable({"use_reentrant": False})
    model.llm.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5, fused=device == "cuda")
    seconds = []
    for _ in range(steps + 2):
        batch = random_batch(sizes, count, device)
        synchronize(device)
        began = time.perf_counter()
        with torch.autocast(device, torch.bfloat16):
            loss = F.l1_loss(model(batch).float(), batch["actions"])
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
