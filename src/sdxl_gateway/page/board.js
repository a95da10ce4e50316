// The picture to be edited, its mask and the room around it, on a canvas that is painted on and dragged at.

import { make } from "./dom.js";
import { Mask, holesOf, stroke } from "./mask.js";

export const SIDES = ["left", "top", "right", "bottom"];
const HIGHEST = 0.55; // of the window
const UNIT = 8; // pixels that a border is dragged by: the sides of what is painted are divisible by it
const VEIL = 0.6;
const STRIPES = ["#ff3d00", "#ffd9cc"]; // of one colour alone nothing is seen where the picture is of that colour
const STRIPE = 8; // pixels of the screen
const OPAQUE = 128; // alpha below this is a hole, as the server sees it
const NO_ROOM = { left: 0, top: 0, right: 0, bottom: 0 };

/** Stripes as wide as they are on the screen, whatever the scale that is drawn at. */
function hatched(context) {
  const side = 2 * STRIPE * devicePixelRatio;
  const tile = new OffscreenCanvas(side, side);
  const strokes = tile.getContext("2d");
  strokes.fillStyle = STRIPES[0];
  strokes.fillRect(0, 0, side, side);
  Object.assign(strokes, { strokeStyle: STRIPES[1], lineWidth: side * Math.SQRT1_2 / 2 });
  strokes.beginPath();
  for (const from of [-side, 0, side]) {
    strokes.moveTo(from - 1, side + 1);
    strokes.lineTo(from + side + 1, -1);
  }
  strokes.stroke();
  const pattern = context.createPattern(tile, "repeat");
  pattern.setTransform(context.getTransform().inverse());
  return pattern;
}

export class Board {
  file = null;
  mask = new Mask();
  padding = { ...NO_ROOM };
  // Whether it has a mask and room around it; else it is a picture that is only looked at.
  marks = true;
  brush = { size: 1, erase: false };
  #picture = null;
  #changed;
  #scale = 1; // pixels of the screen for one of the picture
  #base = null;
  #layer = null;
  #paint = null;
  #stroke = null;
  #pointer = null;
  #canvas = make("canvas", { role: "img", ariaLabel: "The picture and its mask" });
  #edges = SIDES.map((side) => this.#edge(side));

