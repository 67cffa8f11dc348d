// Prompting: drag a box, click a point, or both with the keys.

const CLICK_PX = 6; // less movement is a click
const STEP = 0.02; // of the view
const SMALLEST = 0.03;
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/**
 * Events: prompt {roi} or {point}, clear, pointer {at: [x, y] or null}, mode "box" or "point".
 */
export class Tools extends EventTarget {
  constructor(stage) {
    super();
    this.stage = stage;
    this.root = stage.root;
    this.mode = "box";
    this.start = null; // where a drag began: {id, x, y, px, py}
    this.cursors = { box: { roi: [0.3, 0.3, 0.4, 0.4] }, point: { point: [0.5, 0.5] } };
    this.root.addEventListener("pointerdown", (event) => this.down(event));
    this.root.addEventListener("pointermove", (event) => this.move(event));
    this.root.addEventListener("pointerup", (event) => this.up(event));
    this.root.addEventListener("pointercancel", () => this.cancel());
    this.root.addEventListener("pointerleave", () => this.tell("pointer", { at: null }));
    this.root.addEventListener("keydown", (event) => this.key(event));
    this.root.addEventListener("blur", () => this.setCursor(null));
    this.root.addEventListener("focus", () => {
      if (this.root.matches(":focus-visible")) this.setCursor(this.cursors[this.mode]);
    });
  }

  setMode(mode) {
    this.mode = mode;
    if (this.stage.cursor) this.setCursor(this.cursors[mode]);
    this.tell("mode", mode);
  }

  place(event) {
    const box = this.root.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }

  down(event) {
    if (this.start !== null || event.button !== 0) return;
    const [x, y] = this.place(event);
    this.start = { id: event.pointerId, x, y, px: event.clientX, py: event.clientY };
    this.root.setPointerCapture(event.pointerId);
    this.root.focus({ preventScroll: true, focusVisible: false });
    this.setCursor(null);
  }

  move(event) {
    const [x, y] = this.place(event);
    if (inside(x) && inside(y)) this.tell("pointer", { at: [x, y] });
    if (this.start === null || event.pointerId !== this.start.id) return;
    this.stage.draft = this.isDrag(event) ? { roi: this.box(x, y) } : null;
    this.stage.drawMarks();
  }

  up(event) {
    if (this.start === null || event.pointerId !== this.start.id) return;
    const [x, y] = this.place(event);
    const dragged = this.isDrag(event);
    const roi = this.box(x, y);
    this.cancel();
    if (!dragged) this.prompt({ point: [clamp(x, 0, 0.99999), clamp(y, 0, 0.99999)] });
    else if (roi[2] > 0.004 && roi[3] > 0.004) this.prompt({ roi });
  }

  cancel() {
    this.start = null;
    this.stage.draft = null;
    this.stage.drawMarks();
  }

  isDrag(event) {
    return Math.hypot(event.clientX - this.start.px, event.clientY - this.start.py) >= CLICK_PX;
  }

  /** The box from where the drag began, inside the view. */
  box(x, y) {
    const [x0, x1] = [clamp(this.start.x, 0, 1), clamp(x, 0, 1)].sort((a, b) => a - b);
    const [y0, y1] = [clamp(this.start.y, 0, 1), clamp(y, 0, 1)].sort((a, b) => a - b);
    return [x0, y0, x1 - x0, y1 - y0];
  }

  key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === "Escape") {
      if (this.start !== null) this.cancel();
      else this.tell("clear");
    } else if (event.key === "Enter") {
      this.setCursor(this.cursors[this.mode]);
      this.prompt(this.cursors[this.mode]);
    } else if (event.key === "b" || event.key === "p") {
      this.setMode(event.key === "b" ? "box" : "point");
      this.setCursor(this.cursors[this.mode]);
    } else if (event.key in KEYS) {
      this.step(KEYS[event.key], event.shiftKey);
    } else {
      return;
    }
    event.preventDefault();
  }

  /** Moves the cursor, or makes the box larger or smaller about its centre. */
  step([dx, dy], resize) {
    const cursor = this.cursors[this.mode];
    if (this.stage.cursor === null) {
      this.setCursor(cursor); // the first key shows where it is
      return;
    }
    if (cursor.point) {
      const [x, y] = cursor.point;
      cursor.point = [clamp(x + dx * STEP, 0, 0.999), clamp(y + dy * STEP, 0, 0.999)];
    } else if (resize) {
      const [x, y, width, height] = cursor.roi;
      const [w, h] = [clamp(width + dx * 2 * STEP, SMALLEST, 1), clamp(height - dy * 2 * STEP, SMALLEST, 1)];
      cursor.roi = [clamp(x + (width - w) / 2, 0, 1 - w), clamp(y + (height - h) / 2, 0, 1 - h), w, h];
    } else {
      const [x, y, width, height] = cursor.roi;
      cursor.roi = [clamp(x + dx * STEP, 0, 1 - width), clamp(y + dy * STEP, 0, 1 - height), width, height];
    }
    this.setCursor(cursor);
  }

  setCursor(cursor) {
    this.stage.cursor = cursor;
    this.stage.drawMarks();
  }

  prompt(place) {
    if (place.roi) this.cursors.box = { roi: [...place.roi] };
    else this.cursors.point = { point: [...place.point] };
    this.tell("prompt", place.roi ? { roi: place.roi } : { point: place.point });
  }

  tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}

function inside(value) {
  return value >= 0 && value < 1;
}
