// The photo that is painted on, as large as the window: tools, keys, undo.

import { drawValues } from "./colours.js";
import { readMask } from "./images.js";
import { actionOf } from "./keys.js";
import { NOTHING } from "./layer.js";
import { drawLines } from "./lines.js";
import { grownOver } from "./scribble.js";
import { View } from "./view.js";

export class Editor {
  // `page`: what the editor is part of: painted(photo), closed(photo), go(step), choose(value),
  // decide(photo, role).
  constructor(dialog, page) {
    Object.assign(this, { dialog, page, photo: null, value: 1, polygon: null, busy: false });
    const find = (name) => dialog.querySelector(name);
    this.canvas = find(".paint");
    this.lines = find(".lines");
    this.cursor = find(".cursor");
    this.sizeInput = find(".size");
    this.problem = find(".card-problem");
    this.view = new View(find(".viewport"), find(".stage"));
    this.tool = "brush";
    this.listen(find);
  }

  listen(find) {
    const actions = {
      ".undo": () => this.undo(), ".redo": () => this.redo(), ".clear": () => this.clear(),
      ".zoom-in": () => this.view.zoom(1.5), ".zoom-out": () => this.view.zoom(1 / 1.5),
      ".fit": () => this.fit(), ".close": () => this.close(),
      ".previous": () => this.page.go(-1), ".next": () => this.page.go(1),
      ".use": () => this.page.decide(this.photo, "example"),
      ".none": () => this.page.decide(this.photo, "negative"),
    };
    for (const [name, action] of Object.entries(actions)) {
      find(name).addEventListener("click", () => this.attempt(action));
    }
    for (const button of this.dialog.querySelectorAll("[data-tool]")) {
      button.addEventListener("click", () => this.choose(button.dataset.tool));
    }
    find(".mask-file").addEventListener("change", (event) => this.attempt(async () => {
      const [file] = event.target.files;
      event.target.value = ""; // the same file again is a change again
      if (file) await this.upload(file);
    }));
    for (const kind of ["pointerdown", "pointermove", "pointerup", "pointercancel"]) {
      this.canvas.addEventListener(kind, (event) => this.attempt(() => this.point(event)));
    }
    this.canvas.addEventListener("dblclick", () => this.closePolygon());
    this.canvas.addEventListener("pointerleave", () => { this.cursor.hidden = true; });
    this.dialog.addEventListener("keydown", (event) => {
      const action = actionOf(this, event);
      if (!action) return;
      event.preventDefault();
      this.attempt(action);
    });
    this.dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      if (this.polygon) this.dropPolygon();
      else this.close();
    });
    addEventListener("resize", () => this.photo && this.fit());
  }

  async attempt(action) {
    this.problem.hidden = true;
    try {
      await action();
    } catch (error) {
      this.problem.textContent = error.message;
      this.problem.hidden = false;
    }
  }

  // === Which photo ===

  open(photo) {
    this.photo = photo;
    this.polygon = null;
    this.dialog.querySelector("img").src = photo.url;
    this.dialog.querySelector(".name").textContent = photo.name;
    this.lines.setAttribute("viewBox", `0 0 ${photo.width} ${photo.height}`);
    this.place = [photo.width / 2, photo.height / 2];
    if (!this.dialog.open) this.dialog.showModal();
    this.fit();
    this.choose(this.tool);
    this.show();
    this.canvas.setAttribute("aria-label", `Mask of ${photo.name}. Arrow keys move the brush, ` +
      "space paints, Control Z undoes.");
    this.canvas.focus();
  }

  close() {
    const { photo } = this;
    this.photo = null;
    this.dialog.close();
    this.page.closed(photo);
  }

  // Which class is painted.
  paint(value) {
    this.value = value;
    if (this.tool === "eraser" || this.tool === "hand") this.choose("brush");
  }

  fit() {
    this.view.fit(this.photo.width, this.photo.height);
  }

  get layer() {
    return this.photo.layer;
  }

  show() {
    const { width, height } = this.photo;
    drawValues(this.canvas, this.layer.values, width, height);
    this.showLines();
    this.dialog.querySelector(".undo").disabled = !this.layer.done.length;
    this.dialog.querySelector(".redo").disabled = !this.layer.undone.length;
  }

  changed() {
    this.show();
    this.page.painted(this.photo);
  }

  // === Tools ===

  choose(tool) {
    this.tool = tool;
    this.dropPolygon();
    for (const button of this.dialog.querySelectorAll("[data-tool]")) {
      button.setAttribute("aria-pressed", String(button.dataset.tool === tool));
    }
  }

  // Diameter in pixels of the photo; the slider gives percents, finer at its lower end.
  get size() {
    const share = (Number(this.sizeInput.value) / 100) ** 2;
    return Math.max(2, share * 0.5 * Math.max(this.photo.width, this.photo.height));
  }

  get paints() {
    return this.tool === "eraser" ? NOTHING : this.value;
  }

  point(event) {
    if (this.view.follow(event)) return this.cancel();
    const place = this.view.at(event);
    if (event.type === "pointerdown") return this.begin(event, place);
    if (event.type === "pointermove") return this.move(event, place);
    return this.end();
  }

  begin(event, place) {
    if (this.busy) return;
    this.canvas.setPointerCapture(event.pointerId);
    if (this.tool === "hand" || event.button === 1) {
      this.panning = true;
    } else if (event.button === 0 && this.tool === "polygon") {
      this.polygon = [...this.polygon ?? [], place];
      this.showLines();
    } else if (event.button === 0) {
      const { tool, size, value } = this;
      this.stroke = { on: tool !== "beside", size, value, places: [place] };
      if (!this.scribbles) this.layer.begin();
      this.extend(place);
    }
  }

  get scribbles() {
    return this.tool === "scribble" || this.tool === "beside";
  }

  move(event, place) {
    this.showCursor(place);
    if (this.panning) this.view.pan(event.movementX, event.movementY);
    if (!this.stroke) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length ? events : [event]) this.extend(this.view.at(each));
  }

  extend(place) {
    const { places, size } = this.stroke;
    places.push(place);
    if (this.scribbles) {
      this.showLines();
    } else {
      this.layer.line(places.at(-2), place, size, this.paints);
      drawValues(this.canvas, this.layer.values, this.photo.width, this.photo.height);
    }
  }

  async end() {
    const { stroke } = this;
    this.stroke = this.panning = null;
    if (!stroke) return;
    if (this.scribbles) {
      await this.grow(stroke);
    } else {
      this.layer.end();
      this.changed();
    }
  }

  // A second finger: what the first one began was meant to move the photo.
  cancel() {
    if (this.stroke && !this.scribbles) this.layer.cancel();
    this.stroke = this.panning = null;
    this.show();
  }

  async grow(stroke) {
    const { photo } = this;
    this.busy = true;
    this.dialog.classList.add("busy");
    try {
      await grownOver(photo, stroke);
    } finally {
      this.busy = false;
      this.dialog.classList.remove("busy");
      if (this.photo === photo) this.changed();
    }
  }

  closePolygon() {
    if (this.polygon?.length > 2) {
      const points = this.polygon;
      this.layer.change(() => this.layer.fill(points, this.paints));
      this.dropPolygon();
      this.changed();
    }
  }

  dropPolygon() {
    this.polygon = null;
    this.showLines();
  }

  undo() {
    if (this.polygon) {
      this.polygon = this.polygon.length > 1 ? this.polygon.slice(0, -1) : null;
      this.showLines();
    } else if (!this.busy) {
      this.layer.undo();
      this.changed();
    }
  }

  redo() {
    if (this.busy) return;
    this.layer.redo();
    this.changed();
  }

  clear() {
    this.layer.change(() => this.layer.values.fill(NOTHING));
    this.changed();
  }

  async upload(file) {
    const { photo } = this, values = await readMask(file, photo, this.value);
    photo.layer.change(() => photo.layer.values.set(values));
    if (this.photo === photo) this.changed();
  }

  // === Keys: see keys.js ===

  step(direction) {
    const far = Math.max(4, this.size / 3);
    const [dx, dy] = { left: [-far, 0], right: [far, 0], up: [0, -far], down: [0, far] }[direction];
    const { width, height } = this.photo, [x, y] = this.place;
    this.showCursor([Math.min(width, Math.max(0, x + dx)), Math.min(height, Math.max(0, y + dy))]);
  }

  dot() {
    const { place, size } = this;
    this.layer.change(() => this.layer.line(place, place, size, this.paints));
    this.changed();
  }

  // === What is shown over the photo ===

  showCursor(place) {
    this.place = place;
    const { style } = this.cursor;
    style.left = `${place[0]}px`;
    style.top = `${place[1]}px`;
    style.width = style.height = `${this.size}px`;
    this.cursor.hidden = this.tool === "hand" || this.tool === "polygon";
  }

  // The polygon and the strokes of a scribble.
  showLines() {
    const strokes = [...this.layer.marks?.strokes ?? []];
    if (this.stroke && this.scribbles) strokes.push(this.stroke);
    drawLines(this.lines, strokes, this.polygon, this.view.scale);
  }
}
