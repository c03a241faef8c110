"use strict";

/* Training (dashed) and validation (solid) of every cell: the mean of its seeds, and a band from lowest to highest. */
DRAW.curves = (figure, data) => {
  const state = { metric: data.metrics[0].name, axis: "samples", log: false, splits: new Set(["train", "val"]) };
  const hidden = new Set();
  const controls = node("div", { class: "controls" });
  figure.querySelector(".plot").before(controls);
  const update = keepDrawn(figure, () => drawLines(figure, spec()));

  if (data.metrics.length > 1) {
    const label = node("label", {}, controls, "Metric ");
    const select = node("select", {}, label);
    for (const { name, title } of data.metrics) node("option", { value: name }, select, title);
    select.addEventListener("change", () => { state.metric = select.value; update(); });
  }
  const axes = node("span", { class: "group", role: "group", "aria-label": "Horizontal axis" }, controls);
  const choices = ["samples", "epochs"].map((name) => node("button", { type: "button", "aria-pressed": String(name === state.axis) }, axes, name));
  for (const choice of choices) {
    choice.addEventListener("click", () => {
      state.axis = choice.textContent;
      for (const each of choices) each.setAttribute("aria-pressed", String(each === choice));
      update();
    });
  }
  const toggle = (text, isOn, change) => {
    const button = node("button", { type: "button", "aria-pressed": String(isOn) }, controls, text);
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(on));
      change(on);
      update();
    });
  };
  toggle("training", true, (on) => (on ? state.splits.add("train") : state.splits.delete("train")));
  toggle("validation", true, (on) => (on ? state.splits.add("val") : state.splits.delete("val")));
  toggle("logarithmic", false, (on) => { state.log = on; });

  const entries = data.labels.map((label, place) => ({ label, stroke: colour(place) }));
  if (entries.length > 1) legend(figure, entries, hidden, update);

  function spec() {
    const series = [];
    data.labels.forEach((label, place) => {
      if (hidden.has(label)) return;
      const runs = data.runs.filter((run) => run.label === place);
      for (const split of ["train", "val"]) {
        if (!state.splits.has(split)) continue;
        const each = together(runs, `${split}/${state.metric}`, state.axis);
        if (!each.points.length) continue;
        const many = runs.length > 1 ? `, ${runs.length} seeds` : "";
        series.push({
          ...each, label: `${label} ${split === "val" ? "validation" : "training"}${many}`, stroke: colour(place),
          dash: split === "train" ? "5 4" : null, width: split === "train" ? 1.4 : 2.2,
          opacity: data.labels.length > 12 ? 0.7 : null,
        });
      }
    });
    const title = data.metrics.find(({ name }) => name === state.metric).title;
    const references = state.splits.has("val") ? data.published[state.metric] : [];
    const xLabel = state.axis === "samples" ? "training samples seen" : "epochs";
    return { series, references, xLabel, yLabel: title, log: state.log };
  }
};

function together(runs, name, axis) {
  const found = new Map();
  for (const run of runs) {
    const values = run.values[name] || [];
    run[axis].forEach((x, place) => {
      if (!isNumber(values[place])) return;
      const key = Math.round(x * 1e4) / 1e4;
      if (!found.has(key)) found.set(key, []);
      found.get(key).push(values[place]);
    });
  }
  const most = Math.max(0, ...[...found.values()].map((values) => values.length));
  const kept = [...found].filter(([, values]) => values.length * 2 >= most).sort((a, b) => a[0] - b[0]);
  return {
    points: kept.map(([x, values]) => [x, values.reduce((sum, each) => sum + each, 0) / values.length]),
    band: most > 1 ? kept.map(([x, values]) => [x, Math.min(...values), Math.max(...values)]) : null,
  };
}
