"""The server's page in a real browser: paint, ask, correct, keep, take along."""

import base64
import io
import json
import shutil
import zipfile

import numpy as np
import pytest
from helpers.film_files import write_film
from helpers.live_server import serving
from helpers.networks import photo
from PIL import Image

from crnet_tf.annotations import class_folders, coco_json, label_maps, labelme, yolo
from crnet_tf.data import labelled_folder
from crnet_tf.fewshot import deciding
from crnet_tf.images.png_files import encode_label, encode_png
from export.server.served import Served

playwright = pytest.importorskip("playwright.sync_api")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDTH, HEIGHT = 120, 90  # of the photos


@pytest.fixture(scope="module")
def browser():
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server(exports):
    folders = {"crnet": exports.few_shot.parent, "things": exports.taught.parent}
    with serving([Served(*model) for model in folders.items()]) as one:
        yield one


@pytest.fixture
def page(browser, server):
    """The page of a phone with a touch screen; nothing may go wrong unseen, or leave."""
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    page, wrong = context.new_page(), []
    page.set_default_timeout(60_000)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("requestfailed", lambda request: wrong.append(request.url))
    page.on("request", lambda request: own(request.url) or wrong.append(request.url))

    def own(url):
        return url.startswith((server.url, "blob:", "data:"))

    page.goto(server.url)
    page.locator("#model option").nth(1).wait_for(state="attached")
    yield page
    context.close()
    assert not wrong


def png(width=WIDTH, height=HEIGHT, seed=1, name="photo.png"):
    return file(name, encode_png(photo(seed, height, width).image))


def file(name, content):
    kind = "image/jpeg" if name.endswith("jpg") else "image/png"
    return {"name": name, "mimeType": kind, "buffer": content}


def asked(page, signature, action):
    """The inputs of the request that an action makes, and the action's answer."""

    def is_it(request):
        return request.method == "POST" and signature in request.post_data[:100]

    with page.expect_request(is_it) as caught:
        action()
    return json.loads(caught.value.post_data)["inputs"]


def pixels(content):
    return np.asarray(Image.open(io.BytesIO(content)))


def decoded(value):
    return pixels(base64.b64decode(value["b64"]))


# === What a person does ===


def add_support(page, one, paint=True):
    """An example; the editor, which opens by itself, is left open, with something painted."""
    page.set_input_files("#support-files", [one])
    page.locator("#editor[open]").wait_for()
    if paint:
        drag(page, (0.25, 0.3), (0.6, 0.7))


def edit(page, button):
    """Opens the editor by a card's button, and waits for it: masks are decoded first."""
    page.click(button)
    page.locator("#editor[open]").wait_for()


def close(page):
    page.keyboard.press("Escape")
    page.locator("#editor:not([open])").wait_for(state="attached")


def add_example(page, one=None):
    add_support(page, one or png())
    close(page)


def add_queries(page, *files):
    page.set_input_files("#query-files", list(files))
    page.locator("#queries .card").nth(len(files) - 1).wait_for()


def drag(page, *places):
    """Draws with the mouse in the editor; places are shares of the photo."""
    box = page.locator(".paint").bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in places]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=4)
    page.mouse.up()


def painted(page):
    """bool [H,W] of what is painted in the editor."""
    script = """canvas => Array.from(
        canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data)"""
    values = np.array(page.locator(".paint").evaluate(script))
    return values.reshape(HEIGHT, WIDTH, 4)[..., 3] > 0


def find(page):
    page.click("#find")
    page.locator("#find:not([disabled])").wait_for()


def set_slider(page, selector, value):
    page.locator(selector).fill(str(value))


def downloaded(page, selector):
    with page.expect_download() as download:
        page.click(selector)
    return download.value.suggested_filename, download.value.path().read_bytes()


def archive_of(content):
    archive = zipfile.ZipFile(io.BytesIO(content))
    assert archive.testzip() is None
    return archive


# === A network that is shown the thing ===


