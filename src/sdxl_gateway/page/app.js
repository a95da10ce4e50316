// The page itself: what stands in its fields becomes a request. What only some visits need is loaded when they do.

import { Refused, call, json, key, loaded } from "./server.js";

const view = (id) => document.getElementById(id);
let blend = null;
let blending = null;
let more = null;
let opening = null;
let running = null;

// The views beside this one: a tab each, and a module that is loaded when its tab is opened.
const VIEWS = {
  edit: "./edit.js",
  shelf: "./shelf.js",
  history: "./history.js",
  operate: "./operate.js",
  api: "./api.js",
};

// ---- what the request will be

/** The name that stands for the base and the LoRAs on it; empty where the server is to choose. */
const modelName = () => [view("base").value, ...(blend?.parts() ?? [])].filter(Boolean).join("+");

function asked() {
  const body = { prompt: view("prompt").value };
  const set = (name, value) => value !== "" && (body[name] = value);
  set("model", modelName());
  set("size", view("size").value.trim());
  if (view("quality").value !== "auto") body.quality = view("quality").value;
  if (view("lock").checked && view("seed").value !== "") body.seed = Number(view("seed").value);
  return { ...body, ...more?.values() };
}

/** How many requests of one picture each it is: only those can be looked at while they are painted. */
const pictures = () => (view("n").value === "" ? 1 : Number(view("n").value));

async function changed() {
  view("model-name").textContent = modelName() ? JSON.stringify(modelName()) : "the server's default";
  if (view("code").open) (await import("./code.js")).show(view("code"), { ...asked(), n: pictures() });
}

// ---- refusals, at the field they are about

// What is said of these is about a field by another name.
const SHOWN_AT = { loras: "model", control_image: "controls", reference_image: "references" };