  /** `changed` is called after whatever a request would show. */
  constructor(changed) {
    this.#changed = changed;
    const frame = make("div", { className: "frame" }, this.#canvas, ...this.#edges);
    this.element = make("div", { className: "board" }, frame);
    this.#canvas.addEventListener("pointerdown", (event) => this.#begin(event));
    this.#canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"]) this.#canvas.addEventListener(end, () => this.#end());
    this.#canvas.addEventListener("pointerleave", () => this.#hover(null));
    new ResizeObserver(() => this.layOut()).observe(this.element);
  }

  get size() {
    return { width: this.#picture?.width ?? 0, height: this.#picture?.height ?? 0 };
  }

  /** Room beyond the picture's edges, in its pixels. */
  get room() {
    return this.marks ? this.padding : NO_ROOM;
  }

  get total() {
    const { left, top, right, bottom } = this.room;
    return { width: left + this.size.width + right, height: top + this.size.height + bottom };
  }

  /** Begins anew with this picture. Throws where the browser cannot read it. */
  async open(file) {
    const picture = await createImageBitmap(file);
    this.#picture?.close();
    Object.assign(this, { file, mask: new Mask(), padding: { ...NO_ROOM } });
    this.#picture = picture;
    this.brush.size = Math.ceil(Math.min(picture.width, picture.height) / 8);
    this.layOut();
    if (this.#hasHoles()) this.act(holesOf(picture));
    else this.#changed();
  }

  /** Does one thing more to the mask. */
  act(act) {
    this.mask.add(act);
    this.redraw();
  }

  /** Shows what there is of the mask now. */
  redraw() {
    if (!this.#picture) return;
    const context = this.#layer.getContext("2d");
    context.clearRect(0, 0, this.size.width, this.size.height);
    this.mask.draw(context, this.size, this.#paint);
    this.#show();
    this.#changed();
  }

  /** Makes all fit into the place there is. */
  layOut() {
    const room = this.element.clientWidth;
    if (!this.#picture || !room) return;
    for (const edge of this.#edges) edge.hidden = !this.marks;
    const { width, height } = this.total;
    const inset = 2 * parseFloat(getComputedStyle(this.#canvas).marginLeft);
    this.#scale = Math.min((room - inset) / width, (innerHeight * HIGHEST) / height);
    this.#canvas.width = Math.round(width * this.#scale * devicePixelRatio);
    this.#canvas.height = Math.round(height * this.#scale * devicePixelRatio);
    this.#canvas.style.width = `${width * this.#scale}px`;
    this.#canvas.style.height = `${height * this.#scale}px`;
    this.#base = this.#sheet();
    this.#base.getContext("2d").drawImage(this.#picture, 0, 0);
    this.#layer = this.#sheet();
    this.#paint = hatched(this.#layer.getContext("2d"));
    this.mask.draw(this.#layer.getContext("2d"), this.size, this.#paint);
    this.#show();
  }

  /** As large as the picture is on the screen, to be drawn on in the picture's own pixels. */
  #sheet() {
    const factor = this.#scale * devicePixelRatio;
    const { width, height } = this.size;
    const shown = (length) => Math.max(1, Math.round(length * factor));
    const sheet = new OffscreenCanvas(shown(width), shown(height));
    const context = sheet.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.scale(sheet.width / width, sheet.height / height);
    return sheet;
  }

  #hasHoles() {
    const { data } = this.#base.getContext("2d").getImageData(0, 0, this.#base.width, this.#base.height);
    return data.some((value, index) => index % 4 === 3 && value < OPAQUE);
  }

  #show() {
    const context = this.#canvas.getContext("2d");
    const { left, top } = this.room;
    const { width, height } = this.size;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    context.scale(this.#scale * devicePixelRatio, this.#scale * devicePixelRatio);
    context.translate(left, top);
    context.drawImage(this.#base, 0, 0, width, height);
    if (!this.marks) return;
    context.globalAlpha = VEIL;
    context.drawImage(this.#layer, 0, 0, width, height);
    context.globalAlpha = 1;
    if (this.#pointer) this.#ring(context);
  }

  #ring(context) {
    for (const [colour, dash] of [["#000", []], ["#fff", [4 / this.#scale]]]) {
      Object.assign(context, { strokeStyle: colour, lineWidth: 1.5 / this.#scale });
      context.setLineDash(dash);
      context.beginPath();
      context.arc(...this.#pointer, this.brush.size / 2, 0, 2 * Math.PI);
      context.stroke();
    }
  }

  // ---- painting

  #at(event) {
    return [event.offsetX / this.#scale - this.room.left, event.offsetY / this.#scale - this.room.top];
  }

  #begin(event) {
    if (!event.isPrimary || event.button !== 0 || !this.#picture || !this.marks) return;
    this.#canvas.setPointerCapture(event.pointerId);
    this.#stroke = { points: [this.#at(event)], radius: this.brush.size / 2, erase: this.brush.erase };
    this.#draw(this.#stroke.points);
    this.#hover(this.#at(event));
  }

  #move(event) {
    if (!event.isPrimary || !this.#picture) return;
    if (this.#stroke) {
      const before = this.#stroke.points.at(-1);
      const points = event.getCoalescedEvents().map((one) => this.#at(one));
      if (!points.length) points.push(this.#at(event));
      this.#stroke.points.push(...points);
      this.#draw([before, ...points]);
    }
    this.#hover(this.#at(event));
  }

  #end() {
    if (!this.#stroke) return;
    const { points, radius, erase } = this.#stroke;
    this.#stroke = null;
    this.act(stroke(points, radius, erase));
  }

  #draw(points) {
    const { radius, erase } = this.#stroke;
    this.mask.draw(this.#layer.getContext("2d"), this.size, this.#paint, [stroke(points, radius, erase)]);
  }

  #hover(point) {
    this.#pointer = point;
    if (this.#picture) this.#show();
  }

  // ---- room around the picture

  /** Sets the room at the sides that are named. */
  pad(padding) {
    Object.assign(this.padding, padding);
    this.layOut();
    this.#changed();
  }

  /** What is dragged at; the fields that say the same in numbers are for everybody else. */
  #edge(side) {
    const edge = make("div", { className: `edge ${side}`, title: "Drag to paint beyond this edge" });
    const across = side === "left" || side === "right" ? "clientX" : "clientY";
    const outwards = side === "left" || side === "top" ? -1 : 1;
    let from = null;
    edge.addEventListener("pointerdown", (event) => {
      if (!event.isPrimary || event.button !== 0) return;
      edge.setPointerCapture(event.pointerId);
      from = { place: event[across], room: this.padding[side], scale: this.#scale };
    });
    edge.addEventListener("pointermove", (event) => {
      if (!from) return;
      const dragged = (outwards * (event[across] - from.place)) / from.scale;
      this.pad({ [side]: Math.max(0, Math.round((from.room + dragged) / UNIT) * UNIT) });
    });
    for (const end of ["pointerup", "pointercancel"]) edge.addEventListener(end, () => (from = null));
    return edge;
  }

  /** The address of what it is now with its room, to be compared with what becomes of it. */
  async before() {
    const { width, height } = this.total;
    const scale = Math.min(1, 1024 / Math.max(width, height));
    const sheet = new OffscreenCanvas(Math.max(1, width * scale), Math.max(1, height * scale));
    const context = sheet.getContext("2d");
    context.scale(scale, scale);
    context.drawImage(this.#picture, this.room.left, this.room.top);
    return URL.createObjectURL(await sheet.convertToBlob({ type: "image/png" }));
  }
}