def test_paint_find_and_download(page, server):
    add_support(page, png())
    mask = painted(page)
    assert mask[27, 30] and mask[45, 51] and mask[63, 72]
    assert not mask[80, 10] and not mask[10, 110] and 0.02 < mask.mean() < 0.5
    close(page)
    add_queries(page, png(90, 120, seed=2, name="my photo.png"))
    sent = asked(page, "encode_support_encoded", lambda: page.click("#find"))
    page.locator("#queries .download:enabled").wait_for()
    np.testing.assert_array_equal(decoded(sent["support_mask_bytes"][0])[..., 0], mask)
    image = decoded(sent["support_image_bytes"][0])
    assert np.abs(image - pixels(png()["buffer"])).mean() < 128

    # What is shown and downloaded is what the server answers, above the threshold chosen.
    state = server.outputs("encode_support_encoded", sent)
    page.click("#queries .remove")
    add_queries(page, png(90, 120, seed=2, name="my photo.png"))
    query = asked(page, "segment_encoded_with_support", lambda: find(page))
    assert {"category", "importance", "prototype"} <= set(query)
    answer = server.outputs(
        "segment_encoded_with_support",
        {"query_image_bytes": query["query_image_bytes"], **state},
    )
    probability = decoded(answer["probability_png_bytes"][0]) / 255
    threshold = round(float(np.median(probability)), 2)
    set_slider(page, "#threshold", threshold)
    assert f"presence {answer['presence'][0]:.2f}" in page.inner_text("#queries .score")
    overlay = page.locator("#queries .overlay").evaluate(
        "c => Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data)"
    )
    wanted = probability > threshold
    np.testing.assert_array_equal(np.reshape(overlay, (120, 90, 4))[..., 3] > 0, wanted)
    name, content = downloaded(page, "#queries .download")
    assert name == "my photo_mask.png"
    np.testing.assert_array_equal(pixels(content)[..., 0] == 255, wanted)
    assert wanted.any() and not wanted.all()


def test_nothing_is_asked_twice(page):
    add_example(page)
    add_queries(page, png(), png())
    bodies = []
    page.on("request", lambda request: bodies.append(request.post_data or ""))
    find(page)
    add_queries(page, png(seed=3))
    find(page)
    signatures = [json.loads(body)["signature_name"] for body in bodies if body]
    assert signatures.count("encode_support_encoded") == 1
    assert signatures.count("segment_encoded_with_support") == 3
    edit(page, "#supports .edit")
    drag(page, (0.9, 0.2), (0.9, 0.3))
    close(page)
    assert asked(page, "encode_support_encoded", lambda: find(page))


def test_brush_eraser_polygon_undo_redo_clear_touch_and_keyboard(page):
    add_support(page, png(), paint=False)
    drag(page, (0.2, 0.5), (0.8, 0.5))
    thick = painted(page)
    page.keyboard.press("e")
    assert page.get_attribute("[data-tool=eraser]", "aria-pressed") == "true"
    drag(page, (0.5, 0.2), (0.5, 0.8))
    cut = painted(page)
    assert thick[45, 60] and not cut[45, 60] and cut[45, 30] and not (cut & ~thick).any()
    page.click("#editor .undo")
    np.testing.assert_array_equal(painted(page), thick)
    page.keyboard.press("Control+y")
    np.testing.assert_array_equal(painted(page), cut)
    page.click("#editor .clear")
    assert not painted(page).any()
    page.keyboard.press("p")
    box = page.locator(".paint").bounding_box()
    for x, y in ((0.1, 0.1), (0.5, 0.1), (0.5, 0.6)):
        page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
    page.keyboard.press("Enter")
    triangle = painted(page)
    assert triangle[15, 50] and not triangle[40, 20] and 0.08 < triangle.mean() < 0.12
    page.click("#editor .clear")
    page.keyboard.press("b")
    page.locator("#editor .size").fill("10")
    page.locator(".paint").focus()
    drag(page, (0.2, 0.5), (0.8, 0.5))
    assert 0 < painted(page).sum() < thick.sum() / 2
    page.click("#editor .clear")
    page.touchscreen.tap(box["x"] + 0.75 * box["width"], box["y"] + 0.25 * box["height"])
    assert painted(page)[22, 90] and not painted(page)[45, 60]
    before = painted(page).sum()
    page.locator(".paint").focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowDown", "Space"):
        page.keyboard.press(key)
    assert painted(page).sum() > before
    page.keyboard.press("Control+z")
    assert painted(page).sum() == before


