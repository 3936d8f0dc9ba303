// The page as a whole: what is chosen, the controls that choose it, and what is drawn anew when it changes.

const at = (id) => document.getElementById(id);
const GROUPS = [["Swept", (c) => c.is_axis], ["Results", (c) => c.role === "result"], ["Device", (c) => c.role === "device"], ["Other", () => true]];
const TABLE_COLUMNS = ["tok_per_s", "tpot_s.mean", "tpot_s.p95", "ttft_s", "hit_rate", "byte_hit_rate", "mlp_density",
  "retained_magnitude", "perplexity", "energy_j_per_token", "bound", "key"];
const chosen = { plot: "points", x: "", y: "", colour: "", panel: "", logX: false, logY: false, lines: true, pareto: false, run: null };
let tableRows = [];

function varies(column) {
  return column.kind !== "list" && distinct(succeeded.map((row) => column.values[row])).length > 1;
}

const varying = new Set([...columns.values()].filter(varies).map((column) => column.name));
const numbers = [...columns.values()].filter((column) => column.kind === "number" && (varying.has(column.name) || column.role === "result"));
const others = [...columns.values()].filter((column) => column.kind === "text" && varying.has(column.name) && column.role !== "provenance");

function firstOf(names) {
  return names.find((name) => varying.has(name)) ?? names.find((name) => numbers.some((column) => column.name === name)) ?? "";
}

function few(name) {
  return varying.has(name) && distinct(succeeded.map((row) => columns.get(name).values[row])).length <= MOST_PANELS;
}

// Whether small values would lie on the axis among the large ones.
function isWide(name) {
  const values = succeeded.map((row) => columns.get(name)?.values[row]).filter((value) => value > 0);
  return values.reduce((a, b) => Math.max(a, b), 0) > 20 * values.reduce((a, b) => Math.min(a, b), Infinity);
}

// ---- ready views

function readyViews() {
  const named = (...names) => firstOf(names);
  const speed = named("tok_per_s");
  const colour = firstOf(["method", "policy", "profile"].filter((name) => varying.has(name))) || (axes[0]?.name ?? "");
  const accuracy = named("perplexity", "retained_magnitude");
  const panel = few("profile") && colour !== "profile" ? "profile" : "";
  const points = { plot: "points", colour, panel, logX: false, logY: false, lines: true, pareto: false };
  const views = [
    ["Throughput by DRAM", { ...points, x: named("dram.capacity_bytes"), y: speed, logY: isWide(speed) }],
    ["Throughput by density", { ...points, x: named("density", "mlp_density"), y: speed, logY: isWide(speed) }],
    ["Accuracy by throughput", { ...points, x: speed, y: accuracy, logX: isWide(speed), lines: false, pareto: true }],
  ].filter(([, view]) => view.x && view.y);
  if (columns.has(`${PATH}dram`)) views.push(["Time breakdown", { plot: "breakdown" }]);
  if (columns.has("token_s_percentiles")) views.push(["Latency percentiles", { plot: "percentiles" }]);
  return views;
}

function makeViews() {
  for (const [name, view] of readyViews()) {
    const button = element("button", { type: "button", textContent: name });
    button.addEventListener("click", () => show(view));
    button.view = view;
    at("views").append(button);
  }
}

function markView() {
  for (const button of at("views").children) {
    button.ariaPressed = String(Object.entries(button.view).every(([name, value]) => chosen[name] === value));
  }
}

// ---- controls

const CONTROLS = { x: "x", y: "y", colour: "colour", panel: "panel", "log-x": "logX", "log-y": "logY", lines: "lines", pareto: "pareto" };

function fillSelect(select, choices, none) {
  if (none) select.append(element("option", { value: "", textContent: none }));
  const left = new Set(choices);
  for (const [title, belongs] of GROUPS) {
    const own = [...left].filter(belongs);
    own.forEach((column) => left.delete(column));
    if (own.length) select.append(element("optgroup", { label: title }, ...own.map((column) =>
      element("option", { value: column.name, textContent: heading(column) }))));
  }
}

function makeControls() {
  fillSelect(at("x"), [...numbers, ...others]);
  fillSelect(at("y"), [...numbers, ...others]);
  fillSelect(at("colour"), [...others, ...numbers], "none");
  fillSelect(at("panel"), [...others, ...numbers].filter((column) => few(column.name)), "none");
  for (const [id, name] of Object.entries(CONTROLS)) {
    at(id).addEventListener("change", () => {
      const control = at(id);
      show({ plot: "points", [name]: control.type === "checkbox" ? control.checked : control.value });
    });
  }
  at("controls").addEventListener("submit", (event) => event.preventDefault());
}

