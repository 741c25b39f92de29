// Strokes on a thing and beside it, from which the server grows its mask.

import { grow } from "./api.js";
import { greyFile, readLabels } from "./images.js";
import { Layer, NOTHING, VOID } from "./layer.js";

const ON = 1, BESIDE = 0; // in the file of strokes; VOID: nothing is known

// Adds a stroke to those of its class, and to the layer what grows from all of them: one step.
export async function grownOver(photo, stroke) {
  const { layer } = photo, { value } = stroke;
  const before = layer.marks?.value === value ? layer.marks.strokes : [];
  const strokes = [...before, stroke];
  layer.begin();
  layer.marks = { value, strokes };
  try {
    const known = rasterised(layer, strokes, value);
    if (strokes.some(({ on }) => on)) {
      const file = await greyFile(known.values, photo.width, photo.height);
      add(layer.values, known.values, await readLabels(await grow(photo, file), photo), value);
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

function add(values, known, grown, value) {
  for (let i = 0; i < values.length; i++) {
    if (grown[i]) values[i] = value;
    else if (known[i] === BESIDE && values[i] === value) values[i] = NOTHING;
  }
}
