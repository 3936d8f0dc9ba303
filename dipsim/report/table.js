// A table of runs: a hundred at a time, sorted by a click on a header, the best first.

const PAGE_ROWS = 100;
const CODES = ["key", "trace_sha256"]; // shown in part; in full with the run
const CODE_CHARACTERS = 12;

// Into a box; `onSort` is called with the rows in their new order. Returns what shows other rows or marks a run.
function makeTable(box, name, shownColumns, onRun, onSort = () => {}) {
  const table = { rows: [], columns: shownColumns, sorted: null, descending: false, page: 0, chosen: null };
  const head = element("tr");
  const body = element("tbody");
  const where = element("span", { ariaLive: "polite" });
  const [before, after] = [["Earlier", -1], ["Later", 1]].map(([text, step]) => {
    const button = element("button", { type: "button", textContent: text });
    button.addEventListener("click", () => { table.page += step; fill(); });
    return button;
  });
  const scroll = element("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: name },
    element("table", {}, element("thead", {}, head), body));
  const pager = element("div", { className: "pager" }, before, after, where);
  box.replaceChildren(scroll, pager);

  function sort() {
    const column = table.sorted && columns.get(table.sorted);
    if (column) {
      const { values } = column;
      const sign = table.descending ? -1 : 1;
      table.rows.sort((a, b) => (values[a] == null || values[b] == null ? compare(values[a], values[b]) : sign * compare(values[a], values[b])) || a - b);
    }
    onSort(table.rows);
  }

  function fillHead() {
    head.replaceChildren(element("th", { scope: "col", textContent: "run" }), ...table.columns.map((column) => {
      const arrow = table.sorted === column.name ? (table.descending ? " \u25bc" : " \u25b2") : "";
      const button = element("button", { type: "button", textContent: heading(column) + arrow });
      button.addEventListener("click", () => {
        table.descending = table.sorted === column.name ? !table.descending : column.better === "higher";
        table.sorted = column.name;
        table.page = 0;
        sort();
        fillHead();
        fill();
        head.querySelector(`[data-column="${CSS.escape(column.name)}"] button`).focus();
      });
      const cell = element("th", { scope: "col", className: styleOf(column) }, button);
      cell.dataset.column = column.name;
      if (arrow) cell.ariaSort = table.descending ? "descending" : "ascending";
      return cell;
    }));
  }

  function fill() {
    const first = table.page * PAGE_ROWS;
    const some = table.rows.slice(first, first + PAGE_ROWS);
    body.replaceChildren(...some.map((row) => line(row, table, onRun)));
    before.disabled = table.page === 0;
    after.disabled = first + PAGE_ROWS >= table.rows.length;
    before.hidden = after.hidden = table.rows.length <= PAGE_ROWS;
    where.textContent = some.length ? `${first + 1} to ${first + some.length} of ${table.rows.length} runs` : "no runs";
  }

  function show(changes) {
    Object.assign(table, changes, { page: 0 });
    sort();
    fillHead();
    fill();
  }

  return {
    order: () => ({ sorted: table.sorted, descending: table.descending }),
    showRows(rows) { show({ rows: [...rows] }); },
    showAll(rows, columns, { sorted, descending }, chosen) { show({ rows: [...rows], columns, sorted, descending, chosen }); },
    showColumns(others) { table.columns = others; fillHead(); fill(); },
    choose(row) { table.chosen = row; fill(); },
  };
}

function line(row, table, onRun) {
  const button = element("button", { type: "button", textContent: `#${row + 1}`, ariaLabel: `show run ${row + 1}` });
  button.addEventListener("click", () => onRun(row));
  const cells = table.columns.map((column) => {
    const text = shown(column, column.values[row]);
    const isCode = CODES.includes(column.name);
    return element("td", { textContent: isCode ? text.slice(0, CODE_CHARACTERS) : text, title: isCode ? text : "", className: styleOf(column) });
  });
  const made = element("tr", { className: row === table.chosen ? "chosen" : "" }, element("td", {}, button), ...cells);
  made.dataset.run = row;
  return made;
}

function styleOf(column) {
  if (column.kind === "number") return "number";
  return CODES.includes(column.name) ? "code" : column.name === "error" ? "long" : "";
}
