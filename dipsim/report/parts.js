// Layouts and the other two plots: panels, stacked bars of where a token's time goes, a run's percentiles.

const PATH = "critical_path_s_per_token.";
const MOST_BARS = 40;
const NARROW_CHARACTERS = 26;
const PANEL_CHARACTERS = { wide: 110, narrow: 45 }; // over all panels of a row
const PARTS = ["flash_latency", "flash_bandwidth", "waiting", "dram", "compute", "selection"];
const PART_COLOURS = ["#0072b2", "#56b4e9", "#cc79a7", "#009e73", "#d55e00", "#e69f00"];
const PART_PATTERNS = ["", "/", "", "\\", "", "."];

function isNarrow() {
  return document.documentElement.clientWidth < 640;
}

function baseLayout(look) {
  const font = { family: "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", size: isNarrow() ? 11 : 13, color: look.ink };
  return {
    font,
    paper_bgcolor: look.paper,
    plot_bgcolor: look.paper,
    margin: { l: 60, r: 16, t: 30, b: 50 },
    hoverlabel: { bgcolor: look.soft, bordercolor: look.line, font: { color: look.ink }, align: "left" },
    legend: { orientation: "h", x: 0, xanchor: "left", y: 1.02, yanchor: "bottom" },
    hovermode: "closest",
    height: isNarrow() ? 420 : 560,
  };
}

function axisLook(look) {
  return { gridcolor: look.line, linecolor: look.muted, zerolinecolor: look.line, automargin: true, showline: true, ticks: "outside" };
}

function axisOf(column, rows, isLog, look) {
  const type = column.kind !== "number" ? "category" : isLog ? "log" : "linear";
  return { ...axisLook(look), type, title: { text: inert(heading(column)) }, ...(type === "log" ? ticksOf(rows.map((row) => place(column, row))) : {}) };
}

function panelLayout(x, y, panel, panels, rows, chosen, look) {
  const layout = { ...baseLayout(look), coloraxis: { colorscale: "Viridis", colorbar: colourBar(chosen.colour, look), ...colourEnds(chosen.colour) } };
  const across = isNarrow() ? 1 : Math.ceil(Math.sqrt(panels.length));
  const down = Math.ceil(panels.length / across);
  if (panels.length > 1) {
    layout.grid = { rows: down, columns: across, pattern: "independent", xgap: 0.12, ygap: 0.22 };
    layout.height = Math.max(layout.height, 300 * down);
    layout.legend.y = 1 + 30 / layout.height;
  }
  const [alongX, alongY] = [axisOf(x, rows, chosen.logX, look), axisOf(y, rows, chosen.logY, look)];
  panels.forEach((value, index) => {
    const suffix = index ? String(index + 1) : "";
    const [xaxis, yaxis] = [{ ...alongX }, { ...alongY }];
    if (index + across < panels.length) delete xaxis.title;
    if (index % across) delete yaxis.title;
    layout[`xaxis${suffix}`] = { ...xaxis, ...(index ? { matches: "x" } : {}) };
    layout[`yaxis${suffix}`] = { ...yaxis, ...(index ? { matches: "y" } : {}) };
  });
  if (panel) layout.annotations = panels.map((value, index) => panelTitle(panel, value, index, across, look));
  return layout;
}

function panelTitle(panel, value, index, across, look) {
  const { xaxis, yaxis } = onPanel(index);
  return {
    text: inert(shortened(`${panel.label} ${withUnit(panel, value)}`, PANEL_CHARACTERS[isNarrow() ? "narrow" : "wide"] / across)), xref: `${xaxis} domain`, yref: `${yaxis} domain`,
    x: 0.5, y: 1, yanchor: "bottom", showarrow: false, font: { color: look.ink },
  };
}

function colourBar(name, look) {
  const column = columns.get(name);
  return column && {
    title: { text: inert(heading(column)), side: "right" }, thickness: 14, outlinewidth: 0, tickcolor: look.ink,
  };
}

// Of all runs, so that a value keeps its colour.
function colourEnds(name) {
  const column = columns.get(name);
  const finite = column?.kind === "number" ? valuesOf(column).filter(Number.isFinite) : [];
  return finite.length ? { cmin: finite[0] / column.scale, cmax: finite.at(-1) / column.scale } : {};
}

// Stacked bars of the first runs of the table.
function breakdown(rows, look) {
  const parts = PARTS.map((part) => columns.get(PATH + part)).filter(Boolean);
  const some = rows.slice(0, MOST_BARS);
  const varying = axes.filter((axis) => axis.name === "profile" || distinct(some.map((row) => axis.values[row])).length > 1);
  const devices = varying.filter((axis) => axis.name === "profile");
  const names = some.map((row) => inert(isNarrow() ? shortened(called(row, devices), NARROW_CHARACTERS) : shortened(called(row, varying))));
  const traces = parts.map((part, index) => ({
    type: "bar", orientation: "h", name: inert(part.name.slice(PATH.length).replaceAll("_", " ")), customdata: some,
    x: some.map((row) => (part.values[row] ?? 0) / part.scale), y: names,
    marker: { color: PART_COLOURS[index % PART_COLOURS.length], pattern: { shape: PART_PATTERNS[index % PART_PATTERNS.length], fillmode: "overlay", size: 6 } },
    hovertext: some.map((row) => inert(`${called(row, devices)}: ${part.label} ${withUnit(part, part.values[row])}`)), hoverinfo: "text", textposition: "none",
  }));
  const layout = baseLayout(look);
  layout.barmode = "stack";
  layout.height = 140 + 22 * Math.max(some.length, 4);
  layout.legend.traceorder = "normal";
  layout.xaxis = { ...axisLook(look), title: { text: `time per token (${parts[0].unit})` }, rangemode: "tozero" };
  layout.yaxis = { ...axisLook(look), type: "category", autorange: "reversed", ticks: "", showgrid: false };
  const note = rows.length > some.length ? `the first ${some.length} of ${rows.length} runs, as the table has them` : `${some.length} runs`;
  return { traces, layout, note: `Where a token's time goes: ${note}` };
}

// Percentiles of seconds per token of one run.
function percentiles(row, look) {
  const column = columns.get("token_s_percentiles");
  const seconds = (row === null ? null : valueOf(column, row)) ?? [];
  const traces = [{
    type: "scatter", mode: "lines", x: seconds.map((_, q) => (100 * q) / (seconds.length - 1)), y: seconds.map((s) => s / column.scale),
    line: { color: COLOURS[0], width: 2 }, hovertemplate: `%{x:.0f}th percentile: %{y:.4g} ${column.unit}<extra></extra>`,
  }];
  const layout = baseLayout(look);
  layout.xaxis = { ...axisLook(look), title: { text: "percentile of tokens" }, range: [0, 100] };
  layout.yaxis = { ...axisLook(look), title: { text: inert(heading(column)) }, rangemode: "tozero" };
  const note = seconds.length ? `Latency of run ${called(row)}; choose another by its point or in the table` : "No run with percentiles";
  return { traces, layout, note };
}
