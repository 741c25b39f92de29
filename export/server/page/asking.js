// What the server is asked: the examples encoded once, then each photo for each class.

import { base64, pngOf, predict } from "./api.js";
import { greyFile } from "./images.js";
import { VOID } from "./layer.js";
import { result } from "./results.js";

const OBJECT = 1; // in a mask file

export function isTaught(model) {
  return model.description.kind === "taught";
}

// What is asked about photos: classes that are known by examples.
export class Question {
  constructor(model, states) {
    Object.assign(this, { model, states });
  }

  // Finds the classes in a photo.
  async ask(photo) {
    const file = await base64(photo.blob);
    if (isTaught(this.model)) {
      const answer = await predict(this.model, "segment_encoded", { image_bytes: [file] });
      return result(photo, answer.probability_png_bytes[0].map(pngOf), answer.presence[0]);
    }
    const answers = [];
    for (const state of this.states) {
      answers.push(state && await predict(this.model, "segment_encoded_with_support", {
        query_image_bytes: [file], ...state,
      }));
    }
    const files = answers.map((answer) => answer && pngOf(answer.probability_png_bytes[0]));
    return result(photo, files, answers.map((answer) => answer?.presence[0] ?? -1));
  }
}

// Encodes the examples of each class, and looks at the photos that show none.
export async function newQuestion(model, count, photos, say) {
  if (isTaught(model)) return new Question(model, []);
  const examples = photos.filter(({ role }) => role === "example");
  const bare = examples.find(({ layer }) => layer.isEmpty);
  if (!examples.length) throw new Error("Choose at least one example photo first.");
  if (bare) throw new Error(`${bare.name}: paint over the thing, or upload its mask, first.`);
  const states = [];
  for (let value = 1; value <= count; value++) {
    say("Looking at the examples ...");
    states.push(await encoded(model, examples.filter(({ layer }) => layer.holds(value)), value));
  }
  const negatives = photos.filter(({ role }) => role === "negative");
  const rivals = states.map(() => []);
  for (const photo of negatives) {
    say(`Looking at ${photo.name}, which shows none ...`);
    const negative_image_bytes = [await base64(photo.blob)];
    for (const [n, state] of states.entries()) {
      if (!state) continue;
      const given = { negative_image_bytes, ...state };
      rivals[n].push(...(await predict(model, "with_negatives_encoded", given)).rival);
    }
  }
  states.forEach((state, n) => rivals[n].length && Object.assign(state, { rival: rivals[n] }));
  return new Question(model, states);
}

async function encoded(model, examples, value) {
  if (!examples.length) return null;
  const images = [], masks = [];
  for (const { blob, layer, width, height } of examples) {
    const mask = layer.values.map((one) => (one === value ? OBJECT : one === VOID ? VOID : 0));
    images.push(await base64(blob));
    masks.push(await base64(await greyFile(mask, width, height)));
  }
  return predict(model, "encode_support_encoded", {
    support_image_bytes: images, support_mask_bytes: masks,
  });
}
