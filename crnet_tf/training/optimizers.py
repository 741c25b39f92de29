"""Optimisers and learning rate schedules of a configuration, for every back end."""

import keras

from crnet_tf.config import Config


@keras.saving.register_keras_serializable("crnet_tf")
class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up, then constant, poly (power 0.9) or cosine decay to 0."""

    def __init__(self, rate: float, kind: str, warmup: int, steps: int):
        self.rate, self.kind, self.warmup, self.steps = rate, kind, warmup, steps

    def __call__(self, step):
        step = keras.ops.cast(step, "float32")
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        done = keras.ops.clip(done, 0.0, 1.0)
        decay = {
            "constant": 1.0,
            "poly": (1 - done) ** 0.9,
            "cosine": 0.5 * (1 + keras.ops.cos(done * 3.14159265)),
        }[self.kind]
        return self.rate * decay * keras.ops.minimum(1.0, (step + 1) / max(1, self.warmup))

    def get_config(self):
        return {
            "rate": self.rate,
            "kind": self.kind,
            "warmup": self.warmup,
            "steps": self.steps,
        }


def optimizer(settings: Config) -> keras.optimizers.Optimizer:
    """Optimiser of a configuration, with its schedule, clipping and averaging."""
    common = {
        "learning_rate": Schedule(
            settings.learning_rate, settings.schedule, settings.warmup_steps, settings.steps
        ),
        "global_clipnorm": settings.clip_norm or None,
        "use_ema": settings.ema > 0,
        "ema_momentum": settings.ema or 0.99,
        "ema_overwrite_frequency": None,
    }
    if settings.optimizer == "adamw":
        return keras.optimizers.AdamW(weight_decay=settings.weight_decay, **common)
    # Keras decays the weights outside the momentum, CANet's framework inside, where the same
    # number counts 1 / (1 - momentum) times.
    decay = settings.weight_decay / (1 - settings.momentum)
    return keras.optimizers.SGD(momentum=settings.momentum, weight_decay=decay, **common)
