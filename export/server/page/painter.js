// A mask painted over a photo, by pointer, touch or keyboard. What was done is kept as a list
// of strokes, so that undo needs no copies of the mask.

import { greyFile, newCanvas, readMask } from "./images.js";

const COLOURS = { object: [255, 122, 0], void: [0, 122, 255] };

const OBJECT = 1, VOID = 255; // in a mask file

export class Painter {
  constructor(card, photo, onChange) {
    this.photo = photo;
    this.onChange = onChange;
    this.canvas = card.querySelector(".paint");
    this.canvas.width = photo.width;
    this.canvas.height = photo.height;
    this.canvas.setAttribute("role", "application");
    this.canvas.setAttribute("aria-label", `Mask of ${photo.name}. Arrow keys move the brush, ` +
      "space paints, Control Z undoes.");
    this.context = this.canvas.getContext("2d", { willReadFrequently: true });
    this.cursor = card.querySelector(".cursor");
    this.sizeInput = card.querySelector(".size");
    this.strokes = [];
    this.erases = false;
    this.place = [photo.width / 2, photo.height / 2];
    this.listen();
  }

  // Diameter in pixels of the photo; the slider gives percents, finer at its lower end.
  get size() {
    const share = (Number(this.sizeInput.value) / 100) ** 2;
    return Math.max(2, share * 0.5 * Math.max(this.photo.width, this.photo.height));
  }

  listen() {
    const canvas = this.canvas;
    let stroke = null;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      canvas.setPointerCapture(event.pointerId);
      stroke = this.begin(this.at(event));
    });
    canvas.addEventListener("pointermove", (event) => {
      this.showCursor(this.at(event));
      if (!stroke) return;
      const events = event.getCoalescedEvents?.() ?? [];
      for (const each of events.length ? events : [event]) this.extend(stroke, this.at(each));
    });
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, () => {
        if (stroke) this.onChange();
        stroke = null;
      });
    }
    canvas.addEventListener("pointerleave", () => { this.cursor.hidden = true; });
    canvas.addEventListener("blur", () => { this.cursor.hidden = true; });
    canvas.addEventListener("keydown", (event) => this.onKey(event));
  }

  onKey(event) {
    const step = Math.max(4, this.size / 3);
    const moves = {
      ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step],
    };
    if (event.key in moves) {
      const { width, height } = this.photo;
      const [x, y] = this.place.map((value, axis) => value + moves[event.key][axis]);
      this.showCursor([Math.min(width, Math.max(0, x)), Math.min(height, Math.max(0, y))]);
    } else if (event.key === " ") {
      this.begin(this.place);
      this.onChange();
    } else if (event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey)) {
      this.undo();
    } else {
      return;
    }
    event.preventDefault();
  }

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    return [
      ((event.clientX - box.left) / box.width) * this.photo.width,
      ((event.clientY - box.top) / box.height) * this.photo.height,
    ];
  }

  showCursor(place) {
    this.place = place;
    const scale = this.canvas.getBoundingClientRect().width / this.photo.width;
    const style = this.cursor.style;
    style.left = `${place[0] * scale}px`;
    style.top = `${place[1] * scale}px`;
    style.width = style.height = `${this.size * scale}px`;
    this.cursor.hidden = false;
  }

  begin([x, y]) {
    const places = [[x, y], [x + 0.01, y]]; // a line of no length would not be drawn
    const stroke = { erases: this.erases, size: this.size, places };
    this.strokes.push(stroke);
    this.draw(stroke, 0);
    return stroke;
  }

  extend(stroke, place) {
    stroke.places.push(place);
    this.draw(stroke, stroke.places.length - 2);
  }

  // An image, or the part of a stroke from one place to the next: again in the same parts, a
  // stroke gives the same pixels.
  draw(stroke, from) {
    const context = this.context;
    if (stroke.image) {
      context.clearRect(0, 0, this.photo.width, this.photo.height);
      context.drawImage(stroke.image, 0, 0);
      return;
    }
    context.globalCompositeOperation = stroke.erases ? "destination-out" : "source-over";
    context.strokeStyle = `rgb(${COLOURS.object.join(" ")})`;
    context.lineWidth = stroke.size;
    context.lineCap = context.lineJoin = "round";
    context.beginPath();
    context.moveTo(...stroke.places[from]);
    context.lineTo(...stroke.places[from + 1]);
    context.stroke();
    context.globalCompositeOperation = "source-over";
  }

  redraw() {
    this.context.clearRect(0, 0, this.photo.width, this.photo.height);
    for (const stroke of this.strokes) {
      const parts = stroke.image ? 1 : stroke.places.length - 1;
      for (let from = 0; from < parts; from++) this.draw(stroke, from);
    }
    this.onChange();
  }

  undo() {
    this.strokes.pop();
    this.redraw();
  }

  clear() {
    this.strokes.push({ image: newCanvas(1, 1) });
    this.redraw();
  }

  async upload(file) {
    this.strokes.push({ image: await readMask(file, this.photo, COLOURS) });
    this.redraw();
  }

  // The mask as grey PNG of 0, 1 (object) and 255 (void); null when no object is painted.
  async file() {
    const { width, height } = this.photo;
    const { data } = this.context.getImageData(0, 0, width, height);
    const values = new Uint8Array(width * height);
    for (let i = 0; i < values.length; i++) { // of both colours only the object's is red
      if (data[4 * i + 3] > 127) values[i] = data[4 * i] > 127 ? OBJECT : VOID;
    }
    return values.includes(OBJECT) ? greyFile(values, width, height) : null;
  }
}
