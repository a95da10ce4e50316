// Takes a request, paints it as so many requests for one picture, each shown in its own place while it is painted.

import { button, make } from "./dom.js";
import { GENERATIONS } from "./schema.js";
import { Refused } from "./server.js";
import { framesOf } from "./stream.js";

const LOOKS = 3;
const asIs = (body) => body;
/** The pictures are below the form, as page.css has it. */
const NARROW = matchMedia("(max-width: 52rem)");

/**
 * Gives a summary, and the first refusal. Image i is painted from seed + i, as the server does for `n`.
 *
 * What is asked for is posted as `bodyOf` makes it; `streams` says whether the path can. `does` is what a tile's
 * buttons do: `keepSeed(seed)`, `edit(file)`; its `frame(image)`, if any, gives what a picture that is done stands in.
 * `keep` is given each picture, what was sent for it and what was told of it; where nobody says, it goes into the history.
 */
export async function paintAll(
  { call, list, path = GENERATIONS, streams = true, bodyOf = asIs, signal, does, keep = intoHistory }, asked, n,
) {
  if (!Number.isInteger(n) || n < 1 || n > 10) {
    const error = new Refused(400, { message: "1 to 10 pictures.", param: "n" });
    return { summary: "", refused: error };
  }
  const extras = streams ? { stream: true, partial_images: LOOKS } : { response_format: "b64_json" };
  const tiles = Array.from({ length: n }, () => new Tile(asked.prompt, does));
  list.prepend(...tiles.map((tile) => tile.element));
  if (NARROW.matches) tiles[0].element.scrollIntoView({ block: "nearest" });
  const one = (tile, index) => {
    const body = bodyOf({ ...seeded(asked, index), ...extras });
    return painted(() => call(path, { body, signal }), tile, (picture, told) => keep({ picture, body, told }));
  };
  const ends = await Promise.all(tiles.map(one));
  const done = ends.filter((end) => end === null).length;
  return { summary: `${done} of ${n} painted.`, refused: ends.find((end) => end instanceof Refused) };
}

const intoHistory = async (made) => (await import("./kept.js")).keep(made);
const seeded = (body, index) => (body.seed === undefined ? body : { ...body, seed: body.seed + index });

/** null where it came out, else why not. */
async function painted(send, tile, keep) {
  try {
    const answer = await send();
    if (answer.headers.get("content-type").startsWith("application/json")) whole(tile, answer, await answer.json());
    else await streamed(tile, answer);
    if (!tile.done) throw new Refused(0, { message: "The connection ended before the picture was done." });
    await keep(tile.blob, tile.told).catch(() => tile.add("This browser has no room to keep it in the history."));
    return null;
  } catch (error) {
    tile.end(error.name === "AbortError" ? "Cancelled." : error.message);
    return error;
  }
}

async function streamed(tile, answer) {
  for await (const { comment, data } of framesOf(answer.body)) {
    if (comment !== undefined) tile.note(comment);
    else if (data.error) throw new Refused(answer.status, data.error);
    else tile.show(data, data.type.endsWith(".completed"));
  }
}

function whole(tile, answer, { data, ...told }) {
  const warning = answer.headers.get("x-sdxl-gateway-warning");
  tile.show({ ...told, ...data[0], warnings: warning ? [warning] : [] }, true);
}

class Tile {
  done = false;
  blob = null;
  told = null;
  #url = null;
  #about = make("p", { textContent: "Sent …" });
  #bar = make("progress", { ariaLabel: "Steps" });
  #actions = make("div", { className: "actions" });
  #picture = make("div", { className: "blank" });

  constructor(prompt = "", does) {
    this.prompt = prompt;
    this.does = does;
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
    this.blob = new Blob([bytes], { type: `image/${data.output_format ?? "png"}` });
    this.#url = URL.createObjectURL(this.blob);
    const image = make("img", { src: this.#url, alt: this.prompt || "Painted without a prompt" });
    image.addEventListener("load", () => before && URL.revokeObjectURL(before));
    const shown = (completed && this.does.frame?.(image)) || image;
    this.#picture.replaceWith(shown);
    this.#picture = shown;
    if (completed) this.#complete(data);
  }

  #complete({ b64_json: _, ...told }) {
    const { seed, size, output_format: format = "png", warnings = [] } = told;
    this.done = true;
    this.told = told;
    this.#bar.remove();
    this.#about.textContent = [`${size}, seed ${seed}`, ...warnings].join(" · ");
    const name = `picture-${seed}.${format}`;
    this.#actions.append(
      button("Keep this seed", () => this.does.keepSeed(seed)),
      button("Edit this", () => this.does.edit(new File([this.blob], name, { type: this.blob.type }))),
      make("a", { className: "button", href: this.#url, download: name, textContent: "Download" }),
    );
  }

  /** One more word about it. */
  add(word) {
    this.#about.textContent += ` · ${word}`;
  }

  end(why) {
    this.#bar.remove();
    this.#about.textContent = why;
    this.#about.className = "error";
  }
}
