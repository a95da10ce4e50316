// The checkpoints of the shelf: each with what it can do, and painted with.

import { button, make } from "./dom.js";
import { told } from "./row.js";
import { inPath, json } from "./server.js";

/** As Shelved takes it. */
export const CHECKPOINTS = {
  label: "Checkpoints",
  what: "checkpoint",
  path: "v1/checkpoints",
  gone: "all of its files and its side-car",
  words: ({ id, description }) => [id, description],
  facts,
  inside,
};

function facts({ native_pixels: pixels, configured, in_folder: own }) {
  const from = configured ? "from the settings" : own ? "from the folder" : "from the bucket";
  return [`made for ${Math.round(Math.sqrt(pixels))} pixels a side`, from];
}

async function inside({ card: { id, description, digest, recommended } }, page) {
  const { capabilities } = await json(`v1/models/${inPath(id)}`);
  const can = make("pre", { tabIndex: 0, ariaLabel: "Capabilities", textContent: JSON.stringify(capabilities, null, 2) });
  return {
    told: [
      make("p", { textContent: description }),
      told([...Object.entries(recommended), ["digest", digest]]),
      make("details", {}, make("summary", { textContent: "What it can do" }), can),
    ],
    use: button("Paint with it", () => page.take({ base: id })),
  };
}
