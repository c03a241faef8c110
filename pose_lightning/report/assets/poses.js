"use strict";

/* Truth and prediction of one clip, in mm around the pelvis (x right, y down, z away): drag or arrow keys turn it. */
DRAW.pose = (figure, data) => {
  const plot = figure.querySelector(".plot");
  const frames = data.truth.length;
  const state = { frame: frames - 1, yaw: 0.5, pitch: 0.15, timer: null };
  const controls = node("div", { class: "controls" });
  plot.before(controls);
  const play = node("button", { type: "button", "aria-pressed": "false" }, controls, "Play");
  const slider = node("input", { type: "range", min: 1, max: frames, value: frames, "aria-label": "Frame" }, controls);
  const said = node("span", { "aria-live": "polite" }, controls);
  const canvas = node("canvas", {
    tabindex: "0", role: "img",
    "aria-label": `${data.label}: true and predicted skeleton in 3-D. Arrow keys turn it.`,
  }, plot);
  const size = Math.max(...data.truth.flat(2).map(Math.abs), 1) * 1.15;

  function draw() {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width) return;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const style = getComputedStyle(document.documentElement);
    const scale = Math.min(width, height) / (2 * size);
    const turn = ([x, y, z]) => {
      const [sx, cx, sy, cy] = [Math.sin(state.pitch), Math.cos(state.pitch), Math.sin(state.yaw), Math.cos(state.yaw)];
      const [tx, tz] = [x * cy + z * sy, z * cy - x * sy];
      return [width / 2 + tx * scale, height / 2 + (y * cx - tz * sx) * scale, tz * cx + y * sx];
    };
    const floor = Math.max(...data.truth.flat().map((joint) => joint[1]));
    pen.strokeStyle = style.getPropertyValue("--line");
    pen.lineWidth = 1;
    for (let step = -4; step <= 4; step++) {
      for (const [from, to] of [[[step * 200, floor, -800], [step * 200, floor, 800]], [[-800, floor, step * 200], [800, floor, step * 200]]]) {
        const [a, b] = [turn(from), turn(to)];
        pen.beginPath(); pen.moveTo(a[0], a[1]); pen.lineTo(b[0], b[1]); pen.stroke();
      }
    }
    const limbs = [];
    for (const [poses, name] of [[data.truth, "--series-0"], [data.preds, "--series-1"]]) {
      const joints = poses[state.frame].map(turn);
      for (const [start, end] of data.bones) {
        const isRight = data.right.includes(start) || data.right.includes(end);
        limbs.push({ a: joints[start], b: joints[end], colour: style.getPropertyValue(name), isRight });
      }
    }
    limbs.sort((one, other) => other.a[2] + other.b[2] - one.a[2] - one.b[2]); // the far ones first
    pen.lineCap = "round";
    for (const { a, b, colour: stroke, isRight } of limbs) {
      pen.strokeStyle = stroke;
      pen.globalAlpha = isRight ? 1 : 0.6;
      pen.lineWidth = 4;
      pen.beginPath(); pen.moveTo(a[0], a[1]); pen.lineTo(b[0], b[1]); pen.stroke();
    }
    pen.globalAlpha = 1;
    said.textContent = `frame ${state.frame + 1} of ${frames}, ${format(data.errors[state.frame])} mm off`;
  }

  const stop = () => { clearInterval(state.timer); state.timer = null; play.setAttribute("aria-pressed", "false"); play.textContent = "Play"; };
  play.addEventListener("click", () => {
    if (state.timer) { stop(); return; }
    play.setAttribute("aria-pressed", "true");
    play.textContent = "Stop";
    state.timer = setInterval(() => { state.frame = (state.frame + 1) % frames; slider.value = state.frame + 1; draw(); }, 250);
  });
  slider.addEventListener("input", () => { stop(); state.frame = slider.value - 1; draw(); });
  const tilt = (by) => { state.pitch = Math.max(-1.5, Math.min(1.5, state.pitch + by)); };
  canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); state.from = [event.clientX, event.clientY]; });
  canvas.addEventListener("pointermove", (event) => {
    if (!state.from) return;
    state.yaw += (event.clientX - state.from[0]) * 0.01;
    tilt((event.clientY - state.from[1]) * 0.01);
    state.from = [event.clientX, event.clientY];
    draw();
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { state.from = null; });
  canvas.addEventListener("keydown", (event) => {
    const turn = { ArrowLeft: [-0.15, 0], ArrowRight: [0.15, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] }[event.key];
    if (!turn) return;
    event.preventDefault();
    state.yaw += turn[0];
    tilt(turn[1]);
    draw();
  });
  const update = keepDrawn(figure, draw);
  document.addEventListener("theme", update);
};
