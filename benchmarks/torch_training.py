"""A training step by TensorFlow and by PyTorch, of the same network: functions to be timed."""

import keras
import numpy as np
import tensorflow as tf

from benchmarks import step, timing, torch_heads
from crnet_tf.config import Config
from crnet_tf.network import losses, model, parts

AGREE = 1e-3  # of the losses, relative


def drawn(settings: Config) -> dict:
    """An episode's photos [B,S,S,3] and masks [B,S,S,1]: noise, a square in it."""
    generator, size = np.random.default_rng(0), settings.image_size
    shape = settings.batch_size, size, size
    mask = np.zeros((*shape, 1), np.uint8)
    mask[:, size // 4 : size // 2, size // 4 : size // 2] = 1
    photos = {
        f"{name}_image": generator.uniform(0, 255, (*shape, 3)).astype(np.float32)
        for name in parts.BRANCHES
    }
    return photos | {"support_mask": mask, "query_mask": mask[:, ::-1].copy()}


def tensorflow_ways(network: model.CRNet, episode: dict, features: dict) -> dict:
    """{"features" | "photos": a training step that waits for its loss}."""
    targets = {name: episode[name] for name in ("support_mask", "query_mask")}
    stored = {f"{name}_features": value for name, value in features.items()}
    stored["support_mask"] = episode["support_mask"]
    photos = {name: value for name, value in episode.items() if name != "query_mask"}
    from_features = model.on_features(network)
    for one in (network, from_features):
        one.compile(step.optimizer(network.config), jit_compile=False)
    return {
        "features": lambda: from_features.train_on_batch(stored, targets),
        "photos": lambda: network.train_on_batch(photos, targets),
    }


def torch_ways(network, episode: dict, features: dict, channels_last: bool) -> dict:
    """The same in PyTorch, with a copy of the weights as they are now."""
    import torch

    heads = torch_heads.TorchHeads(network, channels_last)
    encode = torch_heads.encoder()
    stored, masks = _tensors(episode, features, heads.layout)
    photos = [
        _tensor(episode[f"{n}_image"], heads.layout) for n in (*parts.BRANCHES, "support")
    ]
    with torch.no_grad():
        heads.loss(stored, masks)  # copies the layers
    settings = network.config
    optimizer = torch.optim.SGD(heads.parameters, settings.learning_rate, settings.momentum)

    def update(of):
        optimizer.zero_grad()
        loss = heads.loss(of, masks)
        loss.backward()
        optimizer.step()
        return loss.item()

    def from_photos():
        encoded = [encode(photo).clone() for photo in photos]
        return update(dict(zip((*parts.BRANCHES, "category"), encoded, strict=True)))

    return {"features": lambda: update(stored), "photos": from_photos}


def _tensors(episode, features, layout):
    """What `TorchHeads.loss` takes."""
    import torch

    masks = {n: torch.from_numpy(episode[f"{n}_mask"][..., 0]) for n in parts.BRANCHES}
    return {name: _tensor(value, layout) for name, value in features.items()}, masks


def _tensor(array, layout):
    """[B,H,W,C] -> a PyTorch tensor [B,C,H,W]."""
    import torch

    tensor = torch.from_numpy(np.ascontiguousarray(np.transpose(array, (0, 3, 1, 2))))
    return tensor.contiguous(memory_format=layout)


def prepared(settings: Config) -> tuple[model.CRNet, dict, dict]:
    """A network, an episode, and its features."""
    keras.utils.set_random_seed(settings.seed)
    network, episode = model.build_crnet(settings), drawn(settings)
    encoded = parts.encode(network.parts, episode)
    return network, episode, {n: keras.ops.convert_to_numpy(x) for n, x in encoded.items()}


def measure_convolutions(settings: Config, rounds: int) -> tuple[dict, dict]:
    """{(kind, by): median seconds} and {kind: number} of the heads' convolutions."""
    ways, counts = convolutions(*prepared(settings))
    return timing.in_turn(ways, rounds), counts


def check_they_agree(network, episode, features):
    """Raises RuntimeError where the losses of the same weights differ."""
    named = losses.crnet_losses(
        parts.train_outputs(
            network.parts,
            {name: tf.constant(value) for name, value in features.items()},
            episode["support_mask"],
            network.config.train_refine_steps,
        ),
        episode["support_mask"],
        episode["query_mask"],
    )
    ours = float(losses.total(named, network.config))
    heads = torch_heads.TorchHeads(network)
    theirs = heads.loss(*_tensors(episode, features, heads.layout)).item()
    if abs(ours - theirs) > AGREE * ours:
        raise RuntimeError(f"The losses differ: {ours} of TensorFlow, {theirs} of PyTorch.")


def convolutions(network, episode: dict, features: dict) -> tuple[dict, dict]:
    """{(kind, by): what computes it, and its gradients} of the heads' kinds of convolution, and
    {kind: how many of it a step has}. Each is measured alone, without its activation."""
    import torch

    recorded, heads = _Recorded(network), torch_heads.TorchHeads(network)
    with torch.no_grad():
        recorded.loss(*_tensors(episode, features, heads.layout))
    ways, counts = {}, {}
    for layer, given in recorded.convolved:
        kind = _kind(layer, given)
        counts[kind] = counts.get(kind, 0) + 1
        if counts[kind] == 1:
            ways[kind, "TensorFlow"] = _tensorflow_convolution(layer, given)
            ways[kind, "PyTorch"] = _torch_convolution(heads, layer, given)
    return ways, counts


class _Recorded(torch_heads.TorchHeads):
    """Keeps each layer and its input, in the order of a loss."""

    def __init__(self, network):
        super().__init__(network)
        self.convolved = []

    def convolve(self, layer, features):
        self.convolved.append((layer, features))
        return super().convolve(layer, features)


def _kind(layer, given):
    """A convolution in words: kernel, channels, cells."""
    kernel = "x".join(map(str, layer.kernel_size))
    rate = f", rate {layer.dilation_rate[0]}" if layer.dilation_rate[0] > 1 else ""
    stride = f", stride {layer.strides[0]}" if layer.strides[0] > 1 else ""
    batch, channels, *size = given.shape
    cells = "x".join(map(str, size))
    return f"{kernel}{rate}{stride}, {channels} -> {layer.filters}, {batch} of {cells}"


def _tensorflow_convolution(layer, given):
    photo = tf.constant(given.permute(0, 2, 3, 1).numpy())

    @tf.function
    def gradients():
        with tf.GradientTape() as tape:
            tape.watch(photo)
            total = tf.reduce_sum(layer.convolution_op(photo, layer.kernel))
        return tape.gradient(total, [photo, layer.kernel])

    return lambda: [one.numpy() for one in gradients()]


def _torch_convolution(heads, layer, given):
    import torch

    photo = given.detach().requires_grad_()

    def gradients():
        total = heads.convolve(layer, photo).sum()
        return torch.autograd.grad(total, [photo, heads.copied(layer, (3, 2, 0, 1))[0]])

    return gradients


def measure(settings: Config, rounds: int) -> dict:
    """{(from, by): median seconds of a step}, all in turn in one run."""
    network, episode, features = prepared(settings)
    check_they_agree(network, episode, features)
    makers = {
        "PyTorch": lambda: torch_ways(network, episode, features, False),
        "PyTorch, channels last": lambda: torch_ways(network, episode, features, True),
        "TensorFlow": lambda: tensorflow_ways(network, episode, features),
    }
    ways = {(start, by): way for by, make in makers.items() for start, way in make().items()}
    return timing.in_turn(ways, rounds)
