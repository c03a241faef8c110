"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const SIDES = ["#ffffff", "#ff9f1c", "#35c5ff"]; // middle, right, left
  const COLOURS = ["#3b82f6", "#f59e0b", "#22a35a", "#b065d8", "#e05252", "#0fa3a3", "#8a8a2a", "#c2558f"];
  const PAGE = 96;
  const SVG = "http://www.w3.org/2000/svg";
  const find = (id) => document.getElementById(id);

  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) {
      if (value === null || value === undefined || value === false) continue;
      if (key === "text") element.textContent = value;
      else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
      else element.setAttribute(key, value === true ? "" : value);
    }
    element.append(...children.filter((child) => child !== null));
    return element;
  };
  const shape = (tag, attributes) => {
    const element = document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };

  // ---- the theme
  const root = document.documentElement;
  const dark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const themed = () => { find("theme").textContent = dark() ? "Light" : "Dark"; if (plot) plot(); };
  find("theme").addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; themed(); });

  // ---- one sample
  // The pose as the camera sees it from afar, in the lower right corner: for clips whose places in the frame are unknown.
  const inset = (sample, frame) => {
    const all = sample.pose.flat().filter(Boolean), side = 0.5 * Math.min(sample.width, sample.height);
    const low = [0, 1].map((axis) => Math.min(...all.map((p) => p[axis])));
    const size = Math.max(1, ...[0, 1].map((axis) => Math.max(...all.map((p) => p[axis])) - low[axis]));
    const corner = [sample.width - 1.04 * side, sample.height - 1.04 * side];
    return sample.pose[frame].map((p) => p && [0, 1].map((axis) => corner[axis] + (side * (p[axis] - low[axis])) / size));
  };
  const skeleton = (sample, frame) => {
    const drawing = shape("svg", { viewBox: `0 0 ${sample.width} ${sample.height}`, "aria-hidden": "true" });
    const points = sample.points ? sample.points[frame] : inset(sample, frame);
    const width = Math.max(sample.width, sample.height) / 110;
    const at = (value) => value + 0.5; // px centres, in a drawing that begins at the first pixel's edge
    const lines = [];
    for (const [start, end] of data.bones) {
      const a = points[start], b = points[end];
      if (!a || !b) continue;
      const middle = [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
      for (const [joint, from] of [[start, a], [end, b]]) {
        lines.push([from, middle, SIDES[data.sides[joint]]]);
      }
    }
    for (const rim of [true, false]) {
      for (const [a, b, colour] of lines) {
        drawing.append(shape("line", { x1: at(a[0]), y1: at(a[1]), x2: at(b[0]), y2: at(b[1]),
          stroke: rim ? "#000" : colour, "stroke-width": width * (rim ? 2 : 1), "stroke-linecap": "round" }));
      }
      points.forEach((point, joint) => {
        if (!point) return;
        const dot = shape("circle", { cx: at(point[0]), cy: at(point[1]), r: width * (rim ? 1.7 : 1.2),
          fill: rim ? "#000" : SIDES[data.sides[joint]] });
        if (!rim) { const title = shape("title", {}); title.textContent = data.joints[joint]; dot.append(title); }
        drawing.append(dot);
      });
    }
    return drawing;
  };

  let labels = true;
  const describe = (sample) => {
    const parts = [sample.name, sample.note, ...(sample.facts || []).map(([key, value]) => `${key}: ${value}`)];
    return parts.filter(Boolean).join("; ");
  };
  // A picture with its labels; of a clip the frame that `show` is given.
  const view = (sample, tag, attributes = {}) => {
    const image = make("img", { src: sample.image, alt: describe(sample), loading: "lazy", decoding: "async" });
    image.style.width = `${100 * sample.frames}%`;
    const box = make(tag, { class: "view", ...attributes }, image);
    box.style.aspectRatio = `${sample.width} / ${sample.height}`;
    let drawing = null;
    const show = (frame) => {
      image.style.transform = `translateX(${(-100 * frame) / sample.frames}%)`;
      if (drawing) drawing.remove();
      drawing = null;
      if (labels && (sample.points || sample.pose)) { drawing = skeleton(sample, frame); box.append(drawing); }
    };
    show(Math.floor(sample.frames / 2));
    return { box, show };
  };

  const playing = (shown, sample) => {
    if (sample.frames < 2 || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    let timer = null, frame = 0;
    const start = () => { if (!timer) timer = setInterval(() => shown.show(frame++ % sample.frames), 130); };
    const stop = () => { clearInterval(timer); timer = null; shown.show(Math.floor(sample.frames / 2)); };
    shown.box.addEventListener("pointerenter", start);
    shown.box.addEventListener("pointerleave", stop);
    shown.box.addEventListener("focus", start);
    shown.box.addEventListener("blur", stop);
  };

  const card = (sample) => {
    const shown = view(sample, "button", { type: "button", onclick: () => open(sample) });
    playing(shown, sample);
    const why = (sample.why || []).length
      ? make("ul", { class: "why" }, ...sample.why.map(([rule, text]) => make("li", { title: data.rules[rule], text })))
      : null;
    const places = data.facets.map((facet, number) => (sample.facets ? facet.values[sample.facets[number]] : null));
    const quiet = [sample.note, ...places].filter((text, at, all) => text && all.indexOf(text) === at).join(" · ");
    return make("article", { class: `card${why ? " doubted" : ""}` }, shown.box,
      make("div", { class: "text" }, make("div", { class: "name", text: sample.name || sample.note }),
        sample.name ? make("div", { class: "quiet", text: quiet }) : null, why));
  };

  // ---- a sample from near
  const space = (pose) => {
    const canvas = make("canvas", { width: 700, height: 700, tabindex: 0, role: "img",
      "aria-label": "The pose in space; drag or use the arrow keys to turn it" });
    let yaw = 0, pitch = 0, frame = Math.floor(pose.length / 2), held = null;
    const all = pose.flat().filter(Boolean);
    const middle = [0, 1, 2].map((axis) => (Math.min(...all.map((p) => p[axis])) + Math.max(...all.map((p) => p[axis]))) / 2);
    const reach = Math.max(1, ...all.map((p) => Math.hypot(p[0] - middle[0], p[1] - middle[1], p[2] - middle[2])));
    const draw = () => {
      const context = canvas.getContext("2d");
      context.fillStyle = dark() ? "#101012" : "#55585e";
      context.fillRect(0, 0, 700, 700);
      const turned = pose[frame].map((p) => {
        if (!p) return null;
        const [x, y, z] = p.map((value, axis) => (value - middle[axis]) / reach);
        const u = x * Math.cos(yaw) + z * Math.sin(yaw), w = z * Math.cos(yaw) - x * Math.sin(yaw);
        const v = y * Math.cos(pitch) - w * Math.sin(pitch), depth = w * Math.cos(pitch) + y * Math.sin(pitch);
        const near = 330 / (1 + 0.25 * depth);
        return [350 + near * u, 350 + near * v, depth];
      });
      const bones = data.bones.filter(([a, b]) => turned[a] && turned[b])
        .sort(([a, b], [c, d]) => turned[c][2] + turned[d][2] - turned[a][2] - turned[b][2]);
      context.lineCap = "round";
      for (const [a, b] of bones) {
        const half = [(turned[a][0] + turned[b][0]) / 2, (turned[a][1] + turned[b][1]) / 2];
        for (const joint of [a, b]) {
          context.beginPath();
          context.moveTo(turned[joint][0], turned[joint][1]);
          context.lineTo(half[0], half[1]);
          context.strokeStyle = SIDES[data.sides[joint]];
          context.lineWidth = 7;
          context.stroke();
        }
      }
    };
    canvas.addEventListener("pointerdown", (event) => { held = [event.clientX, event.clientY]; canvas.setPointerCapture(event.pointerId); });
    canvas.addEventListener("pointerup", () => { held = null; });
    canvas.addEventListener("pointermove", (event) => {
      if (!held) return;
      yaw += (event.clientX - held[0]) / 120;
      pitch += (event.clientY - held[1]) / 120;
      held = [event.clientX, event.clientY];
      draw();
    });
    canvas.addEventListener("keydown", (event) => {
      const turn = { ArrowLeft: [-0.15, 0], ArrowRight: [0.15, 0], ArrowUp: [0, -0.15], ArrowDown: [0, 0.15] }[event.key];
      if (!turn) return;
      event.preventDefault();
      yaw += turn[0];
      pitch += turn[1];
      draw();
    });
    draw();
    return { canvas, show: (number) => { frame = number; draw(); } };
  };

  const open = (sample) => {
    const shown = view(sample, "div");
    const parts = [make("div", {}, shown.box)];
    const turning = sample.pose ? space(sample.pose) : null;
    if (sample.frames > 1) {
      const slider = make("input", { type: "range", min: 0, max: sample.frames - 1, value: Math.floor(sample.frames / 2),
        "aria-label": "Frame", style: "width:100%", oninput: () => {
          shown.show(Number(slider.value));
          if (turning) turning.show(Number(slider.value));
        } });
      parts[0].append(slider);
    }
    if (turning) parts.push(make("div", {}, turning.canvas, make("p", { text: "Drag to turn; orange is right, blue is left." })));
    const list = make("dl", {}, ...(sample.facts || []).flatMap(([key, value]) => [make("dt", { text: key }), make("dd", { text: value })]));
    const why = make("ul", { class: "why" }, ...(sample.why || []).map(([rule, text]) => make("li", { text: `${data.rules[rule]}: ${text}` })));
    parts.push(make("div", { class: "card", style: "border:0" }, list, why));
    find("closer-title").textContent = sample.name || sample.note;
    find("closer-body").replaceChildren(...parts);
    find("closer").showModal();
  };

  // ---- filters
  const chosen = { rule: "", facets: {}, missing: "", least: "", most: "", text: "" };
  const missing = (sample) => (sample.points ? sample.points[0].filter((point, joint) => !point && data.labelled[joint]).length : 0);
  const matches = (sample) => {
    if (chosen.rule === "any" && !sample.why.length) return false;
    if (chosen.rule === "none" && sample.why.length) return false;
    if (chosen.rule.startsWith("=") && !sample.why.some(([rule]) => rule === chosen.rule.slice(1))) return false;
    for (const [number, value] of Object.entries(chosen.facets)) {
      if (value !== "" && sample.facets[number] !== Number(value)) return false;
    }
    if (chosen.missing === "none" && missing(sample)) return false;
    if (chosen.missing === "some" && !missing(sample)) return false;
    if (chosen.missing === "many" && missing(sample) < 4) return false;
    if (chosen.missing.startsWith("=") && sample.points && sample.points[0][Number(chosen.missing.slice(1))]) return false;
    if (chosen.least !== "" && !(sample.size >= Number(chosen.least))) return false;
    if (chosen.most !== "" && !(sample.size !== null && sample.size <= Number(chosen.most))) return false;
    return !chosen.text || describe(sample).toLowerCase().includes(chosen.text.toLowerCase());
  };
  let found = [], drawn = 0;
  const more = () => {
    find("cards").append(...found.slice(drawn, drawn + PAGE).map(card));
    drawn = Math.min(found.length, drawn + PAGE);
    find("more").hidden = drawn >= found.length;
    find("more").textContent = `Show ${Math.min(PAGE, found.length - drawn)} more of ${found.length - drawn}`;
  };
  const refresh = () => {
    found = data.samples.filter(matches);
    drawn = 0;
    find("cards").replaceChildren();
    more();
    const doubted = found.filter((sample) => sample.why.length).length;
    find("count").textContent = `${found.length} of ${data.samples.length} samples on this page, ${doubted} of them suspicious, worst first. ${data.total}`;
  };
  const select = (label, options, set) => {
    const menu = make("select", { onchange: () => { set(menu.value); refresh(); } },
      ...options.map(([value, text]) => make("option", { value, text })));
    return make("label", {}, label, menu);
  };
  const field = (label, type, set) => {
    const input = make("input", { type, oninput: () => { set(input.value); refresh(); } });
    return make("label", {}, label, input);
  };
  const counts = {};
  for (const sample of data.samples) for (const rule of new Set(sample.why.map(([rule]) => rule))) counts[rule] = (counts[rule] || 0) + 1;
  const form = find("filters");
  form.addEventListener("submit", (event) => event.preventDefault());
  form.append(select("Suspicion", [["", "all samples"], ["any", "any"], ["none", "none"],
    ...Object.entries(data.rules).filter(([rule]) => counts[rule]).map(([rule, text]) => [`=${rule}`, `${text} (${counts[rule]})`])],
    (value) => { chosen.rule = value; }));
  data.facets.forEach((facet, number) => {
    const times = facet.values.map(() => 0);
    for (const sample of data.samples) times[sample.facets[number]]++;
    const shown = facet.values.map((value, at) => [at, `${value || "(none)"} (${times[at]})`]).filter(([at]) => times[at]);
    if (shown.length > 1) form.append(select(facet.name, [["", "all"], ...shown], (value) => { chosen.facets[number] = value; }));
  });
  if (data.samples.some((sample) => missing(sample))) {
    form.append(select("Joints", [["", "any"], ["none", "all labelled"], ["some", "some missing"], ["many", "4 or more missing"],
      ...data.joints.map((name, joint) => [`=${joint}`, `no ${name}`]).filter((_, joint) => data.labelled[joint])],
      (value) => { chosen.missing = value; }));
  }
  if (data.samples.some((sample) => sample.size !== null)) {
    form.append(field(`${data.size} from, px`, "number", (value) => { chosen.least = value; }),
      field("to, px", "number", (value) => { chosen.most = value; }));
  }
  form.append(field("Text", "search", (value) => { chosen.text = value; }));
  if (data.joints.length) {
    const tick = make("input", { type: "checkbox", checked: true, onchange: () => { labels = tick.checked; refresh(); } });
    form.append(make("label", { class: "tick" }, tick, "Labels: right orange, left blue"));
  }
  find("more").addEventListener("click", more);

  // ---- augmented versions
  if (data.versions.length) {
    find("augmented").hidden = false;
    document.querySelector('nav a[href="#augmented"]').hidden = false;
    find("augmented-text").textContent = data.augmented;
    find("versions").append(...data.versions.map(card));
  }

  // ---- the map
  let plot = null;
  if (data.map) {
    find("map").hidden = false;
    document.querySelector('nav a[href="#map"]').hidden = false;
    const map = data.map, canvas = find("plot");
    find("map-text").textContent = `${map.title}: the two directions in which they differ most (${map.explained[0]} and ${map.explained[1]} % of the variance), ${map.x.length} samples.`;
    const legend = find("map-legend");
    data.splits.forEach((name, number) => {
      const swatch = make("span", { class: "swatch" });
      swatch.style.background = COLOURS[number % COLOURS.length];
      legend.append(swatch, name);
    });
    let picked = -1;
    // Both axes have one scale, so that what is far apart looks so.
    const ends = [map.x, map.y].map((all) => [all.reduce((a, b) => Math.min(a, b)), all.reduce((a, b) => Math.max(a, b))]);
    const middle = ends.map(([low, high]) => (low + high) / 2);
    const place = (number) => {
      const fit = Math.min(...[canvas.width, canvas.height].map((side, axis) => (0.94 * side) / Math.max(1, ends[axis][1] - ends[axis][0])));
      return [canvas.width / 2 + fit * (map.x[number] - middle[0]), canvas.height / 2 - fit * (map.y[number] - middle[1])];
    };
    plot = () => {
      const box = canvas.getBoundingClientRect(), scale = window.devicePixelRatio || 1;
      canvas.width = Math.max(1, Math.round(box.width * scale));
      canvas.height = Math.max(1, Math.round(box.height * scale));
      const context = canvas.getContext("2d");
      for (let number = 0; number < map.x.length; number++) {
        const [x, y] = place(number), large = map.card[number] >= 0;
        context.globalAlpha = large ? 0.9 : 0.35;
        context.fillStyle = COLOURS[map.split[number] % COLOURS.length];
        context.beginPath();
        context.arc(x, y, (large ? 3 : 1.6) * scale, 0, 2 * Math.PI);
        context.fill();
      }
      if (picked >= 0) {
        const [x, y] = place(picked);
        context.globalAlpha = 1;
        context.strokeStyle = dark() ? "#fff" : "#000";
        context.lineWidth = 2 * scale;
        context.beginPath();
        context.arc(x, y, 7 * scale, 0, 2 * Math.PI);
        context.stroke();
      }
    };
    const pick = (event) => {
      const box = canvas.getBoundingClientRect(), scale = canvas.width / box.width;
      const x = (event.clientX - box.left) * scale, y = (event.clientY - box.top) * scale;
      let best = 20 * scale;
      const before = picked;
      picked = -1;
      for (let number = 0; number < map.x.length; number++) {
        const at = place(number), far = Math.hypot(at[0] - x, at[1] - y) - (map.card[number] >= 0 ? 3 * scale : 0);
        if (far < best) { best = far; picked = number; }
      }
      if (picked !== before) say();
    };
    const say = () => {
      plot();
      if (picked < 0) return;
      const shown = map.card[picked];
      find("map-name").textContent = `${map.name[picked]} (${data.splits[map.split[picked]]})${shown >= 0 ? "" : ", not on this page"}`;
      find("map-card").replaceChildren(...(shown >= 0 ? [card(data.samples[shown])] : []));
    };
    const see = () => { if (picked >= 0 && map.card[picked] >= 0) open(data.samples[map.card[picked]]); };
    canvas.addEventListener("pointermove", pick);
    canvas.addEventListener("click", (event) => { pick(event); see(); });
    canvas.addEventListener("keydown", (event) => {
      if (event.key === "Enter") { see(); return; }
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const shown = map.card.map((card, number) => (card >= 0 ? number : -1)).filter((number) => number >= 0)
        .sort((a, b) => map.x[a] - map.x[b]);
      if (!shown.length) return;
      picked = shown[(shown.indexOf(picked) + step + shown.length) % shown.length];
      say();
    });
    new ResizeObserver(plot).observe(canvas);
  }
  refresh();
  themed();
})();
