// A film, of which frames are picked: these are photos then. The browser decodes it.

import { fileOf, newCanvas } from "./images.js";
import { attempt, element } from "./state.js";

const STEP = 1 / 25; // s, between two frames of most films

export const isFilm = (file) => file.type.startsWith("video/");

// Opens a film; when its window is closed, the frames that were picked, as files.
export async function pickFrames(file) {
  const picker = new Picker(file);
  try {
    return await picker.closed();
  } finally {
    picker.end();
  }
}

class Picker {
  constructor(file) {
    this.file = file;
    this.dialog = element("film");
    this.video = this.dialog.querySelector("video");
    this.frames = new Map(); // by seconds
    this.url = URL.createObjectURL(file);
    this.dialog.querySelector(".name").textContent = file.name;
    const doing = {
      ".take": () => this.take(),
      ".take-all": () => this.takeAll(),
      ".back": () => this.step(-STEP),
      ".on": () => this.step(STEP),
      ".close": () => this.dialog.close(),
    };
    for (const [button, action] of Object.entries(doing)) {
      this.button(button).onclick = () =>
        attempt(action, this.dialog.querySelector(".card-problem"));
    }
  }

  button(name) {
    return this.dialog.querySelector(name);
  }

  closed() {
    return new Promise((resolve, reject) => {
      this.dialog.onclose = () => resolve([...this.frames.values()]);
      this.video.onloadeddata = () => this.say();
      this.video.onerror = () => reject(new Error(
        `${this.file.name}: this browser cannot play it. Save it as MP4 (H.264) or WebM, or ` +
        "search it with crnet predict."));
      this.video.src = this.url;
      this.dialog.showModal();
    });
  }

  end() {
    this.dialog.onclose = this.video.onerror = null;
    this.dialog.close();
    this.video.removeAttribute("src");
    this.video.load();
    URL.revokeObjectURL(this.url);
  }

  say() {
    const ready = this.video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA;
    for (const name of [".take", ".take-all", ".back", ".on"]) this.button(name).disabled = !ready;
    this.button(".taken").textContent = `${this.frames.size} frames taken`;
  }

  seek(seconds) {
    return new Promise((resolve) => {
      this.video.onseeked = resolve;
      this.video.currentTime = seconds;
    });
  }

  step(seconds) {
    this.video.pause();
    return this.seek(Math.max(0, this.video.currentTime + seconds));
  }

  async take() {
    const { videoWidth, videoHeight, currentTime } = this.video;
    const canvas = newCanvas(videoWidth, videoHeight);
    canvas.getContext("2d").drawImage(this.video, 0, 0);
    const blob = await fileOf(canvas, "image/jpeg", 0.95);
    const stem = this.file.name.replace(/\.[^.]*$/, "");
    const name = `${stem}_${currentTime.toFixed(2).padStart(8, "0")}s.jpg`;
    this.frames.set(name, new File([blob], name, { type: blob.type }));
    this.say();
  }

  // One in so many seconds, until the end or until the window is closed.
  async takeAll() {
    const every = Number(this.button(".every").value);
    const { duration } = this.video;
    if (!(every > 0)) throw new Error("Give a number of seconds above 0.");
    if (!Number.isFinite(duration)) {
      throw new Error("This film does not say how long it is. Take frames one by one.");
    }
    this.video.pause();
    for (let n = 0; n * every < duration && this.dialog.open; n++) {
      await this.seek(n * every);
      await this.take();
    }
  }
}