function field(form, param) {
  const [name] = param.split(/[.[]/);
  return form.querySelector(`[data-field="${CSS.escape(SHOWN_AT[name] ?? name)}"]:not([hidden])`);
}

/**
 * Shows why not: at the field it is about, else in the form's own alert; what a judge found in what was sent, at the
 * prompt. A key is asked for where one is wanted.
 */
function refuse(error, form = view("ask")) {
  if (!(error instanceof Refused)) throw error;
  if (error.status === 401) return askForKey(key.get() ? error.message : "");
  const param = error.param ?? (error.stage === "input" ? "prompt" : null);
  const about = param && field(form, param);
  const shown = (about || form).querySelector(about ? ".error" : ".error[role=alert]");
  const control = about?.querySelector("input, select, textarea");
  about?.closest("details")?.setAttribute("open", "");
  shown.textContent = error.message;
  shown.hidden = false;
  control?.setAttribute("aria-invalid", "true");
  control?.focus();
}

function forgive(form = view("ask")) {
  for (const shown of form.querySelectorAll(".error")) shown.hidden = true;
  for (const control of form.querySelectorAll("[aria-invalid]")) control.removeAttribute("aria-invalid");
}

// ---- the key

function askForKey(complaint) {
  view("key-error").textContent = complaint;
  view("key-error").hidden = !complaint;
  if (!view("ask-key").open) view("ask-key").showModal();
  view("key").select();
}

async function useKey(event) {
  event.preventDefault();
  key.keep(view("key").value.trim());
  if (await begin()) {
    view("key").value = "";
    view("ask-key").close();
    if (!(await open())) view("prompt").focus();
  }
}

function forgetKey() {
  key.forget();
  view("change-key").hidden = true;
  askForKey("");
}

// ---- models and LoRAs

/** Shows what may be asked for; false where the server wants another key first. */
async function begin() {
  try {
    await showModels(view("base"), view("lora"));
    changed();
    view("change-key").hidden = !key.get();
    return true;
  } catch (error) {
    refuse(error);
    return false;
  }
}

/** Fills a choice of models and one of LoRAs; what is chosen stays, where it still is there. */
async function showModels(base, lora) {
  const { data } = await json("v1/models");
  const chosen = base.value;
  base.length = lora.length = 1;
  for (const { id, kind, description } of data) {
    const option = new Option(kind === "checkpoint" || kind === "lora" ? id : `${id} (${kind})`, id);
    option.title = description;
    (kind === "lora" ? lora : base).add(option);
  }
  base.value = chosen;
  if (base.selectedIndex < 0) base.selectedIndex = 0;
}

async function addLora() {
  const name = view("lora").value;
  view("lora").value = "";
  if (!name) return;
  try {
    blending ??= import("./blend.js").then(({ Blend }) => new Blend(view("chips"), changed, view("prompt")));
    blend = await blending;
    await blend.choose(name);
  } catch (error) {
    refuse(error);
  }
}

async function showMore() {
  if (!view("more").open) return;
  try {
    opening ??= import("./more.js").then(({ More }) => new More(view("more").querySelector(".fields"), changed));
    more = await opening;
    await more.show(modelName() || view("base").options[1]?.value);
  } catch (error) {
    refuse(error);
  }
}

// ---- painting

async function paint(event) {
  event?.preventDefault();
  if (running) return;
  forgive();
  const abort = new AbortController();
  running = abort;
  busy(true);
  try {
    const { paintAll } = await loaded(import("./paint.js"));
    const room = { call, list: view("pictures"), signal: abort.signal, does: { keepSeed, edit } };
    const told = await paintAll(room, asked(), pictures());
    view("status").textContent = told.summary;
    // What is kept can then be looked at while the server is away.
    fetched("history").catch(() => {});
    if (told.refused) refuse(told.refused);
  } catch (error) {
    view("status").textContent = "";
    refuse(error);
  } finally {
    running = null;
    busy(false);
  }
}

function busy(yes) {
  view("paint").disabled = yes;
  view("cancel").disabled = !yes;
  view("empty").hidden = true;
  if (yes) view("status").textContent = "Painting …";
}

function keepSeed(seed) {
  view("seed").value = seed;
  view("lock").checked = true;
  changed();
}

// ---- the views

/**
 * What a view may ask of the page: `refuse(error, form)`, `forgive(form)`, `askForKey(complaint)`, `keepSeed(seed)`,
 * `showModels(base, lora)`, `edit(file)`, `take({ base, lora })`.
 */
const page = { refuse, forgive, askForKey, keepSeed, showModels, edit, take };

/** Opens the view for editing with this picture. */
async function edit(file) {
  (await import(VIEWS.edit)).bring(file);
  location.hash = "edit";
}

/** Brings a model, or a LoRA, to the view for painting; it may have come, or been described, after the page. */
async function take({ base, lora }) {
  location.hash = "paint";
  await begin();
  if (base) view("base").value = base;
  if (lora) view("lora").value = lora;
  (await import("./blend.js")).reread();
  await addLora();
  changed();
}

/** Opens the view that the address names, at what it names inside of it; false where that is the one for painting. */
async function open() {
  const [said, inside = ""] = location.hash.slice(1).split("/");
  const name = said in VIEWS ? said : "paint";
  for (const one of document.querySelectorAll("main > div")) one.hidden = one.id !== `view-${name}`;
  for (const tab of document.querySelectorAll("nav a")) {
    if (tab.hash === `#${name}`) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
  }
  if (name === "paint") return false;
  const place = placeOf(name);
  place.querySelector(":scope > .unreached")?.remove();
  // It was loaded before, or it cannot be while the server is away.
  const module = await fetched(name).catch(() => null);
  const unreached = { className: "error unreached", role: "alert", textContent: "The server cannot be reached." };
  if (module) await module.show(place, page, inside);
  else place.prepend(Object.assign(document.createElement("p"), unreached));
  return true;
}

/** A view's module, its look beside it. */
function fetched(name) {
  const href = `page/${name}.css`;
  if (!document.querySelector(`link[href="${href}"]`)) {
    document.head.append(Object.assign(document.createElement("link"), { rel: "stylesheet", href }));
  }
  return import(VIEWS[name]);
}

/** The view's own part of the page; made on first opening. */
function placeOf(name) {
  if (view(`view-${name}`)) return view(`view-${name}`);
  const place = Object.assign(document.createElement("div"), { id: `view-${name}` });
  document.querySelector("main").append(place);
  return place;
}

view("ask").addEventListener("submit", paint);
view("ask").addEventListener("input", changed);
view("cancel").addEventListener("click", () => running?.abort());
view("lora").addEventListener("change", addLora);
view("base").addEventListener("change", showMore);
view("more").addEventListener("toggle", showMore);
view("code").addEventListener("toggle", changed);
view("key-form").addEventListener("submit", useKey);
view("change-key").addEventListener("click", forgetKey);
view("seed").addEventListener("input", () => (view("lock").checked = view("seed").value !== ""));
view("ask").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) paint(event);
});
addEventListener("hashchange", open);
begin();
open();
