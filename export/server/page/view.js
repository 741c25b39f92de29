// Which part of a photo is seen, and how large: zoom and pan by wheel, fingers and buttons.

const LARGEST = 16; // px of the screen for one of the photo

export class View {
  // `stage` has the photo's size in px, and lies in `viewport`.
  constructor(viewport, stage) {
    Object.assign(this, { viewport, stage, scale: 1, x: 0, y: 0, fingers: new Map() });
    viewport.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY / 400), [event.clientX, event.clientY]);
    }, { passive: false });
  }

  fit(width, height) {
    this.size = [width, height];
    this.stage.style.width = `${width}px`;
    this.stage.style.height = `${height}px`;
    const { clientWidth, clientHeight } = this.viewport;
    this.smallest = Math.min(clientWidth / width, clientHeight / height);
    this.scale = this.smallest;
    this.x = (clientWidth - this.scale * width) / 2;
    this.y = (clientHeight - this.scale * height) / 2;
    this.show();
  }

  // By a factor; what is at `place` on the screen stays there.
  zoom(factor, place) {
    const box = this.viewport.getBoundingClientRect();
    const [x, y] = place ?? [box.left + box.width / 2, box.top + box.height / 2];
    const scale = Math.min(LARGEST, Math.max(this.smallest / 2, this.scale * factor));
    const change = scale / this.scale;
    this.x = x - box.left - change * (x - box.left - this.x);
    this.y = y - box.top - change * (y - box.top - this.y);
    this.scale = scale;
    this.show();
  }

  pan(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.show();
  }

  show() {
    this.stage.style.transform = `translate(${this.x}px, ${this.y}px) scale(${this.scale})`;
  }

  // A place on the screen in px of the photo.
  at(event) {
    const box = this.stage.getBoundingClientRect();
    return [(event.clientX - box.left) / this.scale, (event.clientY - box.top) / this.scale];
  }

  // Follows the fingers on the photo; two of them move and zoom it. Returns whether they do.
  follow(event) {
    const before = [...this.fingers.values()];
    if (event.type === "pointerup" || event.type === "pointercancel") {
      this.fingers.delete(event.pointerId);
      return before.length > 1;
    }
    this.fingers.set(event.pointerId, [event.clientX, event.clientY]);
    const now = [...this.fingers.values()];
    if (now.length < 2) return false;
    if (before.length === 2) {
      const [was, is] = [middle(before), middle(now)];
      this.pan(is[0] - was[0], is[1] - was[1]);
      this.zoom(apart(now) / apart(before), is);
    }
    return true;
  }
}

function middle([a, b]) {
  return [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
}

function apart([a, b]) {
  return Math.hypot(a[0] - b[0], a[1] - b[1]) || 1;
}