def test_what_is_painted_lies_where_it_is_seen_however_it_is_zoomed(page):
    add_support(page, png(), paint=False)
    page.locator("#editor .size").fill("10")
    box = page.locator(".viewport").bounding_box()
    corner = box["x"] + 1, page.locator(".paint").bounding_box()["y"] + 1
    page.mouse.move(*corner)
    page.mouse.wheel(0, -800)
    page.mouse.down()
    page.mouse.move(corner[0] + 10, corner[1] + 10)
    page.mouse.up()
    zoomed = painted(page)
    assert zoomed[0, 0] and zoomed.sum() < 40
    page.keyboard.press("h")
    drag(page, (0.1, 0.1), (0.2, 0.1))
    page.keyboard.press("0")
    np.testing.assert_array_equal(painted(page), zoomed)
    assert page.locator(".paint").bounding_box()["width"] <= box["width"] + 1


def test_a_mask_grows_from_strokes_on_the_thing_and_beside_it(page):
    given = photo(1, HEIGHT, WIDTH)
    rows, columns = np.nonzero(given.mask == 1)
    top, bottom, left, right = rows.min(), rows.max(), columns.min(), columns.max()
    add_support(page, png(), paint=False)
    page.locator("#editor .size").fill("12")
    page.keyboard.press("s")
    middle = (top + bottom) / 2 / HEIGHT
    with page.expect_response("**/grow"):
        drag(page, ((left + 8) / WIDTH, middle), ((right - 8) / WIDTH, middle))
    page.locator("#editor:not(.busy)").wait_for()
    grown = painted(page)
    wanted = given.mask == 1
    assert (grown & wanted).sum() / (grown | wanted).sum() > 0.9
    page.keyboard.press("x")
    with page.expect_response("**/grow"):
        drag(
            page,
            ((left + 5) / WIDTH, (top + 4) / HEIGHT),
            ((right - 5) / WIDTH, (top + 4) / HEIGHT),
        )
    page.locator("#editor:not(.busy)").wait_for()
    assert not painted(page)[top + 4, (left + right) // 2]
    assert page.locator(".lines polyline").count() == 2
    page.keyboard.press("Control+z")
    np.testing.assert_array_equal(painted(page), grown)
    page.keyboard.press("Control+z")
    assert not painted(page).any() and page.locator(".lines polyline").count() == 0


def test_strokes_correct_a_mask_that_is_there(page):
    add_support(page, png(), paint=False)
    page.locator("#editor .size").fill("12")
    drag(page, (0.1, 0.2), (0.4, 0.2))
    kept = painted(page)
    drag(page, (0.1, 0.8), (0.4, 0.8))
    page.keyboard.press("x")
    with page.expect_response("**/grow") as answered:
        drag(page, (0.1, 0.8), (0.4, 0.8))
    page.locator("#editor:not(.busy)").wait_for()
    assert "mask" in json.loads(answered.value.request.post_data)
    np.testing.assert_array_equal(painted(page), kept)


def masks():
    """Mask files of several kinds, and what they mean: 1 for the object, 255 void."""
    wanted = np.zeros((HEIGHT, WIDTH), np.uint8)
    wanted[20:60, 30:80] = 1
    void = wanted.copy()
    void[20:22] = 255
    palette = bytes([0, 0, 0, 128, 0, 0])
    return {
        "white.png": (encode_png(255 * wanted), wanted),
        "ones.png": (encode_png(wanted), wanted),
        "void.png": (encode_png(void), void),
        "palette.png": (encode_label(wanted, palette), wanted),
    }


def test_a_mask_file_is_taken_for_what_it_means(page):
    for name, (content, _) in masks().items():
        add_support(page, png(), paint=False)
        page.set_input_files("#editor .mask-file", [file(name, content)])
        page.locator("#editor .undo:enabled").wait_for()
        close(page)
    add_queries(page, png())
    sent = asked(page, "encode_support_encoded", lambda: find(page))
    for value, (_, wanted) in zip(sent["support_mask_bytes"], masks().values(), strict=True):
        np.testing.assert_array_equal(decoded(value)[..., 0], wanted)
    assert page.locator("#queries .download:enabled").count() == 1  # the server takes it


def test_void_can_be_painted_over_and_erased(page):
    add_support(page, png(), paint=False)
    content, _ = masks()["void.png"]
    page.set_input_files("#editor .mask-file", [file("void.png", content)])
    page.locator("#editor .undo:enabled").wait_for()
    drag(page, (0.3, 21 / HEIGHT), (0.4, 21 / HEIGHT))
    page.click("[data-tool=eraser]")
    drag(page, (0.6, 21 / HEIGHT), (0.65, 21 / HEIGHT))
    close(page)
    add_queries(page, png())
    sent = asked(page, "encode_support_encoded", lambda: find(page))
    mask = decoded(sent["support_mask_bytes"][0])[..., 0]
    columns = [int(share * WIDTH) for share in (0.35, 0.5, 0.62)]
    assert mask[21, columns].tolist() == [1, 255, 0]


def test_photos_are_sent_upright_and_shrunk_and_masks_have_their_own_size(page):
    add_example(page)
    image = Image.new("RGB", (2000, 1000), "red")
    image.paste("blue", (0, 0, 2000, 100))  # on top; turned by EXIF, on the right
    turned = Image.Exif()
    turned[0x0112] = 6
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", exif=turned)
    add_queries(page, file("turned.jpg", buffer.getvalue()))
    query = asked(page, "segment_encoded_with_support", lambda: find(page))
    sent = decoded(query["query_image_bytes"][0]).astype(int)
    assert sent.shape == (1600, 800, 3)
    red, blue = sent[800, 100], sent[800, 790]
    assert red[0] > 200 > 60 > red[2] and blue[2] > 200 > 60 > blue[0]
    name, content = downloaded(page, "#queries .download")
    assert name == "turned_mask.png" and pixels(content).shape[:2] == (2000, 1000)


# === Answers become examples ===


def test_an_answer_is_corrected_in_place_and_becomes_an_example(page):
    add_example(page)
    add_queries(page, png(seed=2, name="a.png"), png(seed=3, name="b.png"))
    find(page)
    edit(page, "#queries .edit >> nth=0")
    first = page.inner_text("#editor .name")
    before = painted(page)
    page.keyboard.press("e")
    drag(page, (0, 0), (1, 1))
    corrected = painted(page)
    assert before.any() and 0 < corrected.sum() < before.sum()
    page.keyboard.press("u")  # and the next photo is there
    page.locator(f"#editor .name:not(:text-is('{first}'))").wait_for()
    assert page.locator("#supports .card").count() == 2
    page.keyboard.press(",")
    page.locator(f"#editor .name:text-is('{first}')").wait_for()
    close(page)
    sent = asked(page, "encode_support_encoded", lambda: find(page))
    np.testing.assert_array_equal(decoded(sent["support_mask_bytes"][1])[..., 0], corrected)


def test_what_shows_none_makes_presence_honest(page, server):
    add_example(page)
    add_queries(page, png(seed=2, name="a.png"), png(seed=3, name="b.png"))
    find(page)
    scores = page.locator("#queries .score")
    assert not any("not there" in one for one in scores.all_inner_texts())
    surest = np.argmax([presence(one) for one in scores.all_inner_texts()])
    edit(page, f"#queries .edit >> nth={surest}")
    page.keyboard.press("e")
    page.locator("#editor .clear").click()
    page.click("#editor .use")  # a correction that leaves nothing
    close(page)
    negative = page.locator("#queries .card.negative")
    edit(page, "#queries .card.negative .edit")
    close(page)
    assert negative.count() == 1  # looked at, it stays one
    sent = []
    query = asked(
        page,
        "segment_encoded_with_support",
        lambda: sent.append(asked(page, "with_negatives_encoded", lambda: find(page))),
    )
    told = server.outputs("with_negatives_encoded", sent[0])
    np.testing.assert_allclose(query["rival"], told["rival"], rtol=1e-4)
    assert np.any(query["rival"])
    assert any("shows none" in one for one in scores.all_inner_texts())


def presence(text):
    return float(text.split("presence ")[1].split()[0])


def test_photos_are_listed_by_doubt_and_the_slider_says_what_is_absent(page):
    add_example(page)
    add_queries(page, *(png(seed=n, name=f"{n}.png") for n in range(2, 6)))
    find(page)
    page.select_option("#order", "surest")
    found = [presence(one) for one in page.locator("#queries .score").all_inner_texts()]
    assert found == sorted(found, reverse=True) and found[0] > found[-1]
    set_slider(page, "#presence", round(found[1] - 0.004, 2))
    said = page.locator("#queries .score").all_inner_texts()
    assert "not there" not in said[0] and "not there" in said[-1]
    least = float(page.inner_text("#presence-value"))
    page.select_option("#order", "doubtful")
    found = [presence(one) for one in page.locator("#queries .score").all_inner_texts()]
    away = [abs(one - least) for one in found]
    np.testing.assert_allclose(away, sorted(away), atol=0.011)


# === Sessions and files ===


def test_a_session_is_kept_saved_and_loaded(page, browser, server):
    add_support(page, png(name="mine.png"))
    mask = painted(page)
    close(page)
    page.click("#add-class")
    add_queries(page, png(seed=2, name="other.png"))
    find(page)
    edit(page, "#queries .edit")
    page.keyboard.press("e")
    drag(page, (0.1, 0.5), (0.9, 0.5))
    close(page)
    score = page.inner_text("#queries .score")
    assert "corrected" in score
    page.locator("body[data-kept='2']").wait_for()
    page.reload()
    page.locator("#queries .card").wait_for()
    edit(page, "#queries .edit")
    close(page)
    assert page.inner_text("#queries .score") == score
    assert page.locator("#classes input").count() == 2
    name, content = downloaded(page, "#save-session")
    page.click("#new-session")
    assert page.locator(".card").count() == 0
    page.set_input_files("#load-session", [file(name, content)])
    page.locator("#queries .card").wait_for()
    edit(page, "#supports .edit")
    assert page.inner_text("#editor .name") == "mine.png"
    np.testing.assert_array_equal(painted(page), mask)
    close(page)
    archive = archive_of(content)
    assert archive.read("photos/mine.png") == png()["buffer"]
    page.set_input_files("#load-session", [file("broken.zip", content[:-30])])
    assert "ZIP file that this page saved" in problem(page)


def test_what_the_page_exports_is_read_by_every_command(page, tmp_path):
    add_support(page, png(name="Tasse 1.png"))
    page.click("#editor .clear")
    drag(page, (0.2, 0.3), (0.3, 0.7))
    first = painted(page)
    close(page)
    page.locator("#classes input").fill("cup")
    page.click("#add-class")
    edit(page, "#supports .edit")
    page.keyboard.press("2")
    drag(page, (0.7, 0.3), (0.8, 0.7))
    second = painted(page) & ~first
    close(page)
    add_queries(page, png(seed=2, name="Tasse 1.png"))
    for box in page.locator("#formats input").all():
        box.check()
    page.check("#shapes")
    name, content = downloaded(page, "#export")
    assert name == "labels.zip"
    archive_of(content).extractall(tmp_path)
    photo_file = png()["buffer"]
    assert (tmp_path / "photos" / "Tasse 1.png").read_bytes() == photo_file
    assert (tmp_path / "yolo" / "images" / "Tasse 1.png").read_bytes() == photo_file
    for listing, read in (
        (class_folders.list_photos(tmp_path / "folders"), class_folders.read_label),
        (
            coco_json.list_photos(tmp_path / "coco.json", tmp_path / "photos"),
            coco_json.read_label,
        ),
        (labelme.list_photos(tmp_path / "labelme"), labelme.read_label),
        (yolo.list_photos(tmp_path / "yolo" / "data.yaml"), yolo.read_label),
        (
            label_maps.list_photos(
                tmp_path / "photos",
                tmp_path / "voc" / "SegmentationClass",
                tmp_path / "voc" / "classes.csv",
            ),
            label_maps.read_label,
        ),
    ):
        assert not listing.problems and sorted(listing.class_names) == ["cup", "thing 2"]
        label = np.max([read(one) for one in listing.photos], axis=0)
        for class_name, wanted in (("cup", first), ("thing 2", second)):
            drawn = label == listing.class_names.index(class_name) + 1
            assert (drawn & wanted).sum() / (drawn | wanted).sum() > 0.95
    classes = labelled_folder.read_classes(tmp_path / "folders")
    np.testing.assert_array_equal(classes["cup"][0].mask == 1, first)


# === Which model ===


def of_another_version(route):
    """What the server says of its models, as if a version more had taken over."""
    answer = route.fetch().json()
    for one in answer["models"]:
        one["version"] += 1
    route.fulfill(json=answer)


def test_a_version_is_asked_by_its_number_for_its_state_is_its_own(page):
    add_example(page)
    add_queries(page, png())
    page.route("**/models", of_another_version)
    find(page)
    assert "version '2' is not loaded. Press \"Find it\" again" in problem(page)
    assert page.inner_text("#model").splitlines()[0] == "crnet, version 2"
    page.unroute("**/models")
    find(page)
    assert "presence" in page.inner_text("#queries .score")
    assert page.is_hidden("#problem")


def test_a_page_that_is_opened_before_its_model_is_loaded_gets_it(page):
    nothing = {"models": [], "max_request_bytes": 1, "formats": []}
    page.route("**/models", lambda route: route.fulfill(json=nothing))
    page.reload()
    assert "no model for this page yet" in problem(page)
    page.unroute("**/models")
    add_queries(page, png())
    find(page)
    assert "example photo" in problem(page) and page.is_visible("#support-step")


def test_a_taught_model_needs_no_examples_and_shows_its_classes(page, server):
    page.select_option("#model", index=1)
    assert not page.is_visible("#support-files")
    assert "This model knows: cup, mug." in page.inner_text("#about")
    add_queries(page, png(seed=4))
    query = asked(page, "segment_encoded", lambda: find(page))
    answer = server.outputs("segment_encoded", query, "things")
    levels = np.stack([decoded(one) for one in answer["probability_png_bytes"][0]])
    set_slider(page, "#threshold", 0.05)
    scores = page.locator("#queries .score").first.inner_text()
    assert all(
        f"{name} {score:.2f}" in scores
        for name, score in zip(("cup", "mug"), answer["presence"][0], strict=True)
    )
    assert not page.is_visible("#queries .use")
    name, content = downloaded(page, "#queries .download")
    there = deciding.there(levels / 255, answer["presence"][0], 0.05, deciding.LEAST)
    levels = levels * there[:, None, None]
    wanted = np.where(levels.max(0) > 0.05 * 255, levels.argmax(0) + 1, 0)
    np.testing.assert_array_equal(pixels(content)[..., 0], wanted)


def test_photos_that_are_removed_while_they_are_asked_are_gone(page):
    page.select_option("#model", index=1)
    add_queries(page, png())
    held = []
    page.route("**/*:predict", lambda route: held.append(route))
    with page.expect_request("**/*:predict"):
        page.click("#find")
    page.click("#remove-all")
    held[0].continue_()
    page.locator("#find:not([disabled])").wait_for()
    assert page.locator(".card").count() == 0


def grey(page, card):
    """Mean brightness of a card's photo."""
    script = """async image => {
        const canvas = new OffscreenCanvas(1, 1), context = canvas.getContext("2d");
        await image.decode();
        context.drawImage(image, 0, 0, 1, 1);
        return context.getImageData(0, 0, 1, 1).data[0];
    }"""
    return page.locator(card).evaluate(script)


def test_frames_of_a_film_are_picked_and_become_photos(page, tmp_path):
    pytest.importorskip("av")
    shown = [np.full((48, 64, 3), 20 * n, np.uint8) for n in range(10)]
    film = write_film(tmp_path / "clip.webm", shown, codec="libvpx")
    page.set_input_files("#query-files", [film])
    page.locator("#film .take:not([disabled])").wait_for()
    assert page.evaluate("document.querySelector('#film').scrollWidth") <= 390
    for seconds in (1.1, 3.6):
        script = "(v, t) => new Promise(done => { v.onseeked = done; v.currentTime = t; })"
        page.locator("#film video").evaluate(script, seconds)
        page.click("#film .take")
    page.click("#film .on")
    page.locator("#film .taken", has_text="2 frames").wait_for()
    page.click("#film .close")
    page.locator("#queries .card").nth(1).wait_for()
    names = page.locator("#queries .name").all_inner_texts()
    assert [name.split(",")[0] for name in names] == [
        "clip_00001.10s.jpg",
        "clip_00003.60s.jpg",
    ]
    for number, expected in ((1, 40), (2, 140)):
        assert abs(grey(page, f"#queries .card:nth-child({number}) img") - expected) < 8
    page.set_input_files("#query-files", [film])
    page.locator("#film .take:not([disabled])").wait_for()
    page.fill("#film .every", "2")
    page.click("#film .take-all")
    page.locator("#film .taken", has_text="3 frames").wait_for()
    page.keyboard.press("Escape")
    page.locator("#queries .card").nth(4).wait_for()
    page.set_input_files(
        "#query-files", [file("bad.webm", b"no film") | {"mimeType": "video/webm"}]
    )
    assert "bad.webm: this browser cannot play it" in problem(page)
    assert page.locator("#queries .card").count() == 5


def test_a_photo_dropped_beside_the_fields_does_not_replace_the_page(page):
    script = """kind => !document.body.dispatchEvent(
        new DragEvent(kind, {bubbles: true, cancelable: true}))"""
    assert page.evaluate(script, "dragover") and page.evaluate(script, "drop")


# === What goes wrong is said ===


def problem(page):
    page.locator("#problem:not([hidden])").wait_for()
    return page.inner_text("#problem")


def test_what_is_missing_is_said(page):
    find(page)
    assert "at least one photo" in problem(page)
    page.click("#export")
    assert "a photo with a mask" in problem(page)
    add_queries(page, png())
    find(page)
    assert "example photo" in problem(page)
    add_support(page, png(name="mine.png"), paint=False)
    close(page)
    find(page)
    assert "mine.png: paint over the thing" in problem(page)


def test_files_that_cannot_serve_are_named(page):
    page.set_input_files("#query-files", [file("text.png", b"no photo"), png()])
    page.locator("#queries .card").wait_for()
    assert "text.png: this browser cannot read it" in problem(page)
    add_support(page, png(), paint=False)
    small = encode_png(np.ones((5, 6), np.uint8))
    page.set_input_files("#editor .mask-file", [file("small.png", small)])
    page.locator("#editor .card-problem:not([hidden])").wait_for()
    said = page.inner_text("#editor .card-problem")
    assert f"{WIDTH}x{HEIGHT}" in said and "6x5" in said


def test_errors_of_the_server_are_shown(page):
    add_example(page)
    large = io.BytesIO()
    Image.new("L", (1600, 1500)).save(large, "PNG")  # more than this model's max_pixels
    add_queries(page, file("large.png", large.getvalue()))
    find(page)
    said = page.locator("#queries .card-problem").inner_text()
    assert "at most 2097152 pixels" in said and "Assert" not in said


def test_every_control_has_a_name_and_the_page_fits_a_phone(page):
    add_example(page)
    add_queries(page, png())
    for control in page.locator("button, input, select, canvas.paint").all():
        name = control.evaluate(
            """e => e.labels?.[0]?.textContent || e.getAttribute('aria-label')
            || e.textContent || ''"""
        )
        assert name.strip(), control.evaluate("e => e.outerHTML")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    edit(page, "#supports .edit")
    assert page.evaluate("document.querySelector('#editor').scrollWidth") <= 390
    close(page)
    page.click("#supports .remove")
    page.click("#remove-all")
    assert page.locator(".card").count() == 0
