// A mask as the list of what was done to it: drawn at any size, and undone by what was done last.

/** A line through points of the picture, `radius` to either side of it. */
export const stroke = (points, radius, erase) => (context) => {
  context.globalCompositeOperation = erase ? "destination-out" : "source-over";
  Object.assign(context, { lineWidth: 2 * radius, lineCap: "round", lineJoin: "round" });
  context.beginPath();
  context.moveTo(...points[0]);
  for (const point of points) context.lineTo(...point);
  context.stroke();
};

export const rectangle = (x, y, width, height, erase) => (context) => {
  context.globalCompositeOperation = erase ? "destination-out" : "source-over";
  context.fillRect(x, y, width, height);
};

/** What was painted is not, and the other way round. */
export const inverted = (context, { width, height }) => {
  context.globalCompositeOperation = "xor";
  context.fillRect(0, 0, width, height);
};

export const cleared = (context, { width, height }) => context.clearRect(0, 0, width, height);

/** Where a picture is transparent, which the server would take for its mask as well. */
export const holesOf = (picture) => (context, { width, height }) => {
  context.fillRect(0, 0, width, height);
  context.globalCompositeOperation = "destination-out";
  context.drawImage(picture, 0, 0, width, height);
};

export class Mask {
  #done = [];
  #undone = [];

  add(act) {
    this.#done.push(act);
    this.#undone = [];
  }

  undo() {
    if (this.canUndo) this.#undone.push(this.#done.pop());
  }

  redo() {
    if (this.canRedo) this.#done.push(this.#undone.pop());
  }

  get canUndo() {
    return this.#done.length > 0;
  }

  get canRedo() {
    return this.#undone.length > 0;
  }

  /** Nothing was done since it was cleared. */
  get isBlank() {
    return [undefined, cleared].includes(this.#done.at(-1));
  }

  /** Draws all of it, or one act on top of what is there, in the picture's own pixels; `paint` has to be opaque. */
  draw(context, size, paint = "#000", acts = this.#done) {
    for (const act of acts) {
      context.save();
      context.fillStyle = context.strokeStyle = paint;
      act(context, size);
      context.restore();
    }
  }

  /** As the API reads it: a PNG of the picture's size that is transparent where it is to be painted. */
  async file(size) {
    const painted = new OffscreenCanvas(size.width, size.height);
    this.draw(painted.getContext("2d"), size);
    const whole = new OffscreenCanvas(size.width, size.height);
    const context = whole.getContext("2d");
    context.fillRect(0, 0, size.width, size.height);
    context.globalCompositeOperation = "destination-out";
    context.drawImage(painted, 0, 0);
    return new File([await whole.convertToBlob({ type: "image/png" })], "mask.png", { type: "image/png" });
  }
}
