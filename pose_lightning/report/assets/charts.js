"use strict";

const CHARTS = JSON.parse(document.getElementById("data").textContent);
const DRAW = {}; // by kind of chart: (figure, data) => a function that draws it into `.plot`

function node(name, attributes = {}, parent = null, text = null) {
  const isSvg = ["svg", "path", "line", "rect", "circle", "text", "g", "title"].includes(name);
  const made = isSvg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  if (text !== null) made.textContent = text; // never as HTML: run text is anyone's
  if (parent) parent.append(made);
  return made;
}

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

function format(value) {
  if (!isNumber(value)) return "–";
  const size = Math.abs(value);
  if (size >= 1e6) return `${+(value / 1e6).toPrecision(3)} M`;
  if (size >= 1e4) return `${+(value / 1e3).toPrecision(3)} k`;
  return size >= 100 ? `${+value.toFixed(1)}` : `${+value.toPrecision(4)}`;
}

function ticks(low, high, count) {
  const raw = (high - low) / Math.max(count, 1) || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= raw);
  const found = [];
  for (let place = Math.ceil(low / step - 1e-9); place * step <= high + step * 1e-9; place++) found.push(place * step);
  return found;
}

const logTicks = (low, high) => {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power++) {
    for (const each of [1, 2, 5]) if (each * 10 ** power >= low && each * 10 ** power <= high) found.push(each * 10 ** power);
  }
  return found.length > 1 ? found : [low, high];
};

const colour = (place) => `var(--series-${place % 8})`;
const shorten = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

/* Buttons that show and hide; `hidden` is a set of labels that outlives a redraw. */
function legend(figure, entries, hidden, redraw) {
  const room = figure.querySelector(".legend") || node("div", { class: "legend", role: "group", "aria-label": "Shown" }, figure);
  room.replaceChildren();
  for (const { label, stroke } of entries) {
    const button = node("button", { type: "button", "aria-pressed": String(!hidden.has(label)) }, room);
    node("span", { class: "swatch", style: `background:${stroke}` }, button);
    node("span", {}, button, label);
    button.addEventListener("click", () => {
      if (!hidden.delete(label)) hidden.add(label);
      button.setAttribute("aria-pressed", String(!hidden.has(label)));
      redraw();
    });
  }
}

function tooltip(figure) {
  const room = figure.querySelector(".tooltip") || node("div", { class: "tooltip", hidden: true, "aria-live": "polite" }, figure);
  return {
    show(x, y, title, rows) {
      room.replaceChildren(node("strong", {}, null, title));
      for (const { stroke, text } of rows) {
        const line = node("p", {}, room);
        if (stroke) node("span", { class: "swatch", style: `background:${stroke}` }, line);
        node("span", {}, line, text);
      }
      room.hidden = false;
      const width = figure.clientWidth;
      const left = x + 18 + room.offsetWidth > width ? x - room.offsetWidth - 14 : x + 18;
      room.style.left = `${Math.max(4, Math.min(left, width - room.offsetWidth - 4))}px`;
      room.style.top = `${Math.max(4, y)}px`;
    },
    hide() { room.hidden = true; },
  };
}

/* Draw now, and again whenever the room changes its width; folded away it has none. Returns what draws anew. */
function keepDrawn(figure, draw) {
  const plot = figure.querySelector(".plot");
  let width = 0;
  const update = () => {
    width = plot.clientWidth;
    if (width) draw();
  };
  new ResizeObserver(() => { if (plot.clientWidth !== width) update(); }).observe(plot);
  queueMicrotask(update); // when the caller has made its controls
  return update;
}

/*
 * Lines over a common axis.
 * spec: { series: [{ label, stroke, dash, width, opacity, points: [[x, y]], band: [[x, low, high]] }],
 *         references: [{ value, label }], xLabel, yLabel, log, height }
 */
