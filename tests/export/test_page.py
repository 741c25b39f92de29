"""The server's page in a real browser: paint, ask, look, download."""

import base64
import io
import json
import shutil
import zipfile

import numpy as np
import pytest
from helpers.live_server import serving
from helpers.networks import photo
from PIL import Image

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


def add_support(page, *files):
    page.set_input_files("#support-files", list(files))
    return page.locator("#supports .card").last


def add_queries(page, *files):
    page.set_input_files("#query-files", list(files))
    page.locator("#queries .card").nth(len(files) - 1).wait_for()


def drag(page, canvas, start, end):
    """Draws with the mouse; places are shares of the canvas."""
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    places = [
        (box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end)
    ]
    page.mouse.move(*places[0])
    page.mouse.down()
    page.mouse.move(*places[1], steps=5)
    page.mouse.up()


def painted(card):
    """bool [H,W] of what is painted on a support."""
    script = """canvas => Array.from(
        canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data)"""
    values = np.array(card.locator(".paint").evaluate(script))
    return values.reshape(HEIGHT, WIDTH, 4)[..., 3] > 127


def find(page):
    page.click("#find")
    page.locator("#find:not([disabled])").wait_for()


def set_slider(page, selector, value):
    page.locator(selector).fill(str(value))


def downloaded(page, selector):
    with page.expect_download() as download:
        page.click(selector)
    return download.value.suggested_filename, download.value.path().read_bytes()


# === A network that is shown the thing ===


def test_paint_find_and_download(page, server):
    card = add_support(page, png())
    drag(page, card.locator(".paint"), (0.25, 0.3), (0.6, 0.7))
    mask = painted(card)
    assert mask[27, 30] and mask[45, 51] and mask[63, 72]
    assert not mask[80, 10] and not mask[10, 110] and 0.03 < mask.mean() < 0.5
    add_queries(page, png(90, 120, seed=2, name="my photo.png"))
    sent = asked(page, "encode_support_encoded", lambda: page.click("#find"))
    page.locator("#queries .download:enabled").wait_for()
    np.testing.assert_array_equal(decoded(sent["support_mask_bytes"][0])[..., 0], mask)
    assert (
        np.abs(decoded(sent["support_image_bytes"][0]) - pixels(png()["buffer"])).mean() < 128
    )

    # What is shown and downloaded is what the server answers, above the threshold chosen.
    state = server.outputs("encode_support_encoded", sent)
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
    overlay = page.locator(".overlay").evaluate(
        "c => Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data)"
    )
    wanted = probability > threshold
    np.testing.assert_array_equal(np.reshape(overlay, (120, 90, 4))[..., 3] > 0, wanted)
    name, content = downloaded(page, "#queries .download")
    assert name == "my photo_mask.png"
    np.testing.assert_array_equal(pixels(content)[..., 0] == 255, wanted)
    assert wanted.any() and not wanted.all()


def test_the_examples_are_encoded_once(page):
    card = add_support(page, png())
    drag(page, card.locator(".paint"), (0.2, 0.2), (0.7, 0.7))
    add_queries(page, png(), png())
    bodies = []
    page.on("request", lambda request: bodies.append(request.post_data or ""))
    for _ in range(2):
        find(page)
    page.click("#queries .card >> nth=0 >> .remove")
    find(page)
    signatures = [json.loads(body)["signature_name"] for body in bodies if body]
    assert signatures.count("encode_support_encoded") == 1
    assert signatures.count("segment_encoded_with_support") == 5
    drag(page, card.locator(".paint"), (0.9, 0.2), (0.9, 0.3))
    assert asked(page, "encode_support_encoded", lambda: find(page))


def test_brush_eraser_undo_clear_touch_and_keyboard(page):
    card = add_support(page, png())
    canvas = card.locator(".paint")
    drag(page, canvas, (0.2, 0.5), (0.8, 0.5))
    thick = painted(card)
    card.locator(".eraser").click()
    assert card.locator(".eraser").get_attribute("aria-pressed") == "true"
    drag(page, canvas, (0.5, 0.2), (0.5, 0.8))
    cut = painted(card)
    assert thick[45, 60] and not cut[45, 60] and cut[45, 30] and not (cut & ~thick).any()
    card.locator(".undo").click()
    np.testing.assert_array_equal(painted(card), thick)
    card.locator(".clear").click()
    assert not painted(card).any()
    card.locator(".undo").click()
    np.testing.assert_array_equal(painted(card), thick)
    card.locator(".clear").click()
    card.locator(".brush").click()
    card.locator(".size").fill("10")
    drag(page, canvas, (0.2, 0.5), (0.8, 0.5))
    assert 0 < painted(card).sum() < thick.sum() / 2
    card.locator(".clear").click()
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    page.touchscreen.tap(box["x"] + 0.75 * box["width"], box["y"] + 0.25 * box["height"])
    assert painted(card)[22, 90] and not painted(card)[45, 60]
    before = painted(card).sum()
    canvas.focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowDown", "Space"):
        page.keyboard.press(key)
    assert painted(card).sum() > before
    page.keyboard.press("Control+z")
    assert painted(card).sum() == before


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


@pytest.mark.parametrize("name", masks())
def test_a_mask_file_is_taken_for_what_it_means(page, name):
    content, wanted = masks()[name]
    card = add_support(page, png())
    card.locator(".mask-file").set_input_files(file(name, content))
    add_queries(page, png())
    sent = asked(page, "encode_support_encoded", lambda: find(page))
    np.testing.assert_array_equal(decoded(sent["support_mask_bytes"][0])[..., 0], wanted)
    assert page.locator("#queries .download:enabled").count() == 1  # the server takes it


