// Masks of the message format (assets/mask.schema.json, version 1): COCO's compressed run-length
// encoding, or deflated bits.

const MAX_SIDE = 4096; // a few bytes can ask for any amount

/** The bits of a mask, row by row: {width, height, bits: Uint8Array of 0 and 1}. */
export async function decodeMask(encoded) {
  const [height, width] = encoded.size;
  if (!(height > 0 && width > 0 && height <= MAX_SIDE && width <= MAX_SIDE)) {
    throw new Error(`expected a mask of at most ${MAX_SIDE} pixels a side, got ${encoded.size}`);
  }
  const bits = encoded.zbits === undefined
    ? decodeRle(encoded.counts, width, height)
    : await decodeZbits(encoded.zbits, width, height);
  return { width, height, bits };
}

/** COCO's RLE: runs of zeros and ones in turn, column by column. */
export function decodeRle(text, width, height) {
  const bits = new Uint8Array(width * height);
  const total = width * height;
  let position = 0;
  let value = 0;
  for (const run of runsOf(text)) {
    if (run < 0 || position + run > total) throw new Error("a run of the mask is too long");
    if (value) {
      for (let i = position; i < position + run; i++) {
        bits[(i % height) * width + Math.floor(i / height)] = 1;
      }
    }
    position += run;
    value = 1 - value;
  }
  if (position !== total) throw new Error("the runs do not fill the mask");
  return bits;
}

/** The numbers of a compressed RLE: groups of 5 bits, the lowest first, one character each. */
function runsOf(text) {
  const runs = [];
  let at = 0;
  while (at < text.length) {
    let run = 0;
    let shift = 0;
    let digit;
    do {
      digit = text.charCodeAt(at++) - 48;
      if (!(digit >= 0 && digit < 64) || shift > 30) throw new Error("the mask is malformed");
      run += (digit & 0x1f) * 2 ** shift;
      shift += 5;
    } while (digit & 0x20);
    if (digit & 0x10) run -= 2 ** shift; // the sign
    // From the fourth on, a number is the difference to the one two before.
    runs.push(runs.length > 2 ? run + runs[runs.length - 2] : run);
  }
  return runs;
}

/** Rows of bits, the first the highest of its byte, deflated, in base64. */
async function decodeZbits(text, width, height) {
  const packed = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const inflated = await inflate(packed, Math.ceil((width * height) / 8));
  const bits = new Uint8Array(width * height);
  for (let i = 0; i < bits.length; i++) {
    bits[i] = (inflated[i >> 3] >> (7 - (i & 7))) & 1;
  }
  return bits;
}

async function inflate(packed, length) {
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const reader = stream.getReader();
  const out = new Uint8Array(length);
  let filled = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    if (filled + value.length > length) {
      await reader.cancel();
      throw new Error("the mask is longer than its size");
    }
    out.set(value, filled);
    filled += value.length;
  }
  if (filled !== length) throw new Error("the mask is shorter than its size");
  return out;
}

/** The share of pixels that two equally large masks have in common; 1 for two empty ones. */
export function iou(a, b) {
  let both = 0;
  let either = 0;
  for (let i = 0; i < a.length; i++) {
    both += a[i] & b[i];
    either += a[i] | b[i];
  }
  return either ? both / either : 1;
}