function drawLines(figure, spec) {
  const plot = figure.querySelector(".plot");
  const width = Math.max(plot.clientWidth, 200);
  const height = spec.height || Math.min(360, Math.max(240, width * 0.5));
  const margin = { left: 52, right: 12, top: 22, bottom: 38 };
  const image = node("svg", {
    viewBox: `0 0 ${width} ${height}`, height, role: "img", tabindex: "0",
    "aria-label": `${figure.querySelector("figcaption").textContent}. ${spec.yLabel} over ${spec.xLabel}. `
      + `${spec.series.length} lines. Arrow keys read the values.`,
  });
  plot.replaceChildren(image);
  const xs = [...new Set(spec.series.flatMap((each) => each.points.map((point) => point[0])))].sort((a, b) => a - b);
  const ys = [
    ...spec.series.flatMap((each) => each.points.map((point) => point[1])),
    ...spec.series.flatMap((each) => (each.band || []).flatMap((part) => [part[1], part[2]])),
  ].filter(isNumber);
  if (!xs.length || !ys.length) {
    node("text", { x: width / 2, y: height / 2, "text-anchor": "middle" }, image, "nothing is shown");
    return;
  }
  let [low, high] = ys.reduce(([a, b], each) => [Math.min(a, each), Math.max(b, each)], [Infinity, -Infinity]);
  const references = (spec.references || []).filter(({ value }) => value > low - (high - low) && value < high + (high - low) * 2);
  for (const { value } of references) [low, high] = [Math.min(low, value), Math.max(high, value)];
  const log = spec.log && low > 0;
  if (!log) {
    const room = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
    low = low >= 0 && low < room * 3 ? 0 : low - room;
    high += room;
  }
  const left = Math.min(0, xs[0]);
  const right = xs[xs.length - 1] === left ? left + 1 : xs[xs.length - 1];
  const toX = (x) => margin.left + ((x - left) / (right - left)) * (width - margin.left - margin.right);
  const share = log ? (y) => Math.log(y / low) / Math.log(high / low || Math.E) : (y) => (y - low) / (high - low);
  const toY = (y) => height - margin.bottom - share(y) * (height - margin.top - margin.bottom);
  for (const tick of log ? logTicks(low, high) : ticks(low, high, height / 45)) {
    node("line", { class: "grid", x1: margin.left, x2: width - margin.right, y1: toY(tick), y2: toY(tick) }, image);
    node("text", { x: margin.left - 6, y: toY(tick) + 4, "text-anchor": "end" }, image, format(tick));
  }
  for (const tick of ticks(left, right, width / 90)) {
    node("text", { x: toX(tick), y: height - margin.bottom + 16, "text-anchor": "middle" }, image, format(tick));
  }
  node("text", { x: (margin.left + width) / 2, y: height - 4, "text-anchor": "middle" }, image, spec.xLabel);
  node("text", { x: 4, y: 12 }, image, spec.yLabel);
  const path = (points) => points.map(([x, y], place) => `${place ? "L" : "M"}${toX(x).toFixed(1)} ${toY(y).toFixed(1)}`).join("");
  for (const each of spec.series) {
    if (!each.band || each.band.length < 2) continue;
    const edge = [...each.band.map(([x, , top]) => [x, top]), ...each.band.map(([x, bottom]) => [x, bottom]).reverse()];
    node("path", { d: `${path(edge)}Z`, style: `fill:${each.stroke}`, "fill-opacity": 0.16 }, image);
  }
  for (const { value, label } of references) {
    node("line", { class: "cross", x1: margin.left, x2: width - margin.right, y1: toY(value), y2: toY(value) }, image);
    node("text", { x: width - margin.right, y: toY(value) - 4, "text-anchor": "end" }, image, shorten(label, width / 7));
  }
  for (const each of spec.series) {
    const points = each.points.filter((point) => isNumber(point[1]));
    const style = `stroke:${each.stroke};fill:none`;
    node("path", { d: path(points), style, "stroke-width": each.width || 2, "stroke-dasharray": each.dash, "stroke-opacity": each.opacity }, image);
    if (points.length === 1) {
      node("circle", { cx: toX(points[0][0]), cy: toY(points[0][1]), r: 3.5, style: `fill:${each.stroke}` }, image);
    }
  }
  const cross = node("line", { class: "cross", y1: margin.top, y2: height - margin.bottom, visibility: "hidden" }, image);
  const tip = tooltip(figure);
  let place = xs.length - 1;
  const point = (at) => {
    place = Math.max(0, Math.min(at, xs.length - 1));
    const x = xs[place];
    const found = spec.series.map((each) => ({ each, y: valueAt(each.points, x) })).filter(({ y }) => isNumber(y));
    found.sort((a, b) => b.y - a.y);
    const rows = found.slice(0, 12).map(({ each, y }) => ({ stroke: each.stroke, text: `${each.label}: ${format(y)}` }));
    if (found.length > 12) rows.push({ text: `and ${found.length - 12} more` });
    cross.setAttribute("x1", toX(x));
    cross.setAttribute("x2", toX(x));
    cross.setAttribute("visibility", "visible");
    tip.show(toX(x), plot.offsetTop + margin.top, `${spec.xLabel} ${format(x)}`, rows);
  };
  const leave = () => { cross.setAttribute("visibility", "hidden"); tip.hide(); };
  image.addEventListener("pointermove", (event) => {
    const at = ((event.clientX - image.getBoundingClientRect().left) / image.getBoundingClientRect().width) * width;
    const x = left + ((at - margin.left) / (width - margin.left - margin.right)) * (right - left);
    point(nearest(xs, x));
  });
  image.addEventListener("pointerleave", leave);
  image.addEventListener("blur", leave);
  image.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    if (event.key === "Escape") leave();
    if (move === undefined) return;
    event.preventDefault();
    point(place + move);
  });
}

