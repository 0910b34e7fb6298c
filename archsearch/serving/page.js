"use strict";
// The page of `archsearch serve`. It asks for documents beside it, and writes what they hold as text, never as HTML.

const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#222222", "#8c8c8c"];
const DASHES = ["", "7 3", "2 3", "9 3 2 3"];
const ROWS = 20, PAUSE = 2;
const find = (id) => document.getElementById(id);
const state = { run: "", over: "trials", sort: "score", down: true, from: 0, trial: null, compared: [], seen: {}, runs: [] };

// -- elements --------------------------------------------------------------------------------------

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made[name] = value;
    else if (value !== false && value !== null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function shape(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function fill(table, head, rows) {
  table.tHead.replaceChildren(element("tr", {}, ...head));
  table.tBodies[0].replaceChildren(...rows);
}

const heading = (text, kind = "") => element("th", { class: kind, scope: "col" }, text);
const cell = (text, kind = "") => element("td", { class: kind }, text);

function choice(place, options, chosen, choose) {
  const buttons = Object.entries(options).map(([value, text]) =>
    element("button", { "aria-pressed": String(value === chosen), onclick: () => choose(value) }, text));
  place.replaceChildren(...buttons);
}

async function ask(what, query = {}) {
  const parts = new URLSearchParams(query).toString();
  const answer = await fetch(parts ? `${what}?${parts}` : what);
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error || answer.statusText);
  return found;
}

// -- charts ----------------------------------------------------------------------------------------

function ticks(low, high, most) {
  const rough = (high - low) / most || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) {
    const value = i * step || 0; // not -0
    const large = Math.abs(value) >= 1e7;
    const text = large ? value.toExponential(2).replace(/\.?0*e\+?/, "e") : value.toLocaleString("en", {
      minimumFractionDigits: digits, maximumFractionDigits: digits });
    found.push([value, text]);
  }
  return found;
}

