const TOWERS = { siglip: "SigLIP", dino: "DINOv2" };
const HEAT = [[20, 11, 52], [101, 21, 110], [187, 55, 84], [249, 142, 9], [252, 255, 164]];

/* The colour of 0..255, more opaque the higher. */
function heat(value) {
  const at = (value / 255) * (HEAT.length - 1);
  const left = Math.min(Math.floor(at), HEAT.length - 2);
  const mixed = HEAT[left].map((from, i) => Math.round(from + (HEAT[left + 1][i] - from) * (at - left)));
  return `rgba(${mixed.join(",")},${0.3 + (0.4 * value) / 255})`;
}

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

const decode = (maps) => Object.assign(maps, { values: Uint8Array.from(atob(maps.bytes), (c) => c.charCodeAt(0)) });

/* Figures of one traced episode. */
class Viewer {
  constructor(root) {
    this.root = root;
    this.data = JSON.parse(root.querySelector("script").textContent);
    this.word = null;
    this.slider = root.querySelector("input[type=range]");
    this.slider.max = Math.max(0, this.data.query_steps.length - 1);
    this.slider.addEventListener("input", () => this.show());
    this.play = root.querySelector("[data-play]");
    this.play.addEventListener("click", () => this.toggle());
    if (this.data.images) this.prepareImages();
    this.show();
  }

  prepareImages() {
    const { cameras, panels } = this.data;
    this.pictures = this.data.images.map((query) => query.map((uri) => element("img", { src: uri })));
    for (const panel of panels)
      for (const name of ["similarity", "cues", "mean_cue", "attention", "mean"]) if (panel[name]) decode(panel[name]);
    const kinds = [{ kind: "image" }, ...panels];
    const box = this.root.querySelector(".panels");
    box.style.setProperty("--columns", kinds.length);
    this.cells = cameras.flatMap((camera, i) => kinds.map((panel) => this.makeCell(box, panel, camera, i)));
    if (panels.some((panel) => panel.kind === "words")) this.makeWords();
    const tokens = panels.find((panel) => panel.kind === "tokens");
    if (tokens) this.makeTokens(tokens);
  }

  makeCell(box, panel, camera, i) {
    const titles = { image: camera.replaceAll("_", " "), words: "words attend", kept: "kept patches", tokens: "aggregation tokens" };
    const heading = element("h4", {}, titles[panel.kind], element("span", { className: "faint" }, ` ${TOWERS[panel.tower] ?? ""}`));
    const cell = { panel, i, canvas: element("canvas", { width: 448, height: 448 }), note: element("p") };
    box.append(element("div", { className: "panel" }, heading, cell.canvas, cell.note));
    return cell;
  }

  makeWords() {
    const all = element("button", { type: "button" }, "chosen words");
    this.buttons = this.data.words.map((word) =>
      element("button", { type: "button", className: word.startsWith(" ") ? "" : "piece" }, word.trim() || "␣"));
    [all, ...this.buttons].forEach((button, index) =>
      button.addEventListener("click", () => { this.word = index ? index - 1 : null; this.show(); }));
    this.all = all;
    this.root.querySelector(".words").append(element("span", { className: "faint" }, "attention of"), all, ...this.buttons);
  }

  makeTokens(panel) {
    const choices = ["mean", ...Array(panel.attention.count).keys()];
    this.token = element("select", {}, ...choices.map((choice) => element("option", { value: choice }, `${choice}`)));
    this.token.addEventListener("change", () => this.show());
    this.root.querySelector(".words").append(element("label", {}, "aggregation token ", this.token));
  }

  toggle() {
    if (this.timer) {
      clearInterval(this.timer);
      this.timer = null;
    } else {
      if (this.slider.value === this.slider.max) this.slider.value = 0;
      this.timer = setInterval(() => this.advance(), 350);
    }
    this.play.textContent = this.timer ? "⏸" : "▶";
    this.play.ariaLabel = this.timer ? "Pause" : "Play";
    this.show();
  }

  advance() {
    if (this.slider.value === this.slider.max) return this.toggle();
    this.slider.value = Number(this.slider.value) + 1;
    this.show();
  }

