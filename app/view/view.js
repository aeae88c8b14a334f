// The page of mode=view: loads the volumes that the server has, and draws them with NiiVue.
"use strict";

const DIFFERENCE = [
  { name: "missed", color: "#ff3b30" },
  { name: "extra", color: "#2a5bff" },
  { name: "other label", color: "#ff4dff" },
];
const VIEWS = ["multiplanar", "axial", "coronal", "sagittal", "render"];
const STEPS = {
  ArrowLeft: [-1, 0, 0], ArrowRight: [1, 0, 0], ArrowUp: [0, 1, 0], ArrowDown: [0, -1, 0],
  PageUp: [0, 0, 1], PageDown: [0, 0, -1],
};
const TURNS = { ArrowLeft: [-10, 0], ArrowRight: [10, 0], ArrowUp: [0, 10], ArrowDown: [0, -10] };
const LARGE = 2 ** 25; // voxels above which the 3D view is slow, so that it is drawn on request only
const PAINTED_MS = 50; // time after which a browser shows a new message, even if the page is then busy
const element = (id) => document.getElementById(id);
const digits = (value, most = 3) => Number(value.toPrecision(most)).toString();

let facts, viewer;
const hidden = new Set();

function make(tag, text, parent) {
  const made = document.createElement(tag);
  made.textContent = text;
  parent.append(made);
  return made;
}

function swatch(color, parent) {
  const made = make("span", "", parent);
  made.className = "swatch";
  made.style.backgroundColor = color;
}

function layer(name) {
  return document.querySelector(`#layers input[value="${name}"]`);
}

/** A table of NiiVue: colours by value; values without an entry are clear. */
function table(entries) {
  const known = [{ value: 0, color: "#000000", alpha: 0, name: "" }, ...entries];
  const part = (from) => known.map((entry) => parseInt(entry.color.slice(from, from + 2), 16));
  return {
    R: part(1), G: part(3), B: part(5), A: known.map((entry) => entry.alpha),
    I: known.map((entry) => entry.value), labels: known.map((entry) => entry.name),
  };
}

/** The labels by value; of labels that overlap, the one of fewest values gives colour and name. */
function labelTable() {
  const byValue = new Map();
  const order = [...facts.labels].sort((a, b) => b.values.length - a.values.length);
  for (const label of order) {
    for (const value of label.values) {
      const alpha = hidden.has(label.name) ? 0 : 255;
      byValue.set(value, { value, color: label.color, alpha, name: label.name });
    }
  }
  return table([...byValue.values()].sort((a, b) => a.value - b.value));
}

function differenceTable() {
  return table(DIFFERENCE.map((entry, index) => ({ ...entry, value: index + 1, alpha: 255 })));
}

function isLarge() {
  return facts.size.reduce((product, size) => product * size) > LARGE;
}

function describe() {
  document.title = facts.title;
  element("title").textContent = facts.title;
  const spacing = facts.spacing_mm.map((mm) => digits(mm)).join(" x ");
  const slow = isLarge() ? "; without a graphics card, drawing takes minutes" : "";
  element("facts").textContent = `${facts.size.join(" x ")} voxels of ${spacing} mm${slow}`;
  for (const name of ["reference", "prediction", "difference"]) {
    layer(name).parentElement.hidden = !facts.maps.includes(name);
  }
  layer("prediction").nextSibling.textContent = facts.maps.length === 1 ? "Labels" : "Prediction";
  element("channels").hidden = facts.scans.length === 1;
  facts.scans.forEach((_, index) => make("option", String(index + 1), element("channel")));
  element("labelled").hidden = !facts.labels.length;
  element("wrong").hidden = facts.difference_ml === null;
  describeLabels();
  (facts.difference_ml || []).slice(1).forEach((ml, index) => {
    const item = make("li", "", element("difference"));
    swatch(DIFFERENCE[index].color, item);
    make("span", `${DIFFERENCE[index].name} ${digits(ml)} ml`, item);
  });
}