// series: [{ name, colour, dash, points: [[x, y]] }], scatter: [[x, y]]
function chart(place, { series, scatter, low, high, xlabel, ylabel }) {
  const width = Math.max(280, place.clientWidth || 640), height = Math.min(360, Math.max(230, 0.5 * width));
  const right = Math.max(...series.flatMap((each) => each.points.map(([x]) => x)), 0) * 1.02 || 1;
  const rows = ticks(low, high, height / 40);
  const left = 12 + 7 * Math.max(...rows.map(([, text]) => text.length)), bottom = 42, top = 26, end = 12;
  const across = (x) => left + (x / right) * (width - left - end);
  const up = (y) => top + (1 - (y - low) / (high - low)) * (height - top - bottom);
  const clip = `${place.id}-clip`;
  const drawn = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${ylabel} over ${xlabel}` });
  drawn.append(shape("clipPath", { id: clip }, shape("rect", {
    x: left, y: top - 2, width: width - left - end + 4, height: height - top - bottom + 4 })));
  for (const [value, text] of rows) {
    drawn.append(shape("line", { class: "grid", x1: left, x2: width - end, y1: up(value), y2: up(value) }));
    drawn.append(shape("text", { x: left - 6, y: up(value) + 4, "text-anchor": "end" }, text));
  }
  for (const [value, text] of ticks(0, right, width / 75)) {
    drawn.append(shape("line", { class: "axis", x1: across(value), x2: across(value), y1: height - bottom, y2: height - bottom + 4 }));
    drawn.append(shape("text", { x: across(value), y: height - bottom + 18, "text-anchor": "middle" }, text));
  }
  drawn.append(shape("line", { class: "axis", x1: left, x2: width - end, y1: height - bottom, y2: height - bottom }));
  drawn.append(shape("text", { x: (left + width - end) / 2, y: height - 6, "text-anchor": "middle" }, xlabel));
  drawn.append(shape("text", { x: 0, y: 12 }, ylabel));
  const inside = shape("g", { "clip-path": `url(#${clip})` });
  for (const [x, y] of scatter || []) {
    if (y >= low) inside.append(shape("circle", { cx: across(x), cy: up(y), r: 2.2, fill: COLOURS[0], "fill-opacity": 0.35 }));
  }
  for (const each of series) {
    const path = each.points.map(([x, y], i) => (i ? `H${across(x)}V${up(y)}` : `M${across(x)} ${up(y)}`)).join("");
    inside.append(shape("path", { class: "line", d: path, stroke: each.colour, "stroke-dasharray": each.dash || "none" }));
  }
  drawn.append(inside);
  place.replaceChildren(drawn);
}

function legend(place, keys) {
  place.replaceChildren(...keys.map(({ name, colour, dash, dot }) => element("span", { class: "key" },
    shape("svg", { viewBox: "0 0 32 12" }, dot
      ? shape("circle", { cx: 16, cy: 6, r: 3, fill: colour, "fill-opacity": 0.5 })
      : shape("path", { class: "line", d: "M0 6H32", stroke: colour, "stroke-dasharray": dash || "none" })), name)));
}

const OVER = { trials: "Over trials", cost: "Over billed cost" };

function placed(points, over, seconds) {
  return points.map(([trial, billed, score]) => [over === "trials" ? trial : billed / seconds, score]);
}

const xlabel = (over, unit) => (over === "trials" ? "completed trials" : `billed cost (${unit})`);

// -- the runs --------------------------------------------------------------------------------------

function showRuns(found) {
  state.runs = found.runs;
  find("where").textContent = `runs below ${found.folders.join(", ")}${found.left_out ? "; the first of too many" : ""}`;
  const many = found.runs.filter((run) => run.best !== undefined).length > 1;
  find("hint").textContent = found.runs.length
    ? (many ? "Choose a run to look at; tick two or more to compare them." : "")
    : "No run is here yet; the page shows one as soon as there is: archsearch run --out DIR.";
  const head = many ? [element("th", { scope: "col", title: "compare" }, "\u2713")] : [];
  head.push(...["run", "best score", "state", "trials", "failed", "billed", "controller", "evaluator", "space"].map(
    (text, i) => heading(text, [1, 3, 4, 5].includes(i) ? "" : "text")));
  fill(find("runs"), head, found.runs.map((run) => row(run, many)));
}

function row(run, many) {
  const box = element("input", { type: "checkbox", "aria-label": `compare ${run.name}`, onchange: () => tick(run.id, box.checked) });
  box.checked = state.compared.includes(run.id);
  box.disabled = run.best === undefined;
  const open = element("button", { class: "open", onclick: () => choose(run.id) }, run.name);
  const known = cell(run.state, `text state ${run.state.replaceAll(" ", "-")}`);
  const cells = [cell(open, "text"), cell(run.best ?? ""), known];
  if (run.error) cells.push(element("td", { class: "long bad", colspan: 6 }, run.error));
  else if (run.best !== undefined) {
    cells.push(...[run.trials, run.failed, run.cost].map((text) => cell(text)));
    cells.push(...[run.controller, run.evaluator, run.space].map((text) => cell(text, "text")));
  }
  if (many) cells.unshift(cell(box));
  return element("tr", { class: run.id === state.run ? "chosen" : "" }, ...cells);
}

function tick(id, chosen) {
  state.compared = state.compared.filter((each) => each !== id);
  if (chosen) state.compared.push(id);
  state.seen = { ...state.seen, comparison: "" };
  look();
}

function choose(id) {
  Object.assign(state, { run: id, from: 0, trial: null, sort: "score", down: true });
  state.seen = { ...state.seen, run: "" };
  history.replaceState(null, "", `#${id}`);
  look().then(() => find("run").scrollIntoView());
}

// -- one run ---------------------------------------------------------------------------------------

async function showRun() {
  const id = state.run;
  const run = await ask("run.json", { run: id });
  const trials = run.facts && await askTrials();
  if (id !== state.run) return; // another one was chosen meanwhile
  find("run").hidden = false;
  find("run-title").textContent = `${run.name}: ${run.state}`;
  find("run-error").textContent = run.error;
  find("run-parts").hidden = !run.facts;
  if (!run.facts) return;
  showCourse(run);
  showFaults(run.faults);
  find("facts").replaceChildren(...run.facts.flatMap(([name, text]) => [element("dt", {}, name), element("dd", {}, text)]));
  showDrawing(run);
  showTrials(run, trials);
}

function showCourse(run) {
  choice(find("run-over"), OVER, state.over, (over) => { state.over = over; state.seen.run = ""; state.seen.comparison = ""; look(); });
  const course = run.course;
  if (!course) {
    find("run-chart").replaceChildren("No trial has completed yet.");
    return legend(find("run-legend"), []);
  }
  const best = { name: "best so far", colour: COLOURS[1], points: placed(course.best, state.over, course.seconds) };
  chart(find("run-chart"), { series: [best], scatter: placed(course.scores, state.over, course.seconds), low: course.low,
    high: course.high, xlabel: xlabel(state.over, course.unit), ylabel: run.label });
  const count = (number) => number.toLocaleString("en");
  const below = course.below ? ` (${count(course.below)} of ${count(course.trials)} lie below this picture)` : "";
  legend(find("run-legend"), [best, { name: `each trial${below}`, colour: COLOURS[0], dot: true }]);
}

function showDrawing(run) {
  const trial = state.trial ?? run.best_trial;
  const shown = run.drawn && trial !== null;
  for (const id of ["drawing-title", "drawing-name", "drawing-link"]) find(id).hidden = !shown;
  if (!shown) return;
  const best = trial === run.best_trial;
  const address = `drawing.svg?${new URLSearchParams({ run: state.run, trial })}`;
  find("drawing-title").textContent = best ? `Best architecture (trial ${trial})` : `Architecture of trial ${trial}`;
  find("drawing-name").textContent = best ? run.best_name : state.trialName;
  if (find("drawing").getAttribute("src") !== address) {
    find("drawing").removeAttribute("src"); // else the one before stays until this one has come
    find("drawing").setAttribute("src", address);
  }
  find("drawing").alt = find("drawing-title").textContent;
  find("drawing-link").href = address;
}

const askTrials = () =>
  ask("trials.json", { run: state.run, sort: state.sort, down: Number(state.down), from: state.from, count: ROWS });

const turnTo = (run) => askTrials().then((found) => run.id === state.run && showTrials(run, found)).catch(fail);

function showTrials(run, found) {
  const last = Math.min(found.from + ROWS, found.total);
  find("place").textContent = found.total ? `${(found.from + 1).toLocaleString("en")} to ${last.toLocaleString("en")} of ${found.total.toLocaleString("en")}` : "none yet";
  find("previous").disabled = !found.from;
  find("next").disabled = last >= found.total;
  const turn = (by) => () => { state.from = Math.max(0, found.from + by); turnTo(run); };
  find("previous").onclick = turn(-ROWS);
  find("next").onclick = turn(ROWS);
  const head = found.columns.map((name) => {
    const sorted = name === found.sort;
    const button = element("button", { onclick: () => sortBy(run, name, sorted ? !found.down : !TEXTS.has(name)) },
      (name === "name" ? "architecture" : name.replaceAll("_", " ")) + (sorted ? (found.down ? " \u25BC" : " \u25B2") : ""));
    return element("th", { class: TEXTS.has(name) ? "text" : "", scope: "col",
      "aria-sort": sorted ? (found.down ? "descending" : "ascending") : "none" }, button);
  });
  const [id, name] = [found.columns.indexOf("id"), found.columns.indexOf("name")];
  fill(find("trials"), head, found.rows.map((row) => {
    const chosen = Number(row[id]) === (state.trial ?? run.best_trial);
    const draw = () => {
      Object.assign(state, { trial: Number(row[id]), trialName: row[name] });
      showDrawing(run);
      showTrials(run, found);
      if (run.drawn) find("drawing-title").scrollIntoView();
    };
    return element("tr", { class: `link${chosen ? " chosen" : ""}`, onclick: draw },
      ...row.map((text, i) => (i === id ? cell(element("button", { class: "open", title: "draw its architecture" }, text))
        : i === name ? element("td", { class: "name cut", title: text }, text) : cell(text, TEXTS.has(found.columns[i]) ? "text" : ""))));
  }));
}

const TEXTS = new Set(["id", "name", "status", "failure"]);

function sortBy(run, name, down) {
  Object.assign(state, { sort: name, down, from: 0 });
  turnTo(run);
}

function showFaults(faults) {
  find("faults-title").textContent = faults.count === "0" ? "Faults: none" : `Faults: ${faults.count}, the newest first`;
  find("damage").replaceChildren(...faults.damage.map((line) => element("li", {}, line)));
  fill(find("faults"), faults.rows.length ? faults.columns.map((name) => heading(name, "text")) : [],
    faults.rows.map((row) => element("tr", {}, ...row.map((text, i) => cell(text, faults.columns[i] === "error" ? "long" : "text")))));
}

// -- several runs ----------------------------------------------------------------------------------

async function showComparison() {
  const runs = (await Promise.all(state.compared.map((id) => ask("run.json", { run: id })))).filter((run) => run.course);
  find("comparison").hidden = runs.length < 2;
  if (runs.length < 2) return;
  choice(find("comparison-over"), OVER, state.over, (over) => { state.over = over; state.seen.run = ""; state.seen.comparison = ""; look(); });
  const kinds = new Set(runs.map((run) => `${run.evaluator} on ${run.space}, ${run.label}`));
  find("comparable").textContent = kinds.size > 1
    ? `Their scores are no measure of each other, since their evaluators or spaces differ: ${[...kinds].join("; ")}.` : "";
  const longest = runs.reduce((a, b) => (b.course.seconds > a.course.seconds ? b : a)).course;
  const series = runs.map((run, i) => ({ name: run.name, colour: COLOURS[i % COLOURS.length],
    dash: DASHES[Math.floor(i / COLOURS.length) % DASHES.length], points: placed(run.course.best, state.over, longest.seconds) }));
  const late = runs.map((run) => run.course);
  const high = Math.max(...late.map((each) => each.high)), low = Math.min(...late.map((each) => Math.max(each.low, each.best[0][2])));
  chart(find("comparison-chart"), { series, low: low - 0.05 * (high - low), high, xlabel: xlabel(state.over, longest.unit),
    ylabel: `best so far: ${kinds.size > 1 ? "scores" : runs[0].label}` });
  legend(find("comparison-legend"), series);
  const names = { run: "name", "best score": "best", trials: "trials", billed: "cost", failed: "failed", state: "state", seed: "seed",
    controller: "controller", evaluator: "evaluator", space: "space", "best architecture": "best_name" };
  const kind = (name) => (["run", "state", "controller", "evaluator", "space"].includes(name) ? "text" : name === "best architecture" ? "name" : "");
  fill(find("compared"), Object.keys(names).map((name) => heading(name, kind(name) === "name" ? "text" : kind(name))),
    runs.map((run) => element("tr", {}, ...Object.entries(names).map(([name, field]) =>
      (kind(name) === "name" ? element("td", { class: "name cut", title: run[field] }, run[field]) : cell(run[field], kind(name)))))));
}

// -- again and again -------------------------------------------------------------------------------

const fail = (error) => { find("news").textContent = `${error.message || error}`; find("news").className = "bad"; };

async function look() {
  const found = await ask("runs.json");
  showRuns(found);
  if (!found.runs.some((run) => run.id === state.run)) state.run = found.runs.length ? found.runs[0].id : "";
  const stamps = Object.fromEntries(found.runs.map((run) => [run.id, `${run.id} ${run.stamp} ${run.state}`]));
  state.compared = state.compared.filter((id) => id in stamps);
  const seen = { run: stamps[state.run], comparison: state.compared.map((id) => stamps[id]).join() };
  find("run").hidden = !state.run;
  if (state.run && seen.run !== state.seen.run) await showRun();
  if (seen.comparison !== state.seen.comparison) await showComparison();
  state.seen = seen;
  find("news").textContent = `updated ${new Date().toLocaleTimeString()}`;
  find("news").className = "";
  return found;
}

async function follow() {
  let pause = PAUSE;
  try {
    if (!document.hidden) {
      const found = await look();
      pause = found.runs.some((run) => run.state === "not read yet") ? 0.1 : Math.max(PAUSE, found.pause);
    }
  } catch (error) {
    fail(error instanceof TypeError ? "'archsearch serve' does not answer any more" : error);
  }
  setTimeout(follow, 1000 * pause);
}

state.run = location.hash.slice(1);
addEventListener("resize", () => { state.seen = {}; });
follow();