  show() {
    const q = Number(this.slider.value);
    const step = this.data.query_steps[q] ?? 0;
    this.root.querySelector("output").textContent = `query ${q + 1} of ${this.data.query_steps.length}, step ${step}`;
    this.showActions(q, step);
    for (const cell of this.cells ?? []) this.showCell(cell, q);
    if (this.buttons) this.showWords(q);
  }

  showActions(q, step) {
    for (const plot of this.root.querySelectorAll(".plot")) {
      const cursor = plot.querySelector(".cursor");
      cursor.setAttribute("x1", step);
      cursor.setAttribute("x2", step);
      const chunk = this.data.chunks?.[q] ?? [];
      for (const line of plot.querySelectorAll(".predicted"))
        line.setAttribute("points", chunk.map((action, k) => `${step + k},${plot.dataset.scale - action[line.dataset.dim]}`).join(" "));
    }
  }

  showWords(q) {
    const cues = new Set(this.data.panels.flatMap((panel) => (panel.cue_words ?? [])[q] ?? []).flat());
    this.all.setAttribute("aria-pressed", this.word === null);
    this.buttons.forEach((button, index) => {
      button.setAttribute("aria-pressed", this.word === index);
      button.classList.toggle("cue", cues.has(index));
    });
  }

  async showCell(cell, q) {
    const picture = this.pictures[q][cell.i];
    if (!picture.complete) await picture.decode();
    if (q !== Number(this.slider.value)) return;
    const pen = cell.canvas.getContext("2d");
    pen.imageSmoothingQuality = "high";
    pen.drawImage(picture, 0, 0, cell.canvas.width, cell.canvas.height);
    const draw = { words: this.drawWords, kept: this.drawKept, tokens: this.drawTokens }[cell.panel.kind];
    cell.note.textContent = draw ? draw.call(this, pen, cell, q) : "as the model gets it";
  }

  drawWords(pen, { panel, i }, q) {
    if (this.word !== null) return "similarity, " + this.drawMap(pen, panel.similarity, q, i, this.word);
    if (!panel.cues) return "click a word";
    const names = panel.cue_words[q][i].map((word) => this.data.words[word]?.trim() ?? "␣").join(", ");
    return `${names}: ` + this.drawMap(pen, panel.mean_cue, q, i, 0);
  }

  drawTokens(pen, { panel, i }, q) {
    return this.token.value === "mean"
      ? this.drawMap(pen, panel.mean, q, i, 0)
      : this.drawMap(pen, panel.attention, q, i, Number(this.token.value));
  }

  drawMap(pen, maps, q, i, index) {
    const { grid, cameras } = this.data;
    const row = (q * cameras.length + i) * maps.count + index;
    const side = pen.canvas.width / grid;
    for (let patch = 0; patch < grid * grid; patch++) {
      pen.fillStyle = heat(maps.values[row * grid * grid + patch]);
      pen.fillRect((patch % grid) * side, Math.floor(patch / grid) * side, side, side);
    }
    return `${maps.low[row]} to ${maps.high[row]}`;
  }

  drawKept(pen, { panel, i }, q) {
    const { grid } = this.data;
    const kept = new Set(panel.kept[q][i]);
    const side = pen.canvas.width / grid;
    const width = Math.max(2, side / 24);
    for (let patch = 0; patch < grid * grid; patch++) {
      const [x, y] = [(patch % grid) * side, Math.floor(patch / grid) * side];
      pen.fillStyle = "rgba(10,12,16,0.68)";
      if (!kept.has(patch)) pen.fillRect(x, y, side, side);
      pen.strokeStyle = "#ffd24a";
      pen.lineWidth = width;
      if (kept.has(patch)) pen.strokeRect(x + width / 2, y + width / 2, side - width, side - width);
    }
    return `${kept.size} of ${grid * grid} patches go on`;
  }
}

/* One episode at a time; its figures are made when it is first shown. */
const viewers = [...document.querySelectorAll(".viewer")];
const chooser = document.querySelector("#episode");
function choose() {
  for (const root of viewers) {
    root.hidden = root.id !== (chooser?.value ?? root.id);
    if (!root.hidden) root.viewer ??= new Viewer(root);
  }
}
chooser?.addEventListener("change", choose);
choose();
