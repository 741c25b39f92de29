// What is drawn on a photo: a number for each pixel, and the steps that can be undone.

export const NOTHING = 0, VOID = 255; // 1, 2, ... are classes
const MOST_STEPS = 60;

export class Layer {
  constructor(width, height, values = new Uint8Array(width * height)) {
    Object.assign(this, { width, height, values });
    this.marks = null; // strokes that a mask was grown from; they are undone with it
    this.done = [];
    this.undone = [];
  }

  // A step: whatever `action` draws.
  change(action) {
    this.begin();
    action();
    this.end();
  }

  begin() {
    this.before = { values: this.values.slice(), marks: this.marks };
  }

  end() {
    const { values, marks } = this.before;
    if (this.marks === marks) this.marks = null; // of a scribble that was painted over
    const [from, to] = difference(values, this.values);
    if (from === to) return;
    this.done = [...this.done.slice(1 - MOST_STEPS), {
      from, was: values.slice(from, to), is: this.values.slice(from, to),
      marksWere: marks, marksAre: this.marks,
    }];
    this.undone = [];
  }

  // Takes back a step that was begun.
  cancel() {
    this.values.set(this.before.values);
    this.marks = this.before.marks;
  }

  undo() {
    const step = this.done.pop();
    if (!step) return;
    this.values.set(step.was, step.from);
    this.marks = step.marksWere;
    this.undone.push(step);
  }

  redo() {
    const step = this.undone.pop();
    if (!step) return;
    this.values.set(step.is, step.from);
    this.marks = step.marksAre;
    this.done.push(step);
  }

  holds(value) {
    return this.values.includes(value);
  }

  get isEmpty() {
    return !this.values.some((value) => value !== NOTHING && value !== VOID);
  }

  // All pixels whose centres are no farther than size / 2 from the line.
  line([x0, y0], [x1, y1], size, value) {
    const { width, height } = this;
    const radius = Math.max(size / 2, 0.75), along = [x1 - x0, y1 - y0];
    const length = along[0] ** 2 + along[1] ** 2 || 1;
    const [left, right] = bounds(x0, x1, radius, width);
    const [top, bottom] = bounds(y0, y1, radius, height);
    for (let y = top; y < bottom; y++) {
      for (let x = left; x < right; x++) {
        const away = [x + 0.5 - x0, y + 0.5 - y0];
        const share = (away[0] * along[0] + away[1] * along[1]) / length;
        const t = Math.min(1, Math.max(0, share));
        const distance = (away[0] - t * along[0]) ** 2 + (away[1] - t * along[1]) ** 2;
        if (distance <= radius * radius) this.values[y * width + x] = value;
      }
    }
  }

  // All pixels whose centres are inside a polygon.
  fill(points, value) {
    for (let y = 0; y < this.height; y++) {
      const crossings = crossed(points, y + 0.5);
      for (let n = 0; n + 1 < crossings.length; n += 2) {
        const from = Math.max(0, Math.ceil(crossings[n] - 0.5));
        const to = Math.min(this.width, Math.ceil(crossings[n + 1] - 0.5));
        if (from < to) this.values.fill(value, y * this.width + from, y * this.width + to);
      }
    }
  }

  // The values at another size, each pixel as the nearest one.
  resized(width, height) {
    const values = new Uint8Array(width * height);
    for (let y = 0; y < height; y++) {
      const row = Math.floor(((y + 0.5) * this.height) / height) * this.width;
      for (let x = 0; x < width; x++) {
        values[y * width + x] = this.values[row + Math.floor(((x + 0.5) * this.width) / width)];
      }
    }
    return values;
  }
}

function bounds(a, b, radius, end) {
  return [Math.max(0, Math.floor(Math.min(a, b) - radius)),
    Math.min(end, Math.ceil(Math.max(a, b) + radius))];
}

function crossed(points, y) {
  const found = [];
  points.forEach(([x0, y0], n) => {
    const [x1, y1] = points[(n + 1) % points.length];
    if ((y0 <= y) !== (y1 <= y)) found.push(x0 + ((y - y0) / (y1 - y0)) * (x1 - x0));
  });
  return found.sort((a, b) => a - b);
}

// From the first to behind the last place where two arrays differ.
function difference(one, other) {
  let from = 0, to = one.length;
  while (from < to && one[from] === other[from]) from++;
  while (to > from && one[to - 1] === other[to - 1]) to--;
  return [from, to];
}
