// Marks of logarithmic axes. (Plotly's own are "2" and "5" between powers of ten, or none on less than a decade.)

const MOST_DECADES = 2.5; // up to here with 2 and 5 between powers of ten
const MOST_POWERS = 6;

// At least two, of least and most, both above zero: even steps on less than a decade, then 1, 2 and 5, then powers.
function logTicks(least, most) {
  const decades = Math.log10(most / least);
  if (decades < 1) return multiples(niceStep((most - least) / 5), least, most);
  const step = decades > MOST_DECADES ? Math.ceil(decades / MOST_POWERS) : 1;
  const powers = multiples(step, Math.floor(Math.log10(least)) - step, Math.log10(most));
  const digits = decades > MOST_DECADES ? [1] : [1, 2, 5];
  return powers.flatMap((power) => digits.map((digit) => Number(`${digit}e${power}`))).filter((tick) => least <= tick && tick <= most);
}

// 1, 2 or 5 times a power of ten, just above.
function niceStep(step) {
  const power = 10 ** Math.floor(Math.log10(step));
  return [1, 2, 5, 10].find((digit) => digit * power >= step * (1 - 1e-9)) * power;
}

function multiples(step, least, most) {
  const first = Math.ceil(least / step - 1e-9);
  const n = Math.floor(most / step + 1e-9) - first + 1;
  return Array.from({ length: Math.max(n, 0) }, (_, index) => Number(((first + index) * step).toPrecision(12)));
}

function marked(least, most) {
  const tickvals = logTicks(least, most);
  return { tickmode: "array", tickvals, ticktext: tickvals.map(String) };
}

// For values as an axis shows them: it is a little longer than they are, and two decades long for one alone.
function ticksOf(values) {
  const logs = values.map(Math.log10);
  const [low, high] = [logs.reduce((a, b) => Math.min(a, b), Infinity), logs.reduce((a, b) => Math.max(a, b), -Infinity)];
  if (!logs.length) return {};
  const more = low === high ? 1 : 0.06 * (high - low);
  return marked(10 ** (low - more), 10 ** (high + more));
}

// After a zoom, as the range now is.
function markAnew(plot, changes) {
  if (!Object.keys(changes).some((key) => /axis\d*\.(auto)?range/.test(key))) return;
  const update = {};
  for (const [name, axis] of Object.entries(plot.layout)) {
    if (axis?.type !== "log" || !axis.range) continue;
    for (const [key, value] of Object.entries(marked(...axis.range.map((end) => 10 ** end)))) update[`${name}.${key}`] = value;
  }
  if (Object.keys(update).length) Plotly.relayout(plot, update);
}
