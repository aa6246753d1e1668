"""Exports `tiny_vit.onnx`, a small Vision Transformer with random weights, and reference outputs of PyTorch.

    pip install torch onnx onnxscript safetensors
    python generate_tiny_vit.py

Writes `tiny_vit.onnx` (the model) and `tiny_vit.safetensors` (`pixels` and the PyTorch outputs `class_token` and
`patch_tokens`) to the folder of this file. To export another vision model, wrap it in a module that returns its class token
and its patch tokens.
"""

from pathlib import Path

import onnx
import torch
from safetensors.torch import save_file
from torch import nn

HIDDEN, HEADS, LAYERS, PATCH, IMAGE = 32, 4, 2, 8, 32


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self):
        super().__init__()
        self.norm1 = nn.LayerNorm(HIDDEN, eps=1e-6)
        self.qkv = nn.Linear(HIDDEN, 3 * HIDDEN)
        self.out = nn.Linear(HIDDEN, HIDDEN)
        self.norm2 = nn.LayerNorm(HIDDEN, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(HIDDEN, 2 * HIDDEN), nn.GELU(), nn.Linear(2 * HIDDEN, HIDDEN))

    def forward(self, x):
        heads = self.qkv(self.norm1(x)).unflatten(2, (3, HEADS, HIDDEN // HEADS)).permute(2, 0, 3, 1, 4)
        q, k, v = heads[0], heads[1], heads[2]
        weights = torch.softmax(q @ k.transpose(2, 3) * (HIDDEN // HEADS) ** -0.5, dim=-1)
        x = x + self.out((weights @ v).transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm2(x))


class TinyViT(nn.Module):
    """[batch, 3, 32, 32] to the class token, [batch, 32], and the tokens of the 4 x 4 patches, [batch, 16, 32]."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, HIDDEN, PATCH, stride=PATCH)
        self.cls = nn.Parameter(torch.randn(1, 1, HIDDEN))
        self.positions = nn.Parameter(torch.randn(1, (IMAGE // PATCH) ** 2 + 1, HIDDEN))
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(HIDDEN, eps=1e-6)

    def forward(self, pixels):
        x = self.patches(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], dim=1) + self.positions
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        return x[:, 0], x[:, 1:]


def without_metadata(proto):
    """Removes the exporter's metadata, such as stack traces with local paths."""
    graph = proto.graph
    for part in [proto, graph, *graph.node, *graph.input, *graph.output, *graph.initializer, *graph.value_info]:
        part.ClearField("metadata_props")
    for node in graph.node:
        node.ClearField("doc_string")
    return proto


def main():
    folder = Path(__file__).parent
    torch.manual_seed(0)
    model = TinyViT().eval()
    pixels = torch.randn(3, 3, IMAGE, IMAGE)
    with torch.no_grad():
        class_token, patch_tokens = model(pixels)
    program = torch.onnx.export(
        model,
        (pixels,),
        input_names=["pixels"],
        output_names=["class_token", "patch_tokens"],
        opset_version=18,
        dynamo=True,
        dynamic_shapes={"pixels": {0: torch.export.Dim("batch")}},
    )
    proto = without_metadata(program.model_proto)
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, folder / "tiny_vit.onnx")
    tensors = {"pixels": pixels, "class_token": class_token, "patch_tokens": patch_tokens}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "tiny_vit.safetensors")


if __name__ == "__main__":
    main()
