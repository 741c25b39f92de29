"""Seeded episodes -> mIoU and FB-IoU, beside the baselines that give a number its meaning.

    python -m crnet_tf.evaluate --checkpoint=runs/voc1/best.keras --records=records/voc
    python -m crnet_tf.evaluate ... --shot=1,5 --kshot=fusion,finetune+fusion --seeds=5
    python -m crnet_tf.evaluate --compare=runs/a/evaluation,runs/b/evaluation

By default the protocol `crnet`: 1-shot episodes of the fold's unseen classes out of the val
split, IoU at the photo's own size, void ignored. Writes, into --out, `evaluation.json`, the
table as `scores.md`, every episode in `episodes.jsonl`, what was drawn as `manifest-*.jsonl`,
panels and charts as PNG, a page `report.html`, and `logs/` for TensorBoard. --compare prints
instead how much better one evaluation is than another of the same episodes.
"""

from absl import flags

from crnet_tf.common import cli, fields, files
from crnet_tf.common.errors import InputError
from crnet_tf.evaluation.protocols import PROTOCOLS
from crnet_tf.fewshot.engines import ENGINES
from crnet_tf.options import KSHOT, Options


def define_flags():
    text, number = flags.DEFINE_string, flags.DEFINE_integer
    text("checkpoint", None, "A .keras file written by training; default: the one of CRNet-TF.")
    text("records", None, "Folder of records with index.json; not needed by --compare.")
    flags.DEFINE_list(
        "compare",
        None,
        "Two folders of evaluations, or two patterns that match one folder a fold: prints the "
        "paired difference of their mIoU with its 95 % interval.",
    )
    text("out", None, "Folder of the results; default: evaluation/, beside your checkpoint.")
    flags.DEFINE_enum(
        "classes",
        "novel",
        ["novel", "base", "all"],
        "Unseen classes, training ones, or all of the records, also of other data sets.",
    )
    flags.DEFINE_list(
        "protocol", "crnet", f"What to draw and how to score; of {', '.join(PROTOCOLS)}."
    )
    flags.DEFINE_list("shot", "1", "Labelled photos of an episode; several: 1,5,10.")
    flags.DEFINE_list("kshot", "fusion", f"Use of several supports; of {', '.join(KSHOT)}.")
    flags.DEFINE_enum(
        "engine",
        "keras",
        ENGINES[1:],
        "What computes the answers: LiteRT takes one scale, the network's own input size and "
        "no fine-tuning.",
    )
    number("way", 1, "Classes to tell apart in a photo, beside the background.", 1)
    number("episodes", 0, "Number of episodes of a seed; 0: as the protocol says.", 0)
    number("seed", None, "First seed of the episodes; default: the protocol's.", 0)
    number("seeds", 0, "Number of seeds; 0: as the protocol says.", 0)
    number("input_size", 0, "Side of the network's input, px; 0: the protocol's.", 0)
    text("manifest", None, "Episodes of `crnet build episodes`, .jsonl or .tfrecord.")
    flags.DEFINE_bool("baselines", True, "Score the baselines on the same episodes.")
    flags.DEFINE_bool("negatives", False, "Also search photos without the class.")
    flags.DEFINE_bool("boundaries", False, "Also score how well outlines fit.")
    fields.define_flags(Options)


def main():
    args = flags.FLAGS
    if args.compare is not None:
        if len(args.compare) != 2:
            raise InputError(
                f"--compare: expected two folders, joined by a comma, received {args.compare}."
            )
        from crnet_tf.evaluation import comparing

        print(comparing.compare(*args.compare))
        return
    if not args.records:
        raise InputError("--records: expected a folder of records, received none. Give one.")
    from crnet_tf.evaluation import results, statement
    from crnet_tf.evaluation.run import Run
    from crnet_tf.reporting import pages

    run = Run(args)
    combinations = run.combinations()
    files.make_folder(run.out)
    pages.clear(run.out)
    evaluation, episodes = run.evaluate(combinations)
    print(f"\n{results.text(evaluation)}\n")
    pages.illustrate(run.out, evaluation, statement.panels(run, episodes))
    print(f"Written to {run.out}: evaluation.json, scores.md, report.html, episodes.jsonl ...")


if __name__ == "__main__":
    cli.run(main, define_flags)
