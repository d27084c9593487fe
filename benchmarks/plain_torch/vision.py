"""What turns images into tokens for the language model: OpenVLA's way, and SemanticVLA's."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from benchmarks.plain_torch.parts import mlp, text_tower, tower


def modulated(block: nn.Module, x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor):
    """A timm block whose stream is scaled and shifted behind the attention."""
    x = x + block.ls1(block.attn(block.norm1(x)))
    x = (1 + scale) * x + shift
    return x + block.ls2(block.mlp(block.norm2(x)))


def run(tower: nn.Module, first: int, last: int, x: torch.Tensor, films: Sequence = ()):
    """Blocks first..last - 1; `films[i]` is (scale, shift), each [n, 1, D], of block i."""
    for i in range(first, last):
        step, *inputs = (modulated, tower.blocks[i]) if films else (tower.blocks[i],)
        inputs = [*inputs, x, *(films[i] if films else ())]
        if tower.grad_checkpointing and torch.is_grad_enabled():
            x = checkpoint(step, *inputs, use_reentrant=False)
        else:
            x = step(*inputs)
    return x


class Vision(nn.Module):
    """OpenVLA's: both towers' patches side by side, projected."""

    pairs: Sequence[tuple[int, int]] = ()

    def __init__(self, sizes: dict):
        super().__init__()
        self.sizes, self.llm_width = sizes, sizes["llm"]["width"]
        self.widths = sizes["dino"]["width"], sizes["siglip"]["width"]
        self.dino, self.siglip = tower(sizes["dino"]), tower(sizes["siglip"])
        both = sum(self.widths)
        self.projector = mlp(both, 4 * both, self.llm_width, self.llm_width)

    def condition(self, text: torch.Tensor, language: torch.Tensor, images: int) -> dict:
        """What depends on the sentence alone: ids[B, M], embeddings [B, P, d] of `images` each."""
        return {}

    def encode(self, pixels: torch.Tensor, condition: dict, pairs: Sequence | None = None):
        """[n, 6, H, W], normalised for DINOv2 and for SigLIP -> both towers' tokens.

        Args:
          pairs: after which blocks the towers exchange patches; None = as the model does.
        """
        pairs = self.pairs if pairs is None else pairs
        dino = self.embed(pixels[:, :3])
        siglip = self.siglip._pos_embed(self.siglip.patch_embed(pixels[:, 3:]))
        films = condition.get("films", ())
        done, last = (0, 0), (len(self.dino.blocks), len(self.siglip.blocks))
        for number, stop in enumerate([*((i + 1, j + 1) for i, j in pairs), last]):
            dino = run(self.dino, done[0], stop[0], dino, films)
            siglip = run(self.siglip, done[1], stop[1], siglip)
            if number < len(pairs):
                dino, siglip = self.exchange(number, dino, siglip)
            done = stop
        return dino, siglip

    def embed(self, pixels: torch.Tensor) -> torch.Tensor:
        """DINOv2's tokens in front of its first block."""
        return self.dino._pos_embed(self.dino.patch_embed(pixels))

    def tokens(self, dino: torch.Tensor, siglip: torch.Tensor, condition: dict) -> torch.Tensor:
        """Both towers' tokens -> [n, tokens, width of the language model]."""
        return self.projector(torch.cat([dino[:, self.dino.num_prefix_tokens :], siglip], -1))


class SemanticVision(Vision):
    """SemanticVLA's: fused towers, pruned to a few tokens by what the sentence says."""

    def __init__(self, sizes: dict):
        super().__init__(sizes)
        (dino, siglip), both = self.widths, sum(self.widths)
        self.pairs = sizes["pairs"]
        self.text = text_tower(sizes["text"])
        self.text_projector = mlp(sizes["text"]["width"], siglip, siglip)
        self.to_dino = nn.ModuleList(mlp(both, both, dino) for _ in self.pairs)
        self.to_siglip = nn.ModuleList(mlp(both, both, siglip) for _ in self.pairs)
        self.films = nn.ModuleList(
            nn.Linear(self.llm_width, 2 * dino) for _ in range(sizes["dino"]["depth"])
        )
        self.queries = nn.Parameter(torch.randn(1, sizes["queries"], dino))
        self.cue_projector = mlp(siglip, self.llm_width, self.llm_width)

    def condition(self, text, language, images):
        """words: projected states [n, M, D]; films: (scale, shift) of each block."""
        with torch.no_grad():
            words = self.text(text).last_hidden_state
        words = self.text_projector(words).repeat_interleave(images, 0)
        language = language.mean(1, keepdim=True).repeat_interleave(images, 0)
        return {"words": words, "films": [film(language).chunk(2, -1) for film in self.films]}

    def embed(self, pixels):
        dino = super().embed(pixels)
        return torch.cat([dino, self.queries.to(dino).expand(len(dino), -1, -1)], dim=1)

    def exchange(self, number: int, dino: torch.Tensor, siglip: torch.Tensor):
        """Each tower's patches receive an MLP of both towers'."""
        start, queries = self.dino.num_prefix_tokens, self.queries.shape[1]
        both = torch.cat([dino[:, start : dino.shape[1] - queries], siglip], dim=-1)
        more = F.pad(self.to_dino[number](both), (0, 0, start, queries))
        return dino + more, siglip + self.to_siglip[number](both)

    def tokens(self, dino, siglip, condition):
        """The patches that the words single out meet DINOv2's queries; cues stand in front."""
        anchors, cues = self.select(siglip, condition["words"])
        dense = self.projector(torch.cat([dino[:, -self.queries.shape[1] :], anchors], -1))
        return torch.cat([self.cue_projector(cues), dense], dim=1)

    def select(self, patches: torch.Tensor, words: torch.Tensor):
        """[n, N, D], [n, M, D] -> (anchors [n, h, D] in raster order, cues [n, k, D])."""
        similarity = F.normalize(patches, dim=-1) @ F.normalize(words, dim=-1).transpose(1, 2)
        similarity = similarity.float()
        kept = similarity.mean(2).topk(self.queries.shape[1]).indices.sort().values
        chosen = similarity.mean(1).topk(self.sizes["cues"]).indices.sort().values
        anchors = patches.gather(1, kept[..., None].expand(-1, -1, patches.shape[-1]))
        columns = similarity.gather(2, chosen[:, None].expand(-1, patches.shape[1], -1))
        return anchors, columns.softmax(1).to(patches).transpose(1, 2) @ patches
