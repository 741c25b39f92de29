"""One evaluation by its flags: which protocols, numbers of shots and k-shot methods are asked
for, and their scores. (The command is `evaluate`; `scoring` goes over the episodes.)"""

import dataclasses
import itertools
import pathlib
import time

from crnet_tf.common import cli, fields
from crnet_tf.common.errors import InputError
from crnet_tf.config import LEAST_SIZE
from crnet_tf.data import records
from crnet_tf.evaluation import (
    baselines,
    boundaries,
    manifest,
    presence_scores,
    protocols,
    results,
    statement,
)
from crnet_tf.evaluation.draws import Draws, chosen_classes
from crnet_tf.evaluation.nway import evaluate_ways
from crnet_tf.evaluation.protocols import Protocol, shared_inference
from crnet_tf.evaluation.scoring import check_supports, evaluate_together
from crnet_tf.fewshot.engines import Choice
from crnet_tf.fewshot.features import FeatureCache, base_frame
from crnet_tf.fewshot.finetune import check_count
from crnet_tf.fewshot.learner import Learner
from crnet_tf.fewshot.lite_learner import LiteLearner
from crnet_tf.network.checkpoint import START, checkpoint_or_start, load_checkpoint
from crnet_tf.options import Options


class Run:
    """One command: a network on some records, by the flags."""

    def __init__(self, args):
        self.args, self.started = args, time.time()
        check_flags(args)  # and the records, before a network is loaded, which takes long
        self.index = records.load_index(args.records)
        self.checkpoint = checkpoint_or_start(args.checkpoint)
        self.network = load_checkpoint(self.checkpoint)
        self.classes = chosen_classes(self.network, self.index, args.classes)
        self.options = fields.from_flags(Options, {}, args)
        self.cache = FeatureCache(self.options.feature_cache_gb * 2**30)
        is_start = self.checkpoint.resolve() == START.resolve()  # in the package's folder
        beside = pathlib.Path() if is_start else self.checkpoint.parent
        self.out = pathlib.Path(args.out or beside / "evaluation")
        self.draws, self.learners = Draws(args, self.index, self.classes), {}

    def protocols(self) -> list[Protocol]:
        """The protocols asked for, with what the flags change in them."""
        args, chosen = self.args, []
        if args.input_size and args.input_size < LEAST_SIZE:
            raise InputError(
                f"input_size: expected at least {LEAST_SIZE} px, because less leaves no "
                f"feature map, received {args.input_size}."
            )
        for name in args.protocol:
            asked = protocols.protocol(name, self.index.dataset)
            first = asked.seeds[0] if args.seed is None else args.seed
            count = args.seeds or (len(asked.seeds) if args.seed is None else 1)
            size = args.input_size or asked.input_size or self.network.config.image_size
            changes = {"seeds": tuple(range(first, first + count)), "input_size": size}
            changes["episodes"] = args.episodes or asked.episodes
            chosen.append(dataclasses.replace(asked, **changes))
        return chosen

    def combinations(self) -> list[tuple[int, str, list[Protocol]]]:
        """(k, k-shot method, protocols that share their answers), in order.

        All are tried before any is computed: a mistake in the last one must not show after
        hours. A single support cannot be fine-tuned on, and is its own mean; beside fusion
        that is left out.

        Raises:
            ValueError: flags that do not go together, or what `learner` and `draw` raise.
        """
        args, chosen = self.args, []
        for shot, group in itertools.product(
            cli.integers("shot", args.shot), shared_inference(self.protocols())
        ):
            kshots = self._kshots(shot, group[0])
            # What fine-tunes is computed together, wherever it stands; the first stays first.
            first = _finetunes(kshots[0])
            kshots.sort(key=lambda kshot: _finetunes(kshot) != first)
            self._check(shot, kshots[0], group[0], negatives=args.negatives and not chosen)
            chosen += [(shot, kshot, group) for kshot in kshots]
        return chosen

    def _kshots(self, shot, protocol):
        """The methods asked for that make sense with so many supports."""
        views, kshots = self.options.finetune_views, []
        for kshot in self.args.kshot:
            finetunes = self.learner(protocol, kshot).options.finetunes
            needs_several = kshot != "fusion" and not (finetunes and views)
            if needs_several and shot == 1 and "fusion" in self.args.kshot:
                continue
            if finetunes:
                check_count(shot * (1 + views))
            kshots.append(kshot)
        return kshots

    def _check(self, shot, kshot, protocol, negatives):
        """Raises ValueError where episodes cannot be drawn or computed."""
        for seed, entries in self.draws.draw(protocol, shot).items():
            archive = self.draws.archive(protocol.split)
            check_supports(self.learner(protocol, kshot), archive, entries)
            if negatives:
                self.draws.negatives(archive, entries, seed)

    def learner(self, protocol: Protocol, kshot: str) -> Learner:
        """The network as a protocol shows it photos, traced once for all that share it."""
        frame = base_frame(self.network, protocol.input_size, protocol.letterbox)
        if (frame, kshot) not in self.learners:
            self.learners[frame, kshot] = self._learner(frame, kshot)
        return self.learners[frame, kshot]

    def _learner(self, frame, kshot):
        options = dataclasses.replace(self.options, kshot=kshot)
        keep = self.args.baselines or self.args.negatives
        shared = {"cache": self.cache, "keep_features": keep}
        if self.args.engine == "keras":
            return Learner(self.network, options, frame, **shared)
        engine = Choice(self.args.engine, self.checkpoint, options).start()
        return LiteLearner(self.network, engine, frame, **shared)

    def evaluate(self, combinations: list) -> tuple[dict, list[dict]]:
        """Scores `combinations`, and writes after each what is known, so that a killed run
        leaves a whole evaluation of what it did.

        Returns:
            Contents of `evaluation.json` and of `episodes.jsonl`.
        """
        args, scored, before = self.args, [], None
        compared = baselines.BASELINES if args.baselines else ()
        for (shot, group, _), some in itertools.groupby(combinations, key=together):
            # Baselines know no k-shot method.
            beside = () if before == (shot, group) else compared
            kshots = [kshot for _, kshot, _ in some]
            scored += self.score(group, shot, kshots, beside, args.negatives and not scored)
            before = shot, group
            evaluation = statement.whole(self, scored)
            episodes = [line for one in scored for line in one.episodes]
            results.write(self.out, evaluation, episodes)
        return evaluation, episodes

    def score(
        self,
        group: list[Protocol],
        shot: int,
        kshots: list[str],
        compared: tuple[str, ...],
        negatives: bool,
    ) -> list[results.Scored]:
        """Protocols that share their answers, for one k and methods that fine-tune alike.

        Args:
            compared: baselines; they stand beside the first method.
            negatives: also ask the first method for objects that are not there.
        """
        learners = [self.learner(group[0], kshot) for kshot in kshots]
        archive, drawn = self.draws.archive(group[0].split), self.draws.draw(group[0], shot)
        found = {kshot: {} for kshot in kshots}  # {kshot: {seed: scoring.Found}}
        absent = []
        options = {
            "scoring": tuple(group),
            "with_boundaries": self.args.boundaries,
            "progress": True,
        }
        for seed, entries in drawn.items():
            name = f"manifest-{group[0].name}-{shot}shot-{seed}.jsonl"
            manifest.write(self.out / name, entries)
            print(f"{shot}-shot {', '.join(kshots)}, {group[0].name}, seed {seed}", flush=True)
            if self.args.way > 1:
                scored = [
                    evaluate_ways(one, archive, entries, group[0].name) for one in learners
                ]
            else:
                scored = evaluate_together(
                    learners, archive, entries, compared=compared, **options
                )
            for kshot, one in zip(kshots, scored, strict=True):
                found[kshot][seed] = one
            if negatives:
                asked = self.draws.negatives(archive, entries, seed)
                absent += evaluate_together(learners[:1], archive, asked, **options)[0].episodes
        return [
            self._scored(group, shot, kshot, drawn, found[kshot], absent if n == 0 else [])
            for n, kshot in enumerate(kshots)
        ]

    def _scored(self, group, shot, kshot, drawn, found, absent):
        """Rows, episodes and presence out of one method's {seed: Found}."""
        of_run = {"shot": shot, "kshot": kshot}
        lines = [
            {"seed": seed, **line, "protocol": group[0].name} | of_run
            for seed, one in found.items()
            for line in one.episodes
        ]
        rows = [
            row
            for protocol in group
            if protocol.name in next(iter(found.values())).totals
            for row in results.rows(
                {seed: one.totals[protocol.name] for seed, one in found.items()},
                {"protocol": protocol.name, **of_run} | statement.of_row(self, protocol, drawn),
            )
        ]
        if self.args.boundaries:
            rows[0] |= boundaries.summary(lines)
        presence = presence_scores.summary(lines, absent) if absent else None
        return results.Scored(rows, lines, presence)


