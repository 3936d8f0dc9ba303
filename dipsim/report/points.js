// The explorer's plot: a point for each run, in colours and panels, with lines along an axis and a Pareto front.

// Okabe and Ito's palette without black and yellow, which vanish on one of the two papers.
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
const SYMBOLS = ["circle", "square", "diamond", "cross", "triangle-up", "x", "star", "pentagon"];
const MOST_COLOURS = 12;
const MOST_PANELS = 12;
const LEGEND_LINE_PX = 28;
const MANY_POINTS = 2000; // from here on small and without lines

// What to draw of the runs: {traces, layout, note}. As SVG, however many: plotly's way to WebGL compiles text, which
// the page's security policy forbids.
function points(visible, chosen, look) {
  const fixed = fixing(visible, chosen);
  const rows = withFixed(visible, fixed);
  const [x, y, colour, panel] = [chosen.x, chosen.y, chosen.colour, chosen.panel].map((name) => columns.get(name));
  const drawn = rows.filter((row) => isDrawable(x, row, chosen.logX) && isDrawable(y, row, chosen.logY));
  const panels = panel ? distinct(drawn.map((row) => panel.values[row])).sort(compare).slice(0, MOST_PANELS) : [null];
  const layout = panelLayout(x, y, panel, panels, drawn, chosen, look);
  const ways = withDevices(waysOfColour(colour, look), colour, panel, drawn);
  const traces = [];
  panels.forEach((value, index) => {
    const own = panel ? drawn.filter((row) => panel.values[row] === value) : drawn;
    for (const way of ways) {
      const some = own.filter(way.has);
      if (some.length) traces.push(pointTrace(some, x, y, way, index, chosen.lines, drawn.length > MANY_POINTS));
    }
    if (chosen.pareto && x.better && y.better) traces.push(frontTrace(own, x, y, index, look));
    if (own.includes(chosen.run)) traces.push(ringTrace(chosen.run, x, y, index, look));
  });
  showInLegendOnce(traces);
  makeRoom(layout, traces.filter((trace) => trace.showlegend).length);
  return { traces, layout, fixed, note: noteOf(rows, drawn, panel, panels) };
}

function isDrawable(column, row, isLog) {
  const value = column.values[row];
  return column.kind === "number" ? Number.isFinite(value) && !(isLog && value <= 0) : value != null;
}

function noteOf(rows, drawn, panel, panels) {
  const missing = rows.length - drawn.length;
  const notes = [`${drawn.length} of ${succeeded.length} runs`];
  if (missing) notes.push(`${missing} without a number to draw here`);
  if (panel && panels.length === MOST_PANELS) notes.push(`at most ${MOST_PANELS} panels`);
  return notes.join(", ");
}

// A value where it is drawn: numbers in the column's unit, text as the name of a category.
function place(column, row) {
  const value = column.values[row];
  return column.kind === "number" ? value / column.scale : inert(value);
}

// How rows get their colour: one way for each value where there are few, else one way with a scale. Whichever runs are
// shown, a value keeps its own.
function waysOfColour(column, look) {
  if (!column) return [{ name: "", has: () => true, marker: { color: COLOURS[0] } }];
  const values = valuesOf(column);
  if (column.kind === "number" && values.length > MOST_COLOURS) {
    const line = { color: look.muted, width: 0.7 }; // so that both ends of the scale are seen on either paper
    const marker = (some) => ({ color: some.map((row) => place(column, row)), coloraxis: "coloraxis", line });
    return [{ name: "", has: () => true, markerOf: marker }];
  }
  return values.map((value, index) => ({
    name: shown(column, value),
    has: (row) => column.values[row] === value,
    marker: { color: COLOURS[index % COLOURS.length], symbol: SYMBOLS[index % SYMBOLS.length] },
  }));
}

// Of several devices, the legend says which, unless colours or panels do; side by side, each has a symbol.
function withDevices(ways, colour, panel, drawn) {
  const device = columns.get("profile");
  if (!device?.is_axis || device === colour || device === panel) return ways;
  const isOne = distinct(drawn.map((row) => device.values[row])).length === 1;
  return ways.flatMap((way) => valuesOf(device).map((value, index) => ({
    ...way,
    name: [way.name, shown(device, value)].filter(Boolean).join(" \u00b7 "),
    has: (row) => way.has(row) && device.values[row] === value,
    marker: isOne ? way.marker : { ...way.marker, symbol: SYMBOLS[index % SYMBOLS.length] },
  })));
}

