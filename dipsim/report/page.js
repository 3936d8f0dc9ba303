// The page as a whole: what is chosen, the controls that choose it, and what is drawn anew when it changes.

const at = (id) => document.getElementById(id);
const GROUPS = [["Swept", (c) => c.is_axis], ["Results", (c) => c.role === "result"], ["Device", (c) => c.role === "device"], ["Other", () => true]];
const TABLE_COLUMNS = ["tok_per_s", "tpot_s.mean", "tpot_s.p95", "ttft_s", "hit_rate", "byte_hit_rate", "mlp_density",
  "retained_magnitude", "perplexity", "energy_j_per_token", "bound", "key"];
const PLOTS = { points: "tok_per_s", breakdown: `${PATH}dram`, percentiles: "token_s_percentiles" }; // and what each needs
const chosen = { plot: "points", x: "", y: "", colour: "", panel: "", logX: false, logY: false, lines: true, pareto: false, fixed: new Map(), run: null };
let opening; // what is chosen when the page opens
let tableRows = [];

const varying = new Set([...columns.values()].filter((column) => column.n_values > 1).map((column) => column.name));
const numbers = [...columns.values()].filter((column) => column.kind === "number" && (varying.has(column.name) || column.role === "result"));
const others = [...columns.values()].filter((column) => column.kind === "text" && varying.has(column.name) && column.role !== "provenance");

function firstOf(names) {
  return names.find((name) => varying.has(name)) ?? names.find((name) => numbers.some((column) => column.name === name)) ?? "";
}

function few(name) {
  return varying.has(name) && columns.get(name).n_values <= MOST_PANELS;
}

// Whether small values would lie on the axis among the large ones.
function isWide(name) {
  const values = succeeded.map((row) => columns.get(name)?.values[row]).filter((value) => value > 0);
  return values.reduce((a, b) => Math.max(a, b), 0) > 20 * values.reduce((a, b) => Math.min(a, b), Infinity);
}

// ---- ready views

function readyViews() {
  const speed = firstOf(["tok_per_s"]);
  const accuracy = firstOf(["perplexity", "retained_magnitude"]);
  const byAxis = (name, x) => [`Throughput by ${name}`, { ...marks(x), x, y: speed, logX: false, logY: isWide(speed), lines: columns.get(x)?.kind === "number", pareto: false }];
  const views = [byAxis("DRAM", firstOf(["dram.capacity_bytes"])), byAxis("density", firstOf(["density", "mlp_density"]))];
  const other = ["dram", "density"].some(isAxis) ? null : axes.find((axis) => axis.kind === "number") ?? axes.find((axis) => axis.name !== "method");
  if (other) views.push(byAxis(other.label, other.name));
  views.push(["Accuracy by throughput", { ...marks(""), x: speed, y: accuracy, logX: isWide(speed), logY: false, lines: false, pareto: true }]);
  const drawable = views.filter(([, view]) => view.x && view.y);
  const telling = drawable.filter(([, view]) => varying.has(view.x));
  const ready = (telling.length ? telling : drawable).map(([name, view]) => [name, { plot: "points", ...view }]);
  if (columns.has(PLOTS.breakdown)) ready.push(["Time breakdown", { plot: "breakdown" }]);
  if (columns.has(PLOTS.percentiles)) ready.push(["Latency percentiles", { plot: "percentiles" }]);
  return ready;
}

// Colours and panels of a view along x: methods, then policies, in colours; devices in panels.
function marks(x) {
  const along = x && axisAlong(columns.get(x));
  const free = axes.map((axis) => axis.name).filter((name) => name !== along);
  const colour = ["method", "policy", "profile", ...free].find((name) => free.includes(name)) ?? "";
  return { colour, panel: POOLED.find((name) => name !== colour && free.includes(name) && few(name)) ?? "" };
}

function isAxis(name) {
  return columns.get(name)?.is_axis ?? false;
}

// The first view along an axis.
function firstView() {
  const views = readyViews().map(([, view]) => view).filter((view) => view.plot === "points");
  return views.find((view) => axisAlong(columns.get(view.x))) ?? views[0] ??
    { x: numbers[0]?.name ?? "", y: numbers[1]?.name ?? numbers[0]?.name ?? "" };
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
  const { traces, layout, note, fixed = [] } = draw();
  showFixed(at("fixed"), fixed, (name, value) => show({ fixed: new Map(chosen.fixed).set(name, value) }));
  at("caption").textContent = chosen.run === null ? note : `${note}; run #${chosen.run + 1} is below`;
  Plotly.react(at("plot"), traces, layout, SETTINGS);
  saveAddress();
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

// ---- address

let saving;

function saveAddress() {
  clearTimeout(saving);
  saving = setTimeout(() => {
    const text = toAddress({ ...chosen, table: { ...runsTable.order(), all: at("all-columns").checked } }, opening);
    if (text || location.hash.includes("=")) history.replaceState(null, "", text ? `#${text}` : location.href.split("#")[0]);
  }, PAUSE_MS);
}

// A part of the page is no choice: it is gone to, and the address stays.
function makeLinks() {
  for (const link of document.querySelectorAll('a[href^="#"]')) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      const part = document.querySelector(link.getAttribute("href"));
      part.tabIndex = -1;
      part.scrollIntoView();
      part.focus({ preventScroll: true });
    });
  }
}

function restore() {
  const offered = (name, value) => (name === "plot" ? columns.has(PLOTS[value]) : [...at(name).options].some((option) => option.value === value));
  const { table, ...others } = fromAddress(location.hash.slice(1), opening, offered);
  Object.assign(chosen, others);
  at("all-columns").checked = table.all;
  showFilters();
  setControls();
  markView();
  showRun(at("run"), chosen.run);
  runsTable.showAll(visibleRuns(), tableColumns(table.all), table, chosen.run);
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
  input.addEventListener("change", () => { runsTable.showColumns(tableColumns(input.checked)); saveAddress(); });
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
  makeLinks();
  at("all-runs").addEventListener("click", () => { filters.clear(); showFilters(); refresh(); });
  if (isNarrow()) at("filter-box").open = false;
  opening = { ...chosen, ...firstView() };
  restore();
  addEventListener("hashchange", () => (location.hash && !location.hash.includes("=")) || restore());
  makeFailures();
  at("plot").on?.("plotly_click", (event) => event.points[0].customdata == null || chooseRun(event.points[0].customdata));
  at("plot").on?.("plotly_hover", (event) => showHover(at("hover"), event, chosen));
  at("plot").on?.("plotly_relayout", (changes) => markAnew(at("plot"), changes));
  at("plot").on?.("plotly_unhover", () => { at("hover").hidden = true; });
}

start();
