// Requests in TF Serving's format, and what went wrong in words.

let largest = Infinity; // bytes of a request

export async function models() {
  const answer = await asked("models");
  largest = answer.max_request_bytes;
  return answer.models;
}

export async function predict(model, signature, inputs) {
  const body = JSON.stringify({ signature_name: signature, inputs });
  if (body.length > largest) {
    throw new Error(`These photos make a request of ${megabytes(body.length)} MB; the server ` +
      `takes ${megabytes(largest)} MB. Use fewer example photos.`);
  }
  // Of this version: a state of the examples means nothing to another one.
  const url = `v1/models/${encodeURIComponent(model.name)}/versions/${model.version}:predict`;
  return (await asked(url, { method: "POST", body })).outputs;
}

function megabytes(bytes) {
  return (bytes / 2 ** 20).toFixed(1);
}

async function asked(url, options) {
  let response;
  try {
    response = await fetch(url, options);
  } catch {
    throw new Error("The server cannot be reached. Is it still running?");
  }
  let answer = {};
  try {
    answer = await response.json();
  } catch {
    // Not from our handlers; the status says enough.
  }
  if (!response.ok) throw new Error(explained(response.status, answer.error));
  return answer;
}

function explained(status, error) {
  const text = error || `The server answered ${status}.`;
  if (status === 404) return `${text} Press "Find it" again: another version serves by now.`;
  return status === 503 || status === 429 ? `${text} Wait a moment, then try again.` : text;
}

export async function base64(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  const parts = [];
  for (let start = 0; start < bytes.length; start += 0x8000) {
    parts.push(String.fromCharCode(...bytes.subarray(start, start + 0x8000)));
  }
  return { b64: btoa(parts.join("")) };
}

export function pngOf({ b64 }) {
  const bytes = Uint8Array.from(atob(b64), (character) => character.charCodeAt(0));
  return new Blob([bytes], { type: "image/png" });
}