function setControls() {
  for (const [id, name] of Object.entries(CONTROLS)) {
    if (at(id).type === "checkbox") at(id).checked = chosen[name];
    else at(id).value = chosen[name];
  }
  const [x, y] = [columns.get(chosen.x), columns.get(chosen.y)];
  at("pareto").disabled = !(x?.better && y?.better);
  at("lines").disabled = !(x && axisAlong(x));
}

// ---- drawing

// Buttons are named one by one: plotly's own choice has one that sends the plot's data to a server.
const SETTINGS = {
  responsive: true, displaylogo: false, plotlyServerURL: "",
  modeBarButtons: [["toImage"], ["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]],
};

function look() {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(["paper", "soft", "ink", "muted", "line"].map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

function drawPlot() {
  const rows = tableRows;
  const draw = { points: () => points(rows, chosen, look()), breakdown: () => breakdown(rows, look()),
    percentiles: () => percentiles(chosen.run ?? rows[0] ?? null, look()) }[chosen.plot];
  if (chosen.plot === "points" && !(chosen.x && chosen.y)) return;
  const { traces, layout, note } = draw();
  at("caption").textContent = chosen.run === null ? note : `${note}; run #${chosen.run + 1} is below`;
  Plotly.react(at("plot"), traces, layout, SETTINGS);
}

function show(changes) {
  Object.assign(chosen, changes);
  setControls();
  markView();
  drawPlot();
}

function chooseRun(row) {
  chosen.run = row;
  showRun(at("run"), row);
  runsTable.choose(row);
  drawPlot();
}

function chooseAndGo(row) {
  chooseRun(row);
  const title = at("run").querySelector("h2");
  title.scrollIntoView({ block: "start" });
  title.focus({ preventScroll: true });
}

function refresh() {
  runsTable.showRows(visibleRuns());
}

// ---- tables

function tableColumns(all) {
  const known = [...columns.values()].filter((column) => column.kind !== "list" && column.name !== "error" && (all || column.is_axis));
  const main = TABLE_COLUMNS.map((name) => columns.get(name)).filter((column) => column && succeeded.some((row) => column.values[row] != null));
  return all ? known : distinct([...known, ...main]);
}

const runsTable = makeTable(at("runs-table"), "Runs", tableColumns(false), chooseAndGo, (rows) => {
  tableRows = rows;
  drawPlot();
});

function makeColumnsSwitch() {
  const input = element("input", { type: "checkbox", id: "all-columns" });
  input.addEventListener("change", () => runsTable.showColumns(tableColumns(input.checked)));
  at("runs-table").before(element("p", { className: "pager" }, element("label", {}, input, " all columns")));
}

function makeFailures() {
  const box = document.getElementById("failures-table");
  if (!box) return;
  const names = ["error", "key"];
  const own = distinct([...axes, ...names.map((name) => columns.get(name)).filter(Boolean)]);
  makeTable(box, "Failures", own, chooseAndGo).showRows(failed);
}

// ---- light and dark, print

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  at("theme").ariaPressed = String(theme === "dark");
  drawPlot();
}

function makeTheme() {
  const system = matchMedia("(prefers-color-scheme: dark)");
  let isOwn = false;
  system.addEventListener("change", () => isOwn || setTheme(system.matches ? "dark" : "light"));
  at("theme").addEventListener("click", () => {
    isOwn = true;
    setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  });
  document.documentElement.dataset.theme = system.matches ? "dark" : "light";
  at("theme").ariaPressed = String(system.matches);
}

// On paper everything is light, and as wide as a page; afterwards as it was.
function makePrint() {
  let before;
  addEventListener("beforeprint", () => {
    before = document.documentElement.dataset.theme;
    setTheme("light");
    Plotly.relayout(at("plot"), { width: 680 });
    document.querySelectorAll("#origins details").forEach((details) => { details.open = true; });
  });
  addEventListener("afterprint", () => setTheme(before));
}

// ---- start

function start() {
  makeTheme();
  makePrint();
  makeViews();
  makeControls();
  makeColumnsSwitch();
  makeFilters(at("filters"), refresh);
  at("all-runs").addEventListener("click", () => { makeFilters(at("filters"), refresh); refresh(); });
  if (isNarrow()) at("filter-box").open = false;
  const first = readyViews().find(([, view]) => view.plot === "points")?.[1];
  Object.assign(chosen, first ?? { x: numbers[0]?.name ?? "", y: numbers[1]?.name ?? numbers[0]?.name ?? "" });
  setControls();
  markView();
  refresh();
  makeFailures();
  at("plot").on?.("plotly_click", (event) => event.points[0].customdata == null || chooseRun(event.points[0].customdata));
  at("plot").on?.("plotly_hover", (event) => showHover(at("hover"), event, chosen));
  at("plot").on?.("plotly_unhover", () => { at("hover").hidden = true; });
}

start();
