"use strict";

/* An axis for every parameter and one for the metric; a line for every run, brighter where it ended better. */
DRAW.parallel = (figure, data) => keepDrawn(figure, () => {
  const plot = figure.querySelector(".plot");
  const width = Math.max(plot.clientWidth, 260);
  const height = 300;
  const margin = { left: 30, right: 74, top: 34, bottom: 16 };
  const image = node("svg", {
    viewBox: `0 0 ${width} ${height}`, height, role: "img", tabindex: "0",
    "aria-label": `${figure.querySelector("figcaption").textContent}. ${data.runs.length} runs. Arrow keys go through them.`,
  });
  plot.replaceChildren(image);
  const axes = data.axes.map((axis, place) => {
    const values = data.runs.map((run) => (place < run.values.length ? run.values[place] : run.score));
    const x = margin.left + (place / Math.max(data.axes.length - 1, 1)) * (width - margin.left - margin.right);
    if (axis.numeric) {
      const known = values.filter(isNumber);
      const levels = [...new Set(known)].sort((a, b) => a - b);
      const [low, high] = [levels[0], levels[levels.length - 1]];
      const geometric = low > 0 && high / low > 30;
      const share = (value) => (high === low ? 0.5 : geometric ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low));
      return { ...axis, x, values, share, marks: levels.length <= 6 ? levels : ticks(low, high, 4) };
    }
    const levels = [...new Set(values.map(String))].sort();
    const share = (value) => (levels.length > 1 ? levels.indexOf(String(value)) / (levels.length - 1) : 0.5);
    return { ...axis, x, values, share, marks: levels };
  });
  const toY = (axis, value) => height - margin.bottom - axis.share(value) * (height - margin.top - margin.bottom);
  const scores = data.runs.map((run) => run.score).filter(isNumber);
  const [low, high] = [Math.min(...scores), Math.max(...scores)];
  const goodness = (score) => {
    if (!isNumber(score) || high === low) return 0.5;
    return data.lower ? (high - score) / (high - low) : (score - low) / (high - low);
  };
  const tip = tooltip(figure);
  const lines = data.runs.map((run, row) => {
    const points = axes.map((axis) => [axis.x, axis.values[row]]).map(([x, value], place) => (
      value === null || value === undefined ? null : [x, toY(axes[place], value)]
    ));
    const known = points.filter(Boolean);
    const d = known.map(([x, y], place) => `${place ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
    const good = goodness(run.score);
    const style = `fill:none;stroke:color-mix(in srgb, var(--series-1) ${Math.round(good * 100)}%, var(--muted))`;
    const line = node("path", { d, style, "stroke-width": 1 + 1.6 * good, "stroke-opacity": 0.45 + 0.5 * good }, image);
    const touch = node("path", { d, style: "fill:none;stroke:transparent", "stroke-width": 12 }, image);
    const last = known[known.length - 1];
    const show = () => {
      hide();
      line.setAttribute("stroke-width", 5);
      line.setAttribute("stroke-opacity", 1);
      const rows = axes.map((axis) => ({ text: `${axis.name}: ${isNumber(axis.values[row]) ? format(axis.values[row]) : axis.values[row] ?? "–"}` }));
      tip.show(Math.min(last[0], width * 0.6), plot.offsetTop + last[1] * 0.6, `${run.label}, seed ${run.seed}`, rows);
    };
    const calm = () => {
      line.setAttribute("stroke-width", 1 + 1.6 * good);
      line.setAttribute("stroke-opacity", 0.45 + 0.5 * good);
    };
    touch.addEventListener("pointerenter", show);
    touch.addEventListener("pointerleave", () => { calm(); tip.hide(); });
    return { show, calm };
  });
  function hide() { lines.forEach((each) => each.calm()); tip.hide(); }
  axes.forEach((axis, place) => {
    const last = place === axes.length - 1;
    node("line", { class: "grid", x1: axis.x, x2: axis.x, y1: margin.top, y2: height - margin.bottom, "stroke-width": 2 }, image);
    const anchor = place === 0 ? "start" : last ? "end" : "middle";
    const room = ((width - margin.left - margin.right) / Math.max(axes.length - 1, 1) - 20) / 7.2;
    node("text", { class: "strong", x: axis.x + (place === 0 ? -margin.left + 2 : last ? margin.right : 0), y: 14, "text-anchor": anchor }, image, shorten(axis.name, room));
    for (const mark of axis.marks) {
      node("text", { class: "halo strong", x: axis.x + 6, y: toY(axis, mark) + 4 }, image, isNumber(mark) ? format(mark) : shorten(String(mark), room));
    }
  });
  let at = -1;
  image.addEventListener("keydown", (event) => {
    const move = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    if (event.key === "Escape") hide();
    if (move === undefined || !lines.length) return;
    event.preventDefault();
    at = (at + move + lines.length) % lines.length;
    lines[at].show();
  });
  image.addEventListener("blur", hide);
});
