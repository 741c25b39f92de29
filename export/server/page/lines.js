// Strokes of a scribble and a polygon that is being drawn, over the photo, as SVG.

import { colourOf } from "./colours.js";

const SVG = "http://www.w3.org/2000/svg";

// `polygon`: its corners, or null. `scale`: px of the screen for one of the photo.
export function drawLines(svg, strokes, polygon, scale) {
  const drawn = strokes.map(({ on, size, value, places }) =>
    line(places, on ? `rgb(${colourOf(value).join(" ")})` : "#000", size));
  if (polygon) drawn.push(line([...polygon, polygon[0]], "#fff", 2 / scale));
  svg.replaceChildren(...drawn);
}

function line(places, colour, width) {
  const drawn = document.createElementNS(SVG, "polyline");
  drawn.setAttribute("points", places.map((place) => place.join(",")).join(" "));
  drawn.setAttribute("stroke", colour);
  drawn.setAttribute("stroke-width", width);
  return drawn;
}
