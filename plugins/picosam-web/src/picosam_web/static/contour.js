// From bits to outlines: marching squares between the centres of the bits, which is where a mask
// that is enlarged by interpolation has its edge, at any size of the screen.

// For each of the 16 cases of a cell's corners (1 top left, 2 top right, 4 bottom right, 8 bottom
// left): from which side to which a segment runs, with the object on its right.
// Sides: 0 top, 1 right, 2 bottom, 3 left.
const SEGMENTS = [
  [], [[0, 3]], [[1, 0]], [[1, 3]], [[2, 1]], [[0, 3], [2, 1]], [[2, 0]], [[2, 3]],
  [[3, 2]], [[0, 2]], [[1, 0], [3, 2]], [[1, 2]], [[3, 1]], [[0, 1]], [[3, 0]], [],
];

/**
 * Closed outlines of a mask; those of holes run the other way round.
 *
 * Returns arrays of x, y, x, y ... as shares of the part of the view that the mask covers.
 */
export function outlines({ width, height, bits }) {
  const columns = places(width);
  const rows = places(height);
  const nx = columns.length;
  const on = (column, row) => {
    if (column < 1 || row < 1 || column > width + 2 || row > height + 2) return 0;
    const x = Math.min(Math.max(column - 2, 0), width - 1);
    const y = Math.min(Math.max(row - 2, 0), height - 1);
    return bits[y * width + x];
  };
  const next = new Map(); // from the key of a cell's side to the key of the next
  for (let row = 0; row < rows.length - 1; row++) {
    for (let column = 0; column < nx - 1; column++) {
      const corners = on(column, row) | (on(column + 1, row) << 1) |
        (on(column + 1, row + 1) << 2) | (on(column, row + 1) << 3);
      for (const [from, to] of SEGMENTS[corners]) {
        next.set(side(column, row, from, nx), side(column, row, to, nx));
      }
    }
  }
  const lines = [];
  for (const start of next.keys()) {
    if (!next.has(start)) continue;
    const line = [];
    let key = start;
    while (next.has(key)) {
      push(line, key, nx, columns, rows);
      const following = next.get(key);
      next.delete(key);
      key = following;
    }
    lines.push(line);
  }
  return lines;
}

/** Where the bits' centres are, with the edge twice on each side: once as its bit, once as 0. */
function places(count) {
  const at = [0, 0];
  for (let i = 0; i < count; i++) at.push((i + 0.5) / count);
  at.push(1, 1);
  return at;
}

/** A key for a side of a cell that is the same for the cell on its other side. */
function side(column, row, which, nx) {
  if (which === 0) return 2 * (row * nx + column);
  if (which === 2) return 2 * ((row + 1) * nx + column);
  if (which === 3) return 2 * (row * nx + column) + 1;
  return 2 * (row * nx + column + 1) + 1;
}

/** Adds the middle of a side. */
function push(line, key, nx, columns, rows) {
  const cell = key >> 1;
  const column = cell % nx;
  const row = (cell - column) / nx;
  if (key & 1) line.push(columns[column], (rows[row] + rows[row + 1]) / 2);
  else line.push((columns[column] + columns[column + 1]) / 2, rows[row]);
}
