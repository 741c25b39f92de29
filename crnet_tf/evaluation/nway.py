"""Several classes at once: one against the rest for each, and a decision for the background.

CRNet is asked about one class at a time; N classes are N answers to the same photo. A pixel
is the most probable of the classes that are there (`deciding`), or background where none is
more probable than a half.
"""

import numpy as np

from crnet_tf.common.progress import with_progress
from crnet_tf.evaluation import scoring
from crnet_tf.evaluation.manifest import Archive, WayEntry
from crnet_tf.fewshot import deciding
from crnet_tf.fewshot.learner import Learner
from crnet_tf.images.mask_values import class_mask, label_value
from crnet_tf.network import metrics


def evaluate_ways(
    learner: Learner, archive: Archive, entries: list[WayEntry], protocol: str
) -> scoring.Found:
    """Areas of N-way episodes, of the method "crnet" at the photos' own size, whatever the
    protocol of this name says.

    Every class of an episode is scored, also those the query does not hold: what is taken
    for them counts against them.
    """
    found = scoring.Found({}, [])
    for entry in with_progress(entries, "episodes"):
        each, small, presences = [], [], []
        query = scoring.photo(archive, entry.query, entry.classes[0])
        for class_id, names in entry.examples:
            supports = [scoring.photo(archive, name, class_id) for name in names]
            predictor = learner.fit(supports)
            last = [steps[-1:] for steps in predictor.maps(query)]
            small.append(last[0][0])
            presences.append(predictor.presence(query))
            each.append(learner.restore(last, query.image)[0])
        least = deciding.least_presence(each, [])
        there = deciding.there(small, presences, 0.5, least)
        decided = deciding.decided(np.stack(each), there, 0.5)
        label = archive.photo(entry.query)[1]
        for n, class_id in enumerate(entry.classes, 1):
            truth = class_mask(label, label_value(class_id))
            found.add(protocol, "crnet", class_id, metrics.areas(decided == n, truth))
    return found
