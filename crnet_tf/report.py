"""A page of one or several evaluations: what was run, scores, charts, episodes to look at.

    python -m crnet_tf.report --evaluations=runs/voc1/evaluation --out=report.html
    python -m crnet_tf.report --evaluations=runs/voc0/evaluation,runs/voc1/evaluation

One HTML file that needs nothing beside it. Evaluations of several folds get a table with the
mean over the folds, the number the field reports. Takes seconds; nothing is computed again.
"""

import pathlib

from absl import flags

from crnet_tf.common import cli, files


def define_flags():
    flags.DEFINE_list(
        "evaluations", None, "Folders written by `crnet evaluate`, one a fold.", required=True
    )
    flags.DEFINE_string("out", "report.html", "The page to write.")


def main():
    from crnet_tf.reporting.pages import report

    folders = [pathlib.Path(folder) for folder in flags.FLAGS.evaluations]
    out = pathlib.Path(flags.FLAGS.out)
    text = report(folders)
    files.make_folder(out.parent)
    files.write_text(out, text)
    print(f"Written to {out}: {len(folders)} evaluations, {len(text) / 1e6:.1f} MB.")


if __name__ == "__main__":
    cli.run(main, define_flags)