function nearest(sorted, x) {
  let low = 0;
  let high = sorted.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < x) low = middle; else high = middle;
  }
  return x - sorted[low] < sorted[high] - x ? low : high;
}

function valueAt(points, x) {
  const found = points.length ? points[nearest(points.map((point) => point[0]), x)] : null;
  const span = points.length > 1 ? Math.abs(points[points.length - 1][0] - points[0][0]) / points.length : Infinity;
  return found && Math.abs(found[0] - x) <= span ? found[1] : null;
}

DRAW.lines = (figure, data) => {
  const hidden = new Set(data.series.filter((each) => each.off).map((each) => each.label));
  const series = data.series.map((each, place) => ({
    label: each.label, stroke: colour(place), dash: place >= 8 ? "6 4" : null, width: each.wide ? 3 : 1.6,
    points: data.x.map((x, row) => [x, each.y[row]]).filter((point) => isNumber(point[1])),
  }));
  const spec = () => ({ ...data, series: series.filter((each) => !hidden.has(each.label)) });
  const update = keepDrawn(figure, () => drawLines(figure, spec()));
  if (series.length > 1) legend(figure, series, hidden, update);
};

/*
 * Horizontal bars, or dots, with intervals: a block for each category, a bar for each series that is shown.
 * data: { unit, categories, series: [{ label, values, low, high, off, muted }], style, maximum }
 */
DRAW.bars = (figure, data) => {
  const hidden = new Set(data.series.filter((each) => each.off).map((each) => each.label));
  let ours = 0;
  const series = data.series.map((each) => ({ ...each, stroke: each.muted ? "var(--muted)" : colour(ours++) }));
  const muted = series.filter((each) => each.muted);
  muted.forEach((each, place) => { each.opacity = 1 - (0.65 * place) / Math.max(muted.length, 1); });
  const update = keepDrawn(figure, () => drawBars(figure, data, series.filter((each) => !hidden.has(each.label))));
  if (series.length > 1) legend(figure, series, hidden, update);
};