def test_void_can_be_painted_over_and_erased(page):
    card = add_support(page, png())
    content, _ = masks()["void.png"]
    card.locator(".mask-file").set_input_files(file("void.png", content))
    drag(page, card.locator(".paint"), (0.3, 21 / HEIGHT), (0.4, 21 / HEIGHT))
    card.locator(".eraser").click()
    drag(page, card.locator(".paint"), (0.6, 21 / HEIGHT), (0.65, 21 / HEIGHT))
    add_queries(page, png())
    sent = asked(page, "encode_support_encoded", lambda: find(page))
    mask = decoded(sent["support_mask_bytes"][0])[..., 0]
    columns = [int(share * WIDTH) for share in (0.35, 0.5, 0.62)]
    assert mask[21, columns].tolist() == [1, 255, 0]


def test_photos_are_sent_upright_and_shrunk_and_masks_have_their_own_size(page):
    card = add_support(page, png())
    drag(page, card.locator(".paint"), (0.2, 0.2), (0.7, 0.7))
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


def of_another_version(route):
    """What the server says of its models, as if a version more had taken over."""
    answer = route.fetch().json()
    for one in answer["models"]:
        one["version"] += 1
    route.fulfill(json=answer)


def test_a_version_is_asked_by_its_number_for_its_state_is_its_own(page):
    card = add_support(page, png())
    drag(page, card.locator(".paint"), (0.2, 0.2), (0.7, 0.7))
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
    nothing = {"models": [], "max_request_bytes": 1}
    page.route("**/models", lambda route: route.fulfill(json=nothing))
    page.reload()
    assert "no model for this page yet" in problem(page)
    page.unroute("**/models")
    add_queries(page, png())
    find(page)
    assert "example photo" in problem(page) and page.is_visible("#support-step")


# === A model that knows classes ===


def test_a_taught_model_needs_no_examples_and_shows_its_classes(page, server):
    page.select_option("#model", index=1)
    assert not page.is_visible("#support-files")
    assert page.locator("#legend li").all_inner_texts() == [
        "cup (1 in the mask file)",
        "mug (2 in the mask file)",
    ]
    add_queries(page, png(seed=4), png(90, 70, seed=5))
    query = asked(page, "segment_encoded", lambda: find(page))
    answer = server.outputs("segment_encoded", query, "things")
    levels = np.stack([decoded(one) for one in answer["probability_png_bytes"][0]])
    set_slider(page, "#threshold", 0.05)
    scores = page.locator("#queries .score").first.inner_text()
    assert all(
        f"{name} {score:.2f}" in scores
        for name, score in zip(("cup", "mug"), answer["presence"][0], strict=True)
    )
    name, content = downloaded(page, "#download-all")
    archive = zipfile.ZipFile(io.BytesIO(content))
    assert name == "masks.zip" and archive.testzip() is None
    assert archive.namelist() == ["photo_mask.png", "photo_2_mask.png"]  # one name, two photos
    first, second = (pixels(archive.read(one)) for one in archive.namelist())
    wanted = np.where(levels.max(0) > 0.05 * 255, levels.argmax(0) + 1, 0)
    np.testing.assert_array_equal(first[..., 0], wanted)
    assert second.shape[:2] == (70, 90)


def test_photos_that_are_removed_while_they_are_asked_leave_nothing_to_download(page):
    page.select_option("#model", index=1)
    add_queries(page, png())
    held = []
    page.route("**/*:predict", lambda route: held.append(route))
    with page.expect_request("**/*:predict"):
        page.click("#find")
    page.click("#remove-all")
    held[0].continue_()
    page.locator("#find:not([disabled])").wait_for()
    assert page.is_disabled("#download-all")


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
    add_queries(page, png())
    find(page)
    assert "example photo" in problem(page)
    add_support(page, png(name="mine.png"))
    find(page)
    assert "mine.png: paint over the thing" in problem(page)


def test_files_that_cannot_serve_are_named(page):
    page.set_input_files("#query-files", [file("text.png", b"no photo"), png()])
    page.locator("#queries .card").wait_for()
    assert "text.png: this browser cannot read it" in problem(page)
    card = add_support(page, png())
    small = encode_png(np.ones((5, 6), np.uint8))
    card.locator(".mask-file").set_input_files(file("small.png", small))
    card.locator(".card-problem:not([hidden])").wait_for()
    said = card.locator(".card-problem").inner_text()
    assert f"{WIDTH}x{HEIGHT}" in said and "6x5" in said


def test_errors_of_the_server_are_shown(page):
    card = add_support(page, png())
    drag(page, card.locator(".paint"), (0.2, 0.2), (0.7, 0.7))
    large = io.BytesIO()
    Image.new("L", (1600, 1500)).save(large, "PNG")  # more than this model's max_pixels
    add_queries(page, file("large.png", large.getvalue()))
    find(page)
    said = page.locator("#queries .card-problem").inner_text()
    assert "at most 2097152 pixels" in said and "Assert" not in said


def test_every_control_has_a_name_and_the_page_fits_a_phone(page):
    card = add_support(page, png())
    add_queries(page, png())
    for control in page.locator("button, input, select, canvas.paint").all():
        name = control.evaluate(
            "e => e.labels?.[0]?.innerText || e.innerText || e.getAttribute('aria-label') || ''"
        )
        assert name.strip(), control.evaluate("e => e.outerHTML")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    card.locator(".remove").click()
    page.click("#remove-all")
    assert page.locator(".card").count() == 0
