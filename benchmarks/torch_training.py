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
    encode = torch_heads.encoder(network)
    masks = {n: torch.from_numpy(episode[f"{n}_mask"][..., 0]) for n in parts.BRANCHES}
    stored = {name: _tensor(value, heads.layout) for name, value in features.items()}
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


def _tensor(array, layout):
    """[B,H,W,C] -> a PyTorch tensor [B,C,H,W]."""
    import torch

    tensor = torch.from_numpy(np.ascontiguousarray(np.transpose(array, (0, 3, 1, 2))))
    return tensor.contiguous(memory_format=layout)


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
    theirs = torch_ways(network, episode, features, channels_last=False)["features"]()
    if abs(ours - theirs) > AGREE * ours:
        raise RuntimeError(f"The losses differ: {ours} of TensorFlow, {theirs} of PyTorch.")


def measure(settings: Config, rounds: int) -> dict:
    """{(from, by): median seconds of a step}, all in turn in one run."""
    keras.utils.set_random_seed(settings.seed)
    network, episode = model.build_crnet(settings), drawn(settings)
    encoded = parts.encode(network.parts, episode)
    features = {name: keras.ops.convert_to_numpy(value) for name, value in encoded.items()}
    check_they_agree(network, episode, features)
    makers = {
        "PyTorch": lambda: torch_ways(network, episode, features, False),
        "PyTorch, channels last": lambda: torch_ways(network, episode, features, True),
        "TensorFlow": lambda: tensorflow_ways(network, episode, features),
    }
    ways = {(start, by): way for by, make in makers.items() for start, way in make().items()}
    return timing.in_turn(ways, rounds)
