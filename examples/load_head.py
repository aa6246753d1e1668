"""A trained head in PyTorch, from the file that `sail head export run/head.safetensors -o head.pt` writes."""

import sys

import torch
from torch.nn.functional import batch_norm, gelu, layer_norm, linear, normalize, relu, relu6


class Head:
    def __init__(self, path):
        if str(path).endswith(".safetensors"):
            from safetensors.torch import load_file

            self.weights = load_file(path)
        else:
            self.weights = torch.load(path, weights_only=True)

    def project(self, side, features):
        """Embeds the features of one backbone, `[batch, dim]`, as unit rows; `side` is "vision" or "text"."""
        parts = {name.removeprefix(f"{side}_"): x for name, x in self.weights.items() if name.startswith(f"{side}_")}

        def layer(x, name):
            return linear(x, parts[f"{name}.weight"], parts[f"{name}.bias"])

        if not parts:  # ShareLock leaves the images as they are
            return normalize(features, dim=-1)
        network = "mapping_network"
        x = layer_norm(features, features.shape[-1:], parts["layer_norm.weight"], parts["layer_norm.bias"])
        if f"{network}.weight" in parts:
            x = layer(x, network)
        elif f"{network}.proj.0.weight" in parts:
            x = layer(gelu(layer(x, f"{network}.proj.0")), f"{network}.proj.2")
        elif f"{network}.f1.weight" in parts:
            x = layer(relu6(layer(x, f"{network}.f1")) * layer(x, f"{network}.f2").clamp(-1e3, 1e3), f"{network}.g")
        else:
            x, place = layer(x, f"{network}.layers.0"), 1
            while (norm := f"{network}.layers.{place}") + ".running_mean" in parts:
                values = [parts[f"{norm}.{name}"] for name in ("running_mean", "running_var", "weight", "bias")]
                x = layer(relu(batch_norm(x, *values)), f"{network}.layers.{place + 3}")
                place += 4
        return normalize(x, dim=-1)

    def logits(self, images, texts):
        """The logits of the features of images and texts, `[images, texts]`; their sigmoid is the probability of a match."""
        cosines = self.project("vision", images) @ self.project("text", texts).T
        return self.weights["logit_scale"].exp() * cosines + self.weights["logit_bias"]


if __name__ == "__main__":
    for name, tensor in Head(sys.argv[1]).weights.items():
        print(name, list(tensor.shape))
