"use strict";
// A timeline of tasks: a lane for each slot of each worker, a bar for each task.
// data is {lanes: [name], spans: [{task, kind, stage, lane, start, took, ...}], end},
// times in nanoseconds since the run began. Drag or use the arrow keys to move,
// the wheel with Ctrl, or + and -, to zoom, 0 to see all.
function timeline(place, stages) {
  const rowHeight = 16, axis = 22, names = 150;
  let data = {lanes: [], spans: [], end: 1}, from = 0, to = 1, all = true;
  const tools = document.createElement("div");
  tools.className = "tools";
  const box = document.createElement("div");
  box.className = "timeline";
  const canvas = document.createElement("canvas");
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "img");
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  for (const [text, label, act] of [["−", "zoom out", () => zoom(2)], ["+", "zoom in", () => zoom(0.5)], ["all", "show all", reset]]) {
    const button = document.createElement("button");
    button.textContent = text;
    button.setAttribute("aria-label", label);
    button.addEventListener("click", act);
    tools.append(button);
  }
  for (const stage of stages) {
    const key = document.createElement("span");
    key.className = "key";
    const mark = document.createElement("i");
    mark.style.background = `var(--${stage})`;
    key.append(mark, stage);
    tools.append(key);
  }
  box.append(canvas, tip);
  place.append(tools, box);

  const left = () => Math.min(names, canvas.clientWidth / 4);
  const wide = () => Math.max(canvas.clientWidth - left() - 8, 1);
  const x = (t) => left() + (t - from) / (to - from) * wide();
  const time = (px) => from + (px - left()) / wide() * (to - from);

  function draw() {
    const height = axis + Math.max(data.lanes.length, 1) * rowHeight + 6, scale = window.devicePixelRatio || 1;
    canvas.style.height = height + "px";
    canvas.width = canvas.clientWidth * scale;
    canvas.height = height * scale;
    const c = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
    const color = (name) => style.getPropertyValue("--" + name).trim();
    c.scale(scale, scale);
    c.font = "11px system-ui, sans-serif";
    c.textBaseline = "middle";
    const step = niceStep((to - from) / Math.max(wide() / 90, 1));
    for (let t = Math.ceil(from / step) * step; t <= to; t += step) {
      c.fillStyle = color("line");
      c.fillRect(x(t), axis - 4, 1, height);
      c.fillStyle = color("faint");
      c.fillText(format.time(t), x(t) + 3, axis / 2);
    }
    for (const s of data.spans) {
      const a = Math.max(x(s.start), left()), b = Math.min(x(s.start + s.took), left() + wide());
      if (b < left() || a > left() + wide()) continue;
      c.fillStyle = color(s.stage);
      c.fillRect(a, axis + s.lane * rowHeight + 1, Math.max(b - a, 1), rowHeight - 2);
      const name = s.task.split(".").slice(2).join(".");
      if (b - a > 40) {
        c.save();
        c.beginPath();
        c.rect(a, axis + s.lane * rowHeight, b - a - 2, rowHeight);
        c.clip();
        c.fillStyle = "#fff";
        c.fillText(name, a + 3, axis + s.lane * rowHeight + rowHeight / 2);
        c.restore();
      }
    }
    c.fillStyle = color("card");
    c.fillRect(0, axis, left() - 1, height);
    c.fillStyle = color("faint");
    data.lanes.forEach((name, i) => {
      if (i > 0 && data.lanes[i - 1] === name) return;
      c.save();
      c.beginPath();
      c.rect(0, axis + i * rowHeight, left() - 6, rowHeight);
      c.clip();
      c.fillText(name, 6, axis + i * rowHeight + rowHeight / 2);
      c.restore();
    });
    canvas.setAttribute("aria-label", `Timeline of ${data.spans.length} tasks on ${data.lanes.length} slots, ${format.time(from)} to ${format.time(to)}; the table of tasks has the same. Arrow keys move, plus and minus zoom, 0 shows all.`);
  }
  function niceStep(ns) {
    const seconds = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400];
    return (seconds.find((s) => s * 1e9 >= ns) ?? 86400 * 7) * 1e9;
  }
  function show(a, b) {
    const span = Math.min(Math.max(b - a, 1e6), data.end);
    from = Math.min(Math.max(a, 0), data.end - span);
    to = from + span;
    all = span >= data.end;
    draw();
  }
  function zoom(factor, at = (from + to) / 2) { show(at - (at - from) * factor, at + (to - at) * factor); }
  function reset() { show(0, data.end); }

  let dragged = null;
  canvas.addEventListener("pointerdown", (e) => { dragged = {px: e.offsetX, from, to}; canvas.setPointerCapture(e.pointerId); });
  canvas.addEventListener("pointerup", () => { dragged = null; });
  canvas.addEventListener("pointermove", (e) => {
    if (dragged) {
      const by = (dragged.px - e.offsetX) / wide() * (dragged.to - dragged.from);
      show(dragged.from + by, dragged.to + by);
      return;
    }
    const lane = Math.floor((e.offsetY - axis) / rowHeight), t = time(e.offsetX), slack = 2 / wide() * (to - from);
    const hit = data.spans.find((s) => s.lane === lane && s.start - slack <= t && t <= s.start + s.took + slack);
    tip.hidden = !hit;
    if (!hit) return;
    tip.textContent = [hit.task, format.time(hit.took), hit.bytes ? format.bytes(hit.bytes) : "", hit.rows ? format.count(hit.rows) + " rows" : ""].filter(Boolean).join(" · ");
    tip.style.left = Math.min(e.offsetX + 12, Math.max(canvas.clientWidth - 280, 0)) + "px";
    tip.style.top = e.offsetY + 16 + "px";
  });
  canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
  canvas.addEventListener("wheel", (e) => {
    if (!e.ctrlKey) return;
    e.preventDefault();
    zoom(e.deltaY > 0 ? 1.25 : 0.8, time(e.offsetX));
  }, {passive: false});
  canvas.addEventListener("keydown", (e) => {
    const by = (to - from) / 5;
    const act = {ArrowLeft: () => show(from - by, to - by), ArrowRight: () => show(from + by, to + by), "+": () => zoom(0.5), "-": () => zoom(2), "0": reset}[e.key];
    if (act) { e.preventDefault(); act(); }
  });
  let width = 0;
  new ResizeObserver(() => requestAnimationFrame(() => {
    if (canvas.clientWidth !== width) { width = canvas.clientWidth; draw(); } // and not for the height that draw sets
  })).observe(box);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  return {
    set(next) {
      data = next;
      data.end = Math.max(data.end, 1e6);
      if (all) reset(); else draw();
    },
  };
}
