// The view: three canvases over each other. The picture, the silhouette, and marks on top.

import { outlines } from "./contour.js";

const ROI_DASH = [6, 5];

export class Stage {
  constructor(root) {
    this.root = root;
    this.picture = root.querySelector("#picture");
    this.mask = root.querySelector("#mask");
    this.marks = root.querySelector("#marks");
    this.shown = null; // {lines, roi, gaze, ageMs} of the result that is shown
    this.hasPicture = false;
    this.draft = null; // the box or point that is being made
    this.cursor = null; // the one that the keys move
    this.asked = null; // the point that was asked for last
    this.ratio = 4 / 3;
    this.colors = {};
    this.readColors();
    this.setRatio(4, 3);
    new ResizeObserver(() => this.fit()).observe(root);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.readColors();
      this.draw();
    });
  }

  readColors() {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["accent", "on-picture", "text", "quiet"]) {
      this.colors[name] = style.getPropertyValue(`--${name}`).trim();
    }
  }

  /** Gives the view its shape. */
  setRatio(width, height) {
    this.ratio = width / height;
    this.root.style.setProperty("--ratio", String(this.ratio));
    this.fit();
  }

  /** Makes the canvases as fine as the screen. */
  fit() {
    const { width, height } = this.root.getBoundingClientRect();
    const scale = Math.min(devicePixelRatio || 1, 3);
    const columns = Math.max(1, Math.round(width * scale));
    const rows = Math.max(1, Math.round(height * scale));
    if (this.marks.width === columns && this.marks.height === rows) return;
    for (const canvas of [this.mask, this.marks]) {
      canvas.width = columns;
      canvas.height = rows;
    }
    this.scale = scale;
    this.draw();
  }

  /** Shows a result: `mask` is decoded or null, `bitmap` the picture or null. */
  show(message, mask, bitmap) {
    const size = bitmap ? [bitmap.width, bitmap.height] : message.size_px;
    if (size && Math.abs(size[0] / size[1] - this.ratio) > 0.002) this.setRatio(size[0], size[1]);
    this.showPicture(bitmap);
    this.shown = {
      lines: mask ? outlines(mask) : [],
      roi: message.roi,
      gaze: message.gaze ?? null,
      ageMs: message.ages_ms.roi ?? null,
    };
    this.draw();
  }

  showPicture(bitmap) {
    this.hasPicture = bitmap !== null;
    this.root.classList.toggle("with-picture", this.hasPicture);
    const context = this.picture.getContext("2d");
    if (bitmap === null) {
      context.clearRect(0, 0, this.picture.width, this.picture.height);
      return;
    }
    if (this.picture.width !== bitmap.width || this.picture.height !== bitmap.height) {
      this.picture.width = bitmap.width;
      this.picture.height = bitmap.height;
    }
    context.drawImage(bitmap, 0, 0);
    bitmap.close();
  }

  /** Takes everything away that belongs to a result: what is old must not look live. */
  clear() {
    this.shown = null;
    this.showPicture(null);
    this.draw();
  }

  draw() {
    this.drawMask();
    this.drawMarks();
  }

  drawMask() {
    const context = this.mask.getContext("2d");
    context.clearRect(0, 0, this.mask.width, this.mask.height);
    if (!this.shown || !this.shown.roi) return;
    context.globalAlpha = this.hasPicture ? 0.4 : 0.9;
    context.fillStyle = this.objectColor;
    context.fill(this.path(this.mask), "evenodd");
    context.globalAlpha = 1;
  }

  path(canvas) {
    const [x, y, width, height] = this.shown.roi;
    const path = new Path2D();
    for (const line of this.shown.lines) {
      for (let i = 0; i < line.length; i += 2) {
        const px = (x + line[i] * width) * canvas.width;
        const py = (y + line[i + 1] * height) * canvas.height;
        if (i === 0) path.moveTo(px, py);
        else path.lineTo(px, py);
      }
      path.closePath();
    }
    return path;
  }

  drawMarks() {
    const context = this.marks.getContext("2d");
    context.clearRect(0, 0, this.marks.width, this.marks.height);
    context.lineJoin = "round";
    if (this.shown && this.shown.roi) {
      if (this.hasPicture) this.stroke(context, this.path(this.marks), 2, this.objectColor);
      this.drawRoi(context);
    }
    if (this.asked) this.drawPoint(context, this.asked);
    if (this.shown && this.shown.gaze) this.drawGaze(context, this.shown.gaze);
    if (this.draft) this.drawPlace(context, this.draft, true);
    else if (this.cursor) this.drawPlace(context, this.cursor, false);
  }

  /** Strokes a path; on a picture with a dark border, so that it is visible on anything. */
  stroke(context, path, width, color, dash = []) {
    context.setLineDash(dash.map((length) => length * this.scale));
    if (this.hasPicture) {
      context.strokeStyle = "rgba(0, 0, 0, 0.45)";
      context.lineWidth = (width + 2) * this.scale;
      context.stroke(path);
    }
    context.strokeStyle = color;
    context.lineWidth = width * this.scale;
    context.stroke(path);
    context.setLineDash([]);
  }

  /** The ROI in force, and its age beside its corner. */
  drawRoi(context) {
    const { roi, ageMs } = this.shown;
    const [x, y, width, height] = this.pixels(roi);
    const path = new Path2D();
    path.rect(x, y, width, height);
    this.stroke(context, path, 1.5, this.hasPicture ? "#fff" : this.colors.quiet, ROI_DASH);
    const text = ageMs === null ? "ROI" : `ROI ${age(ageMs)}`;
    const size = 12 * this.scale;
    context.font = `600 ${size}px ui-sans-serif, system-ui, sans-serif`;
    const wide = context.measureText(text).width + size;
    const left = Math.min(Math.max(x, 0), this.marks.width - wide);
    const top = y >= size * 1.8 ? y - size * 1.8 : Math.max(y, 0);
    context.fillStyle = "rgba(0, 0, 0, 0.62)";
    context.beginPath();
    context.roundRect(left, top, wide, size * 1.6, size * 0.3);
    context.fill();
    context.fillStyle = "#fff";
    context.textBaseline = "middle";
    context.fillText(text, left + size / 2, top + size * 0.85);
  }

  drawGaze(context, [x, y]) {
    const path = new Path2D();
    path.arc(x * this.marks.width, y * this.marks.height, 11 * this.scale, 0, 2 * Math.PI);
    this.stroke(context, path, 3, this.hasPicture ? "#fff" : this.colors.text);
  }

  drawPlace(context, place, solid) {
    if (place.point) {
      this.drawPoint(context, place.point);
      return;
    }
    const [x, y, width, height] = this.pixels(place.roi);
    const path = new Path2D();
    path.rect(x, y, width, height);
    if (solid) {
      context.globalAlpha = 0.14;
      context.fillStyle = this.objectColor;
      context.fill(path);
      context.globalAlpha = 1;
    }
    this.stroke(context, path, 2, this.toolColor, solid ? [] : [3, 3]);
  }

  /** A cross with a gap, so that what it points at stays visible. */
  drawPoint(context, [x, y]) {
    const [px, py] = [x * this.marks.width, y * this.marks.height];
    const [near, far] = [4 * this.scale, 13 * this.scale];
    const path = new Path2D();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      path.moveTo(px + dx * near, py + dy * near);
      path.lineTo(px + dx * far, py + dy * far);
    }
    this.stroke(context, path, 2, this.toolColor);
  }

  /** The accent; on a picture a light one, whatever the theme. */
  get objectColor() {
    return this.hasPicture ? this.colors["on-picture"] : this.colors.accent;
  }

  /** What is being prompted must stand out from silhouettes. */
  get toolColor() {
    return this.hasPicture ? this.colors["on-picture"] : this.colors.text;
  }

  pixels([x, y, width, height]) {
    const [columns, rows] = [this.marks.width, this.marks.height];
    return [x * columns, y * rows, width * columns, height * rows];
  }
}

/** A time for people. */
export function age(ms) {
  if (ms < 950) return `${Math.round(ms)} ms`;
  if (ms < 99_500) return `${(ms / 1000).toFixed(1)} s`;
  return `${Math.round(ms / 60_000)} min`;
}