function pointTrace(rows, x, y, way, index, inLine, isMany) {
  const joined = inLine && axisAlong(x) && !way.markerOf && !isMany;
  const some = joined ? inLines(rows, x) : rows;
  const at = (column) => some.map((row) => (row === null ? null : place(column, row)));
  return {
    type: "scatter",
    mode: joined ? "lines+markers" : "markers",
    name: inert(shortened(way.name)),
    showlegend: way.name !== "",
    legendgroup: inert(way.name),
    x: at(x),
    y: at(y),
    customdata: some,
    hoverinfo: "none", // see showHover
    line: { width: 1.2 },
    marker: { size: isMany ? 5 : 8, opacity: isMany ? 0.5 : 0.9, ...way.marker, ...way.markerOf?.(some) },
    ...onPanel(index),
  };
}

// Of an axis of the sweep, or of a number that is the axis in other words: its name.
function axisAlong(x) {
  return [x.name, x.follows].find((name) => columns.get(name)?.is_axis);
}

// Runs that agree in all other axes, one after another along x, with a gap between.
function inLines(rows, x) {
  const others = axes.filter((axis) => axis.name !== axisAlong(x) && axis.name !== x.name);
  const lines = new Map();
  for (const row of rows) {
    const key = JSON.stringify(others.map((axis) => axis.values[row]));
    if (!lines.has(key)) lines.set(key, []);
    lines.get(key).push(row);
  }
  return [...lines.values()].flatMap((line) => [...line.sort((a, b) => compare(x.values[a], x.values[b])), null]);
}

const MAIN = ["tok_per_s", "tpot_s.mean", "hit_rate", "retained_magnitude", "perplexity", "energy_j_per_token", "bound"];

// Made when a point is pointed at: ten thousand texts would take longer than everything else.
function hoverLines(row, x, y) {
  const named = distinct([...axes.map((axis) => axis.name).filter((name) => name !== "profile"), x, y, ...MAIN]);
  const known = named.map((name) => columns.get(name)).filter((column) => column && column.values[row] != null);
  return [called(row, axes.filter((axis) => axis.name === "profile")), ...known.map((column) => shortened(`${column.label} ${withUnit(column, column.values[row])}`))];
}

function showHover(box, event, chosen) {
  const row = event.points[0].customdata;
  if (row == null || chosen.plot !== "points") return;
  box.replaceChildren(...hoverLines(row, chosen.x, chosen.y).map((text) => element("div", { textContent: text })));
  box.hidden = false;
  const { clientX, clientY } = event.event;
  box.style.left = `${Math.max(0, Math.min(clientX + 14, innerWidth - box.offsetWidth - 8))}px`;
  box.style.top = `${Math.max(0, Math.min(clientY + 14, innerHeight - box.offsetHeight - 8))}px`;
}

// Runs that no other beats in both.
function paretoFront(rows, x, y) {
  const sign = (column) => (column.better === "higher" ? -1 : 1);
  const cost = (column, row) => sign(column) * column.values[row];
  const sorted = [...rows].sort((a, b) => cost(x, a) - cost(x, b) || cost(y, a) - cost(y, b));
  let best = Infinity;
  return sorted.filter((row) => cost(y, row) < best && ((best = cost(y, row)), true));
}

function frontTrace(rows, x, y, index, look) {
  const front = paretoFront(rows, x, y);
  return {
    type: "scatter", mode: "lines", name: "Pareto front", legendgroup: "Pareto front", showlegend: true,
    x: front.map((row) => place(x, row)), y: front.map((row) => place(y, row)), customdata: front,
    line: { color: look.ink, width: 1.5, dash: "dot" }, hoverinfo: "skip", ...onPanel(index),
  };
}

function ringTrace(row, x, y, index, look) {
  return {
    type: "scatter", mode: "markers", name: `run #${row + 1}`, showlegend: false, hoverinfo: "skip",
    x: [place(x, row)], y: [place(y, row)], customdata: [row],
    marker: { symbol: "circle-open", size: 17, color: look.ink, line: { width: 2 } }, ...onPanel(index),
  };
}

function onPanel(index) {
  const suffix = index ? String(index + 1) : "";
  return { xaxis: `x${suffix}`, yaxis: `y${suffix}` };
}

// For a legend of many lines.
function makeRoom(layout, nNames) {
  const lines = isNarrow() ? nNames : Math.ceil(nNames / 4);
  layout.height += LEGEND_LINE_PX * Math.max(0, lines - 2);
}

function showInLegendOnce(traces) {
  const seen = new Set();
  for (const trace of traces.filter((one) => one.showlegend)) {
    trace.showlegend = !seen.has(trace.legendgroup);
    seen.add(trace.legendgroup);
  }
}
