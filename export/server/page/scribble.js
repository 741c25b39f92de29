// Strokes on a thing and beside it, from which the server grows its mask, or corrects the mask
// that was there before the first of them.

import { grow } from "./api.js";
import { greyFile, readLabels } from "./images.js";
import { Layer, NOTHING, VOID } from "./layer.js";

const ON = 1, BESIDE = 0; // in the file of strokes; VOID: nothing is known

// Adds a stroke to those of its class, whose mask becomes what they say together: one step.
export async function grownOver(photo, stroke) {
  const { layer } = photo, { value } = stroke;
  const before = layer.marks?.value === value
    ? layer.marks : { strokes: [], corrects: layer.holds(value) };
  const strokes = [...before.strokes, stroke], { corrects } = before;
  layer.begin();
  layer.marks = { value, strokes, corrects };
  try {
    if (corrects || strokes.some(({ on }) => on)) {
      const fileOf = (values) => greyFile(values, photo.width, photo.height);
      const known = await fileOf(rasterised(layer, strokes, value).values);
      const mask = corrects ? await fileOf(layer.values.map((one) => Number(one === value))) : null;
      replace(layer.values, await readLabels(await grow(photo, known, mask), photo), value);
    }
  } catch (error) {
    layer.cancel();
    throw error;
  }
  layer.end();
}

// What is known of each pixel; other classes are beside this one.
function rasterised(layer, strokes, value) {
  const others = layer.values.map((one) =>
    (one === value || one === NOTHING || one === VOID ? VOID : BESIDE));
  const known = new Layer(layer.width, layer.height, others);
  for (const { on, size, places } of strokes) {
    for (let n = 1; n < places.length; n++) {
      known.line(places[n - 1], places[n], size, on ? ON : BESIDE);
    }
  }
  return known;
}

function replace(values, grown, value) {
  for (let i = 0; i < values.length; i++) {
    if (grown[i]) values[i] = value;
    else if (values[i] === value) values[i] = NOTHING;
  }
}
