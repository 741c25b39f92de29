"""What CRNet trains, in PyTorch: it copies the layers of a network, and computes the same loss.

For the paper's modules behind a frozen encoder. PyTorch and torchvision are imported on use.
"""

import keras

from crnet_tf.network.layers import Residual
from crnet_tf.network.model import CRNet


class TorchHeads:
    """The loss of a training step in PyTorch.

    Args:
        network: a `CRNet` without similarity maps, with the paper's gate and all its heads.
        channels_last: tensors lie in memory as TensorFlow's do.
    """

    def __init__(self, network: CRNet, channels_last: bool = False):
        import torch

        self.config, self.parts, self.copies = network.config, network.parts, {}
        self.layout = torch.channels_last if channels_last else torch.contiguous_format

    @property
    def parameters(self) -> list:
        """Kernels and biases of the layers that a loss has called."""
        return [tensor for copied in self.copies.values() for tensor in copied]

    def loss(self, features: dict, masks: dict):
        """Weighted sum of all losses (`losses.total`).

        Args:
            features: tensors [B,F,h,w] `support`, `query` and `category`.
            masks: tensors [B,S,S] in {0,1,255}: `support`, `query`.
        """
        import torch

        parts, config = self.parts, self.config
        project = parts.projection.get_layer("project")
        together = torch.cat([features[name] for name in ("support", "query", "category")])
        support, query, masked = self.convolve(project, together).chunk(3)
        common = self.cross_reference(support, query)
        category = torch.cat([self.category(masked, masks["support"])] * 2)
        condition = torch.cat([common, category.expand_as(common)], dim=1)
        condition = self.convolve(parts.condition.fuse, condition)
        condition = self.residual(parts.condition.residual, condition)
        steps = self.refinement(torch.cat([condition, common], dim=1))
        cooccurrent = self.cooccurrence(common)
        total, weights = 0.0, {"support": config.support_weight, "query": config.query_weight}
        for branch, (name, weight) in enumerate(weights.items()):
            answers = [step.chunk(2)[branch] for step in steps]
            of_steps = sum(cross_entropy(answer, masks[name]) for answer in answers)
            of_common = cross_entropy(cooccurrent.chunk(2)[branch], masks[name])
            total = total + weight * of_steps / len(steps)
            total = total + config.cooccurrent_weight * of_common
        return total

    def cross_reference(self, support, query):
        """Both feature maps by the channels they share, in one batch (Sec. 4.3)."""
        import torch

        module = self.parts.cross_reference
        both = torch.cat([support, query])
        squeezed = self.multiply(module.squeeze, both.mean((2, 3))).relu()
        one, other = self.multiply(module.excite, squeezed).sigmoid().chunk(2)
        return both * torch.cat([one * other] * 2)[:, :, None, None]

    def category(self, features, mask):
        """Average of the foreground (Sec. 4.4): [B,C,h,w], [B,S,S] -> [B,C,1,1]."""
        weights = resized((mask == 1).float()[:, None], features.shape[2:])
        total = (features * weights).sum((2, 3), keepdim=True)
        return total / weights.sum((2, 3), keepdim=True).clamp(min=1e-6)

    def cooccurrence(self, features):
        """Logits [2B,2,h,w] of what both photos show (Sec. 4.3)."""
        import torch

        head = self.parts.cross_reference.cooccurrence
        entered, aspp = self.convolve(head.entry, features), head.aspp
        whole = self.convolve(aspp.pooled, entered.mean((2, 3), keepdim=True))
        seen = [self.convolve(layer, entered) for layer in (aspp.point, *aspp.atrous)]
        seen.append(whole.expand_as(seen[0]))
        return self.convolve(head.classifier, self.convolve(aspp.fuse, torch.cat(seen, dim=1)))

    def refinement(self, features) -> list:
        """Logits [2B,2,h,w] of each refinement step (Sec. 4.5)."""
        import torch

        module, steps = self.parts.refinement, []
        entered = self.convolve(module.entry[0], features)
        context = self.context(0, entered)
        cache = torch.zeros_like(entered[:, :2])
        for _ in range(self.config.train_refine_steps):
            seen = self.convolve(module.entry[1], cache)
            branches = entered + self.context(1, seen), seen + context
            wide = [self.wide(layer, x) for layer, x in zip(module.wide, branches, strict=True)]
            combined = self.convolve(module.combine, torch.cat(wide, dim=1))
            combined = self.residual(module.residual, combined).relu()
            steps.append(self.convolve(module.classifier, combined))
            cache = steps[-1].softmax(1).detach()
        return steps

    def context(self, branch, entered):
        """Half-size convolution of a branch, resized back."""
        halved = self.convolve(self.parts.refinement.downsample[branch], entered)
        return resized(halved, entered.shape[2:])

    def wide(self, layer, features):
        """Global convolution: k x 1 -> 1 x k beside 1 x k -> k x 1."""
        ways = layer.tall_first, layer.wide_first
        return sum(self.convolve(b, self.convolve(a, features)) for a, b in ways)

    def residual(self, layer: Residual, features):
        """The same block as `layers.Residual`."""
        return features + self.convolve(
            layer.second, self.convolve(layer.first, features.relu())
        )

    def convolve(self, layer: keras.layers.Conv2D, features):
        """A Keras convolution that keeps the size, or halves it, with its activation."""
        from torch.nn import functional

        kernel, bias = self.copied(layer, (3, 2, 0, 1))
        padding = [
            rate * (side - 1) // 2
            for rate, side in zip(layer.dilation_rate, layer.kernel_size, strict=True)
        ]
        found = functional.conv2d(
            features, kernel, bias, layer.strides, padding, layer.dilation_rate
        )
        return found.relu() if layer.activation is keras.activations.relu else found

    def multiply(self, layer: keras.layers.Dense, features):
        """A Keras layer of full connections, without its activation."""
        from torch.nn import functional

        return functional.linear(features, *self.copied(layer, (1, 0)))

    def copied(self, layer, order: tuple) -> tuple:
        """Kernel, its axes in PyTorch's `order`, and bias of a Keras layer, copied once."""
        import torch

        if id(layer) not in self.copies:
            kernel = torch.from_numpy(keras.ops.convert_to_numpy(layer.kernel).transpose(order))
            layout = self.layout if kernel.ndim == 4 else torch.contiguous_format
            bias = torch.from_numpy(keras.ops.convert_to_numpy(layer.bias).copy())
            kernel = kernel.contiguous(memory_format=layout)
            self.copies[id(layer)] = kernel.requires_grad_(), bias.requires_grad_()
        return self.copies[id(layer)]


