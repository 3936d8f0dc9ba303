// The page's address says what is chosen: a reload, or a copied link, shows the same.

const MENUS = ["plot", "x", "y", "colour", "panel"];
const SWITCHES = ["logX", "logY", "lines", "pareto"];
const ENDS = ["least", "most"];
const PAUSE_MS = 150; // browsers refuse an address that changes with every key

// As JSON, which has no infinite numbers.
function toText(value) {
  return JSON.stringify(value === Infinity || value === -Infinity ? shownNumber(value) : value);
}

// Of a column's own values, those that a text names: links may be old, or mistyped.
function named(column, texts) {
  return valuesOf(column).filter((value) => texts.includes(toText(value)));
}

// What differs from the page as it opens.
function toAddress(state, opening) {
  const told = new URLSearchParams();
  const { sorted, descending, all } = state.table;
  for (const name of MENUS) if (state[name] !== opening[name]) told.set(name, state[name]);
  for (const name of SWITCHES) if (state[name] !== opening[name]) told.set(name, state[name] ? "yes" : "no");
  for (const [name, value] of state.fixed) told.set(...(value === null ? [`any.${name}`, ""] : [`at.${name}`, toText(value)]));
  for (const [name, filter] of filters) {
    if (filter instanceof Set) told.set(`only.${name}`, `[${[...filter].map(toText)}]`);
    else for (const end of ENDS) if (filter[end] !== undefined) told.set(`${end}.${name}`, filter[end]);
  }
  if (sorted) told.set(descending ? "down" : "up", sorted);
  if (all) told.set("columns", "all");
  if (state.run !== null) told.set("run", state.run + 1);
  return told.toString();
}

// What an address says, and nothing that this page cannot show; sets the filters too.
function fromAddress(text, opening, offered) {
  const told = new URLSearchParams(text);
  const state = { ...opening, fixed: new Map(), table: { sorted: null, descending: false, all: told.get("columns") === "all" } };
  for (const name of MENUS) if (offered(name, told.get(name))) state[name] = told.get(name);
  for (const name of SWITCHES) if (told.has(name)) state[name] = told.get(name) === "yes";
  for (const way of ["up", "down"]) {
    const column = columns.get(told.get(way));
    if (column && column.kind !== "list") Object.assign(state.table, { sorted: column.name, descending: way === "down" });
  }
  const run = Number(told.get("run")) - 1;
  if (run in runs) state.run = run;
  filters.clear();
  for (const column of axes) {
    const [value] = named(column, [told.get(`at.${column.name}`)]);
    if (value != null) state.fixed.set(column.name, value);
    else if (told.has(`any.${column.name}`)) state.fixed.set(column.name, null);
  }
  for (const column of filtered()) readFilter(column, told);
  return state;
}

function readFilter(column, told) {
  if (!isByValue(column)) {
    const ends = ENDS.map((end) => [end, told.get(`${end}.${column.name}`)]).filter(([, text]) => text && Number.isFinite(Number(text)));
    if (ends.length) filters.set(column.name, Object.fromEntries(ends.map(([end, text]) => [end, Number(text)])));
    return;
  }
  const texts = listOf(told.get(`only.${column.name}`));
  const allowed = texts && named(column, texts);
  if (allowed && (allowed.length || !texts.length)) filters.set(column.name, new Set(allowed));
}

function listOf(text) {
  try {
    const list = JSON.parse(text);
    return Array.isArray(list) ? list.map(toText) : null;
  } catch {
    return null;
  }
}
