"""The network's named cross-entropies and their weighted sum, in keras.ops only."""

from keras import ops

from crnet_tf.config import Config
from crnet_tf.images.mask_values import VOID


def cross_entropy(logits, mask):
    """Pixel cross-entropy: logits [B,H,W,2], mask [B,H,W,1] in {0,1,255} -> scalar.

    Mean over the valid pixels of an episode, then over the episodes, so that the loss of a
    batch is the mean of its shares on several devices. 255 counts nowhere; an episode
    without valid pixels counts 0.
    """
    logits = ops.cast(logits, "float32")
    mask = mask[..., 0]  # [B,H,W]
    valid = ops.cast(mask != VOID, "float32")
    # log(1 + exp(-margin)), the margin being that of the true class over the other.
    sign = ops.where(mask == 1, 1.0, -1.0)
    loss = ops.softplus(-sign * (logits[..., 1] - logits[..., 0]))
    per_episode = ops.sum(loss * valid, axis=(1, 2)) / ops.maximum(
        ops.sum(valid, axis=(1, 2)), 1.0
    )
    return ops.mean(per_episode)


def crnet_losses(outputs: dict, support_mask, query_mask) -> dict:
    """Named losses of one batch.

    Args:
        outputs: what `CRNet` returns in training: `query_steps` and `support_steps`
            [B,T,H,W,2], `query_cooccurrent` and `support_cooccurrent` [B,H,W,2] if trained.
        support_mask, query_mask: [B,H,W,1] in {0,1,255}.

    Returns:
        dict of scalars, of the heads in `outputs`: `query`, `support` (means over the T
        refinement steps), `query_step1` .. `support_stepT`, and `query_cooccurrent`,
        `support_cooccurrent`.
    """
    named = {}
    for head, mask in (("query", query_mask), ("support", support_mask)):
        if f"{head}_steps" not in outputs:
            continue
        steps = outputs[f"{head}_steps"]
        values = [cross_entropy(steps[:, t], mask) for t in range(steps.shape[1])]
        named[head] = sum(values) / len(values)
        named |= {f"{head}_step{t + 1}": value for t, value in enumerate(values)}
        if f"{head}_cooccurrent" in outputs:
            named[f"{head}_cooccurrent"] = cross_entropy(outputs[f"{head}_cooccurrent"], mask)
    return named


def total(named: dict, config: Config):
    """Weighted sum of `crnet_losses`: what the optimiser minimises."""
    loss = config.query_weight * named["query"]
    if "support" in named:
        loss = loss + config.support_weight * named["support"]
    for head in ("query_cooccurrent", "support_cooccurrent"):
        if head in named:
            loss = loss + config.cooccurrent_weight * named[head]
    return loss


def names(config: Config) -> list[str]:
    """Names `crnet_losses` returns for a configuration."""
    steps = config.train_refine_steps if config.mask_refinement else 1
    heads = trained_heads(config)
    result = [*heads, *(f"{head}_step{t + 1}" for head in heads for t in range(steps))]
    if config.cross_reference:
        result += [f"{head}_cooccurrent" for head in heads]
    return result


def trained_heads(config: Config) -> tuple[str, ...]:
    """Branches whose loss counts: without the support's, half of a step's work is left out."""
    return ("query", "support") if config.support_weight else ("query",)