def resized(features, size):
    """[B,C,h,w] -> [B,C,H,W], bilinearly, corners on corners."""
    from torch.nn import functional

    return functional.interpolate(features, tuple(size), mode="bilinear", align_corners=True)


def cross_entropy(logits, mask):
    """The same loss as `losses.cross_entropy`: logits [B,2,h,w], mask [B,S,S] -> scalar."""
    from torch.nn import functional

    logits, valid = resized(logits, mask.shape[1:]), (mask != 255).float()
    sign = 2 * (mask == 1).float() - 1
    loss = functional.softplus(-sign * (logits[:, 1] - logits[:, 0])) * valid
    return (loss.sum((1, 2)) / valid.sum((1, 2)).clamp(min=1)).mean()


def encoder():
    """torchvision's ResNet-50 up to stage 4 at 1/8, frozen and with random weights: photos
    [B,3,S,S] -> features [B,1536,h,w] of stages 3 and 4."""
    import torch
    from torchvision.models import resnet50

    model = resnet50(replace_stride_with_dilation=[False, True, True]).eval()

    def features(photos):
        with torch.inference_mode():
            early = model.maxpool(model.relu(model.bn1(model.conv1(photos))))
            third = model.layer2(model.layer1(early))
            return torch.cat([third, model.layer3(third)], dim=1)

    return features
