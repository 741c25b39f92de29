// Files -> one ZIP archive, stored without compression (PNG files are compressed already).

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

function checksum(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = CRC[(crc ^ byte) & 255] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

// Numbers of 2 or 4 bytes, the lowest byte first.
function packed(fields) {
  const bytes = [];
  for (const [value, size] of fields) {
    for (let n = 0; n < size; n++) bytes.push((value >>> (8 * n)) & 255);
  }
  return Uint8Array.from(bytes);
}

// `files`: [{ name, blob }], the names all different.
export async function zip(files) {
  const parts = [], directory = [];
  let offset = 0;
  for (const { name, blob } of files) {
    const bytes = new Uint8Array(await blob.arrayBuffer());
    const path = new TextEncoder().encode(name);
    // Version, names in UTF-8, stored, no time, 1 January 1980.
    const common = [[20, 2], [0x800, 2], [0, 2], [0, 2], [0x21, 2], [checksum(bytes), 4],
      [bytes.length, 4], [bytes.length, 4], [path.length, 2], [0, 2]];
    const local = packed([[0x04034b50, 4], ...common]);
    directory.push(packed([[0x02014b50, 4], [20, 2], ...common, [0, 2], [0, 2], [0, 2], [0, 4],
      [offset, 4]]), path);
    parts.push(local, path, bytes);
    offset += local.length + path.length + bytes.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const count = files.length;
  const end = packed([[0x06054b50, 4], [0, 2], [0, 2], [count, 2], [count, 2], [size, 4],
    [offset, 4], [0, 2]]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}