function describeLabels() {
  const both = facts.difference_ml !== null;
  const names = both ? ["Label", "Ref. ml", "Pred. ml", "Dice"] : ["Label", "ml"];
  for (const name of names) {
    make("th", name, element("columns")).scope = "col";
  }
  for (const label of facts.labels) {
    const row = make("tr", "", element("rows"));
    const head = make("th", "", row);
    head.scope = "row";
    const box = make("label", "", head);
    const input = make("input", "", box);
    input.type = "checkbox";
    input.checked = true;
    input.addEventListener("change", () => {
      hidden[input.checked ? "delete" : "add"](label.name);
      color(viewer.volumes);
      redraw();
    });
    swatch(label.color, box);
    make("span", label.name, box);
    for (const role of ["reference", "prediction"].filter((one) => one in label.ml)) {
      make("td", digits(label.ml[role]), row);
    }
    if (both) {
      make("td", label.dice === null ? "\u2013" : label.dice.toFixed(3), row);
    }
  }
}

function opacityOf(name) {
  const shown = layer(name).checked;
  const of = name === "scan" ? 1 : element("opacity").value / 100;
  return shown ? (name === "difference" ? Math.min(1, of + 0.3) : of) : 0;
}

/** Draw layers again: the scan (0), or its label maps, which share one picture. */
function redraw(scan = false) {
  const first = scan ? 0 : 1;
  const last = scan ? 0 : facts.maps.length;
  ["scan", ...facts.maps].forEach((name, index) => {
    viewer.volumes[index].opacity = opacityOf(name);
  });
  for (let index = first; index <= last; index++) {
    viewer.refreshLayers(viewer.volumes[index], index);
  }
  viewer.drawScene();
}

function color(volumes) {
  facts.maps.forEach((name, index) => {
    volumes[index + 1].setColormapLabel(name === "difference" ? differenceTable() : labelTable());
  });
}

function setWindow(low, high) {
  if (Number.isFinite(low) && high > low) {
    viewer.volumes[0].cal_min = low;
    viewer.volumes[0].cal_max = high;
    redraw(true);
    showWindow();
  }
}

function showWindow() {
  const { cal_min: low, cal_max: high } = viewer.volumes[0];
  element("level").value = digits((low + high) / 2, 4);
  element("width").value = digits(high - low, 4);
}

function typedWindow() {
  const [level, width] = ["level", "width"].map((id) => element(id).valueAsNumber);
  setWindow(level - width / 2, level + width / 2);
}

function presetWindow() {
  const [level, width] = element("preset").value.split(",").map(Number);
  const automatic = facts.scans[Number(element("channel").value) - 1].window;
  setWindow(...(element("preset").value ? [level - width / 2, level + width / 2] : automatic));
}

async function bytes(name) {
  const answer = await fetch(name);
  if (!answer.ok) {
    throw new Error(`${name}: status ${answer.status}; has the command ended?`);
  }
  return answer.arrayBuffer();
}

/** Show a message before work during which the page shows nothing new. */
async function announce(text) {
  element("status").textContent = text;
  await new Promise((done) => setTimeout(done, PAINTED_MS));
}

async function load() {
  const scan = facts.scans[Math.max(0, Number(element("channel").value) - 1)];
  const [low, high] = scan.window;
  const volumes = [];
  for (const name of [scan.file, ...facts.maps.map((role) => `${role}.nii`)]) {
    await announce(`Loading ${name}`);
    const options = name === scan.file ? { colormap: "gray", cal_min: low, cal_max: high } : {};
    volumes.push(await niivue.NVImage.loadFromUrl({ url: await bytes(name), name, ...options }));
  }
  await announce("Drawing");
  ["scan", ...facts.maps].forEach((name, index) => {
    volumes[index].opacity = opacityOf(name);
  });
  color(volumes);
  viewer.volumes = volumes;
  viewer.setVolume(volumes[0]); // draws all layers once; adding volumes one by one draws them each time
  showWindow();
  element("status").textContent = "";
}

