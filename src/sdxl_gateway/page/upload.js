// A form that brings a LoRA or a checkpoint to the server, and shows how much of it is there.

import { button, field, make } from "./dom.js";
import { Refused, address, credentials } from "./server.js";

const SUFFIX = /\.safetensors$/i;

/** For `what`, "LoRA" or "checkpoint", to `path`; `added` is called when one has come. */
export function uploadForm(page, { what, path, replaceable = false }, added) {
  const id = (part) => `upload-${what.toLowerCase()}-${part}`;
  const file = make("input", { type: "file", id: id("file"), accept: ".safetensors", required: true });
  const name = make("input", { type: "text", id: id("name"), spellcheck: false, autocomplete: "off" });
  const replace = make("input", { type: "checkbox", id: id("replace") });
  const replacing = make("label", { className: "lock", hidden: !replaceable }, replace, "in place of one of that name");
  const bar = make("progress", { ariaLabel: "Sent", max: 1, value: 0, hidden: true });
  const status = make("p", { role: "status" });
  const cancel = button("Cancel", () => running?.abort(), { disabled: true });
  const submit = make("button", { type: "submit", textContent: "Upload" });
  let running = null;
  file.addEventListener("change", () => (name.value = file.files[0]?.name.replace(SUFFIX, "") ?? ""));
  const form = make("form", { className: "upload", noValidate: true, ariaLabel: `Add a ${what}` },
    make("div", { className: "row" },
      field("file", `Add a ${what}: a .safetensors file`, file),
      field("name", "Its name", name)),
    make("div", { className: "buttons" },
      submit, cancel, replacing, status),
    bar,
    make("p", { className: "error", role: "alert", hidden: true }));

  const busy = (yes) => {
    submit.disabled = yes;
    cancel.disabled = bar.hidden = !yes;
  };
  const shown = (share) => {
    bar.value = share;
    status.textContent = share < 1 ? `${Math.floor(100 * share)} % sent` : "All of it is there; the server looks at it …";
  };
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    page.forgive(form);
    running = new XMLHttpRequest();
    busy(true);
    try {
      const said = { name: name.value.trim(), replace: replace.checked };
      const { id: called } = await sent(running, path, file.files[0], said, shown);
      status.textContent = `${called} is there.`;
      form.reset();
      await added();
    } catch (error) {
      status.textContent = "";
      page.refuse(error, form);
    } finally {
      busy(false);
    }
  });
  return form;
}

/** What has come, as the server has it. `shown` is told the share that was sent. Throws Refused. */
function sent(request, path, file, said, shown) {
  if (!file) throw new Refused(400, { message: "Choose a file.", param: "file" });
  request.open("POST", address(`${path}?${new URLSearchParams(said)}`));
  request.setRequestHeader("content-type", "application/octet-stream");
  for (const [header, value] of Object.entries(credentials())) request.setRequestHeader(header, value);
  request.responseType = "json";
  request.upload.addEventListener("progress", ({ loaded, total }) => shown(total ? loaded / total : 1));
  return new Promise((done, failed) => {
    const refused = (message) => () => failed(new Refused(0, { message }));
    request.addEventListener("load", () =>
      request.status < 300 ? done(request.response) : failed(new Refused(request.status, request.response?.error)));
    request.addEventListener("error", refused("The server cannot be reached."));
    request.addEventListener("abort", refused("Cancelled; nothing was added."));
    request.send(file);
  });
}
