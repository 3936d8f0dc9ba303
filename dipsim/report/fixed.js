// What a picture does not tell apart is fixed at one value, so that a line is a line; the page says at which.

const POOLED = ["profile", "trace", "model"]; // not even in a cloud of points are these one

// The axes to fix, each with its values among the rows and the one that it is fixed at: what the reader chose, null
// for all of them, or the one that leaves the picture fullest.
function fixing(rows, state) {
  const along = columns.get(axisAlong(columns.get(state.x)));
  const told = [along, columns.get(state.colour), columns.get(state.panel)].filter(Boolean);
  const found = [];
  let left = [...rows].sort((a, b) => a - b); // whichever way the table is sorted
  for (const axis of axes) {
    if (told.includes(axis) || axis.name === state.y || !(along || POOLED.includes(axis.name))) continue;
    const values = distinct(left.map((row) => axis.values[row])).filter((value) => value != null);
    if (values.length < 2) continue;
    const asked = state.fixed.get(axis.name);
    const value = asked === null || values.includes(asked) ? asked : fullest(left, axis, values, told);
    if (value === undefined) continue;
    found.push({ axis, values: values.sort(compare), value });
    left = withFixed(left, found.slice(-1));
  }
  return found;
}

// Runs that lack what is fixed stay: to a dense run, no density applies.
function withFixed(rows, fixed) {
  return fixed.filter(({ value }) => value !== null).reduce((left, { axis, value }) =>
    left.filter((row) => axis.values[row] === value || axis.values[row] == null), rows);
}

// The value with which most places of the picture keep a run; of several, the middle number or the first name. None
// where each would empty more than half of the places, as in a random search.
function fullest(rows, axis, values, told) {
  const having = rows.filter((row) => axis.values[row] != null);
  const placesOf = (some) => new Set(some.map((row) => JSON.stringify(told.map((column) => column.values[row])))).size;
  const sizes = values.map((value) => placesOf(having.filter((row) => axis.values[row] === value)));
  const most = sizes.reduce((a, b) => Math.max(a, b));
  const best = values.filter((_, index) => sizes[index] === most);
  if (2 * most < placesOf(having)) return undefined;
  return axis.kind === "number" ? best.sort(compare)[best.length >> 1] : best[0];
}

// In words, with a menu for each axis.
function showFixed(box, fixed, onChoose) {
  const focused = box.contains(document.activeElement) ? document.activeElement.dataset.axis : null;
  const menus = fixed.map(({ axis, values, value }) => {
    const menu = element("select", { ariaLabel: `${axis.label}, fixed` });
    menu.dataset.axis = axis.name;
    menu.append(...values.map((one, index) => element("option", { value: index, textContent: withUnit(axis, one), selected: one === value })));
    menu.append(element("option", { value: "all", textContent: "all", selected: value === null }));
    menu.addEventListener("change", () => onChoose(axis.name, menu.value === "all" ? null : values[Number(menu.value)]));
    return element("label", {}, `${axis.label} `, menu);
  });
  box.hidden = !fixed.length;
  box.replaceChildren(...(menus.length ? ["Fixed in this picture:", ...menus] : []));
  [...box.querySelectorAll("select")].find((menu) => menu.dataset.axis === focused)?.focus();
}