function showPlace(place) {
  element("values").replaceChildren();
  const line = (name, text) => {
    const row = make("div", "", element("values"));
    make("dt", name, row);
    make("dd", text, row);
  };
  line("Millimetres", Array.from(place.mm).slice(0, 3).map((mm) => mm.toFixed(1)).join(", "));
  line("Voxel R, A, S", Array.from(place.vox).map(Math.round).join(", "));
  place.values.forEach((found, index) => {
    const name = ["scan", ...facts.maps][index];
    const entry = facts.labels.filter((label) => label.values.includes(Math.round(found.value)));
    const text = name === "scan" ? digits(found.value, 5)
      : name === "difference" ? (DIFFERENCE[found.value - 1] || { name: "none" }).name
        : entry.map((label) => label.name).join(", ") || "background";
    line(name[0].toUpperCase() + name.slice(1), text);
  });
}

function setView(name) {
  document.querySelector(`#views input[value="${name}"]`).checked = true;
  viewer.setSliceType(viewer[`sliceType${name[0].toUpperCase()}${name.slice(1)}`]);
}

function onKey(event) {
  const typing = event.target.matches('input:not([type="checkbox"]), select, summary');
  if (typing || event.ctrlKey || event.metaKey || event.altKey) {
    return;
  }
  if (!handled(event.key)) {
    return;
  }
  event.preventDefault();
  event.stopPropagation();
}

/** Do what a key stands for, and return whether it stands for something. */
function handled(key) {
  const named = { s: "scan", r: "reference", p: "prediction", d: "difference" }[key.toLowerCase()];
  const turning = viewer.opts.sliceType === viewer.sliceTypeRender;
  if (named) {
    layer(named).click();
  } else if (VIEWS[Number(key) - 1]) {
    setView(VIEWS[Number(key) - 1]);
  } else if (key === "+" || key === "-") {
    element("opacity")[key === "+" ? "stepUp" : "stepDown"]();
    redraw();
  } else if (turning && key in TURNS) {
    const { renderAzimuth, renderElevation } = viewer.scene;
    viewer.setRenderAzimuthElevation(renderAzimuth + TURNS[key][0], renderElevation + TURNS[key][1]);
  } else if (key in STEPS) {
    viewer.moveCrosshairInVox(...STEPS[key]);
  } else {
    return false;
  }
  return true;
}

function listen() {
  element("views").addEventListener("change", (event) => setView(event.target.value));
  element("layers").addEventListener("change", (event) => redraw(event.target.value === "scan"));
  element("preset").addEventListener("change", presetWindow);
  for (const id of ["level", "width"]) {
    element(id).addEventListener("change", typedWindow);
  }
  element("channel").addEventListener("change", () => fail(load()));
  document.addEventListener("keydown", onKey, true);
  viewer.onLocationChange = showPlace;
  viewer.onIntensityChange = showWindow;
}

async function begin() {
  facts = await (await fetch("case.json")).json();
  describe();
  viewer = new niivue.Niivue({
    dragAndDropEnabled: false, isRadiologicalConvention: true, viewModeHotKey: "", logLevel: "error",
    backColor: [0, 0, 0, 1], crosshairColor: [1, 1, 1, 0.55], crosshairWidth: 0.25, crosshairWidthUnit: "percent", fontColor: [0.85, 0.88, 0.92, 1],
    multiplanarShowRender: niivue.SHOW_RENDER[isLarge() ? "NEVER" : "ALWAYS"], tileMargin: 4, isOrientCube: true,
  });
  await viewer.attachToCanvas(element("canvas"));
  await load();
  listen();
  viewer.scene.crosshairPos = viewer.mm2frac(facts.start_mm);
  viewer.drawScene();
  viewer.createOnLocationChange(); // tells listeners where the crosshair is
  document.body.dataset.state = "ready";
}

/** Wait for a promise, and show its error on the page. */
function fail(promise) {
  promise.catch((error) => {
    element("status").textContent = `The volumes cannot be shown: ${error.message || error}`;
    document.body.dataset.state = "failed";
  });
}

fail(begin());