def check_flags(args) -> None:
    """Raises ValueError for flags that do not go together."""
    for name in args.protocol:
        protocols.protocol(name)
    for name in ("protocol", "shot", "kshot"):
        given = getattr(args, name)
        if not given or len(set(given)) < len(given):
            raise InputError(
                f"--{name}: expected one or several, each once, received "
                f"{','.join(given) or 'none'}."
            )
    if args.way > 1 and (args.manifest or args.negatives or args.boundaries):
        raise InputError(
            "--way: expected 1 beside --manifest, --negatives and --boundaries, which ask for "
            f"one class, received {args.way}. Leave one of them off."
        )
    if args.way > 1 and len(args.protocol) > 1:
        raise InputError(
            "--way: expected one --protocol beside several classes at once, which are "
            f"scored alike in all, received {','.join(args.protocol)}. Give one of them."
        )
    if args.manifest and (args.episodes or args.seeds or args.seed is not None):
        raise InputError(
            "--manifest: expected it without --episodes, --seed and --seeds, because its "
            "episodes are drawn already, received one of them. Leave it out."
        )


def together(combination):
    """What combinations have in common that are computed together."""
    shot, kshot, group = combination
    return shot, group, _finetunes(kshot)


def _finetunes(kshot):
    return Options(kshot=kshot).finetunes
