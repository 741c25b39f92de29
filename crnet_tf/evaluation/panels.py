"""Which episodes of an evaluation are worth a look, and what is said below each."""

import json


def chosen(episodes: list[dict], count: int) -> dict[str, list[dict]]:
    """The `count` best, median and worst episodes by IoU, most telling first.

    No photo is the query twice: of fewer than 3 * count queries, every kind gets a third.
    Ties are broken by what the episodes hold, so their order does not matter.
    """
    ordered = sorted(episodes, key=lambda e: (e["iou"], json.dumps(e, sort_keys=True)))
    queries, shown = {e["query"] for e in episodes}, set()
    share, left = divmod(len(queries), 3)
    places = [min(count, share + (left > kind)) for kind in range(3)]

    def first(candidates, number):
        taken = []
        for episode in candidates:
            if len(taken) < number and episode["query"] not in shown:
                taken.append(episode)
                shown.add(episode["query"])
        return taken

    best, worst = first(ordered[::-1], places[0]), first(ordered, places[1])
    rest = [e for e in ordered if e["query"] not in shown]
    outwards = sorted(range(len(rest)), key=lambda i: abs(2 * i - len(rest) + 1))
    median = first([rest[i] for i in outwards], places[2])
    return {"best": best, "median": sorted(median, key=lambda e: e["iou"]), "worst": worst}


def caption(episode: dict, class_names: tuple[str, ...]) -> str:
    """Class, ids and IoU of an episode; `class_names` are those of the ids 1, 2, .."""
    return (
        f"{class_names[episode['class_id'] - 1]}: IoU {100 * episode['iou']:.1f}, "
        f"query {episode['query']}, support {', '.join(episode['support'])}"
    )