function drawBars(figure, data, series) {
  const plot = figure.querySelector(".plot");
  const width = Math.max(plot.clientWidth, 200);
  const thick = series.length > 5 ? 8 : 12;
  const gap = 10;
  const widest = Math.max(...data.categories.map((each) => each.length)) * 7 + 12;
  const above = widest > width * 0.34 ? 16 : 0; // room for a name over its bars, where there is none beside them
  const block = above + Math.max(series.length, 1) * (thick + 2) + gap;
  const margin = { left: above ? 8 : widest, right: 52, top: 8, bottom: 36 };
  const height = margin.top + margin.bottom + block * data.categories.length;
  const image = node("svg", {
    viewBox: `0 0 ${width} ${height}`, height, role: "img", tabindex: "0",
    "aria-label": `${figure.querySelector("figcaption").textContent}. ${series.map((each) => each.label).join("; ")}. `
      + "Arrow keys read the values.",
  });
  plot.replaceChildren(image);
  const all = series.flatMap((each) => [...each.values, ...(each.low || []), ...(each.high || [])]).filter(isNumber);
  if (!all.length) return;
  const [smallest, largest] = [Math.min(...all), Math.max(...all)];
  const room = (largest - smallest) * 0.1;
  const from = data.style === "dots" ? smallest - room : Math.min(0, smallest);
  const to = Math.min(largest + room * 0.4, Math.max(data.maximum ?? Infinity, largest));
  const toX = (value) => margin.left + ((value - from) / (to - from || 1)) * (width - margin.left - margin.right);
  for (const tick of ticks(from, to, width / 90)) {
    node("line", { class: "grid", x1: toX(tick), x2: toX(tick), y1: margin.top, y2: height - margin.bottom }, image);
    node("text", { x: toX(tick), y: height - margin.bottom + 16, "text-anchor": "middle" }, image, format(tick));
  }
  node("text", { x: (margin.left + width) / 2, y: height - 3, "text-anchor": "middle" }, image, data.unit);
  const tip = tooltip(figure);
  const marks = [];
  data.categories.forEach((category, row) => {
    const top = margin.top + row * block + gap / 2 + above;
    const spot = above ? { x: margin.left, y: top - 4 } : { x: margin.left - 8, y: top + (block - gap) / 2 + 4, "text-anchor": "end" };
    node("text", { class: "strong", ...spot }, image, shorten(category, (above ? width : widest) / 6.8));
    series.forEach((each, place) => {
      const value = each.values[row];
      if (!isNumber(value)) return;
      const y = top + place * (thick + 2);
      const [low, high] = [each.low?.[row], each.high?.[row]];
      const ends = isNumber(low) && isNumber(high);
      const mark = node("g", {}, image);
      if (data.style === "dots") {
        node("circle", { cx: toX(value), cy: y + thick / 2, r: 5, style: `fill:${each.stroke}` }, mark);
      } else {
        const [start, end] = [toX(Math.max(from, Math.min(0, value))), toX(Math.max(0, value))];
        const style = `fill:${each.stroke}`;
        node("rect", { x: start, y, width: Math.max(end - start, 1), height: thick, rx: 2, style, "fill-opacity": each.opacity }, mark);
      }
      if (ends) node("line", { class: "rim", x1: toX(low), x2: toX(high), y1: y + thick / 2, y2: y + thick / 2 }, mark);
      if (ends) node("line", { class: "whisker", x1: toX(low), x2: toX(high), y1: y + thick / 2, y2: y + thick / 2 }, mark);
      if (series.length <= 3) {
        const after = toX(ends ? Math.max(high, value) : value) + 5;
        node("text", { x: after, y: y + thick / 2 + 4 }, mark, format(value));
      }
      const text = `${each.label}: ${format(value)}${ends ? ` (${format(low)} to ${format(high)})` : ""}`;
      const show = () => tip.show(toX(value), plot.offsetTop + y + thick, category, [{ stroke: each.stroke, text }]);
      mark.addEventListener("pointerenter", show);
      mark.addEventListener("pointerleave", () => tip.hide());
      marks.push(show);
    });
  });
  let at = -1;
  image.addEventListener("keydown", (event) => {
    const move = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    if (event.key === "Escape") tip.hide();
    if (move === undefined || !marks.length) return;
    event.preventDefault();
    at = (at + move + marks.length) % marks.length;
    marks[at]();
  });
  image.addEventListener("blur", () => tip.hide());
}
