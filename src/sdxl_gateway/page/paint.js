// Takes a request, paints it as so many streams of one picture, each shown in its own place while it is painted.

import { make } from "./dom.js";
import { Refused } from "./server.js";
import { framesOf } from "./stream.js";

const LOOKS = 3;
const PATH = "v1/images/generations";

/** Gives a summary, and the first refusal. Image i is painted from seed + i, as the server does for `n`. */
export async function paintAll(call, list, body, n, signal, keepSeed) {
  if (!Number.isInteger(n) || n < 1 || n > 10) {
    const error = new Refused(400, { message: "1 to 10 pictures.", param: "n" });
    return { summary: "", refused: error };
  }
  const tiles = Array.from({ length: n }, (_, index) => new Tile(body.prompt, index, keepSeed));
  list.prepend(...tiles.map((tile) => tile.element));
  const ends = await Promise.all(tiles.map((tile, index) => painted(call, tile, seeded(body, index), signal)));
  const done = ends.filter((end) => end === null).length;
  return { summary: `${done} of ${n} painted.`, refused: ends.find((end) => end instanceof Refused) };
}

const seeded = (body, index) => (body.seed === undefined ? body : { ...body, seed: body.seed + index });

/** null where it came out, else why not. */
async function painted(call, tile, body, signal) {
  try {
    const answer = await call(PATH, { body: { ...body, stream: true, partial_images: LOOKS }, signal });
    for await (const { comment, data } of framesOf(answer.body)) {
      if (comment !== undefined) tile.note(comment);
      else if (data.error) throw new Refused(answer.status, data.error);
      else tile.show(data, data.type.endsWith(".completed"));
    }
    if (!tile.done) throw new Refused(0, { message: "The connection ended before the picture was done." });
    return null;
  } catch (error) {
    tile.end(error.name === "AbortError" ? "Cancelled." : error.message);
    return error;
  }
}

class Tile {
  done = false;
  #url = null;
  #about = make("p", { textContent: "Sent …" });
  #bar = make("progress", { ariaLabel: "Steps" });
  #actions = make("div", { className: "actions" });
  #picture = make("div", { className: "blank" });

  constructor(prompt, index, keepSeed) {
    this.prompt = prompt;
    this.keepSeed = keepSeed;
    const said = make("p", { className: "prompt", textContent: prompt });
    const told = make("div", { className: "about" }, this.#about, this.#bar, said, this.#actions);
    this.element = make("li", {}, this.#picture, told);
  }

  /** The server's comments tell the place in the line and the step. */
  note(comment) {
    const place = /^queue position (\d+)$/.exec(comment);
    const step = /^step (\d+) of (\d+)$/.exec(comment);
    if (place) this.#about.textContent = Number(place[1]) ? `${place[1]} before it in the line` : "An engine has it";
    if (!step) return;
    this.#about.textContent = `Step ${step[1]} of ${step[2]}`;
    Object.assign(this.#bar, { value: Number(step[1]), max: Number(step[2]) });
  }

  /** A look at it, or the picture itself. */
  show(data, completed) {
    const bytes = Uint8Array.from(atob(data.b64_json), (byte) => byte.charCodeAt(0));
    const before = this.#url;
    this.#url = URL.createObjectURL(new Blob([bytes], { type: `image/${data.output_format ?? "png"}` }));
    const image = make("img", { src: this.#url, alt: this.prompt || "Painted without a prompt" });
    image.addEventListener("load", () => before && URL.revokeObjectURL(before));
    this.#picture.replaceWith(image);
    this.#picture = image;
    if (completed) this.#complete(data);
  }

  #complete({ seed, size, output_format: format = "png", warnings = [] }) {
    this.done = true;
    this.#bar.remove();
    this.#about.textContent = [`${size}, seed ${seed}`, ...warnings].join(" · ");
    const keep = make("button", { type: "button", textContent: "Keep this seed" });
    keep.addEventListener("click", () => this.keepSeed(seed));
    const name = `picture-${seed}.${format}`;
    this.#actions.append(keep, make("a", { className: "button", href: this.#url, download: name, textContent: "Download" }));
  }

  end(why) {
    this.#bar.remove();
    this.#about.textContent = why;
    this.#about.className = "error";
  }
}
