"use strict";
// The live page of a run: it draws what the server sends.
(() => {
  const byId = (id) => document.getElementById(id);
  const text = (id, value) => { const e = byId(id); if (e.textContent !== value) e.textContent = value; };
  const stages = ["copy", "index", "attach", "analyze", "fkey", "blob", "misc"];
  function rows(id, list, cells) {
    byId(id).replaceChildren(...list.map((item) => {
      const tr = document.createElement("tr");
      for (const [value, number] of cells(item)) {
        const td = tr.insertCell();
        td.textContent = value;
        if (number) td.className = "n";
      }
      return tr;
    }));
  }
  function items(id, list) {
    byId(id).replaceChildren(...list.map((value) => {
      const li = document.createElement("li");
      li.textContent = value;
      return li;
    }));
  }
  function cards(list) {
    byId("cards").replaceChildren(...list.filter(Boolean).map(([name, value, mood]) => {
      const div = document.createElement("div"), dt = document.createElement("dt"), dd = document.createElement("dd");
      dt.textContent = name;
      dd.textContent = value;
      if (mood) dd.className = mood;
      div.append(dt, dd);
      return div;
    }));
  }

  function status({status: s, outlook: o, stages: counts}) {
    document.title = `${format.percent(o.fraction)} ${s.run}`;
    text("run", s.database ? `${s.run}, ${s.database}` : s.run);
    text("state", s.paused ? s.state + ", paused" : s.state);
    byId("state").className = "state " + ({complete: "good", failed: "bad", cancelled: "bad"}[s.state] ?? "");
    text("about", `run ${s.run_uid}, planner ${s.planner || "none"}`);
    byId("bar").setAttribute("aria-valuenow", Math.floor(o.fraction * 100));
    byId("bar").firstElementChild.style.width = o.fraction * 100 + "%";
    const n = s.tasks ?? {}, total = Object.values(n).reduce((a, b) => a + b, 0), failed = n.failed ?? 0;
    cards([
      ["done", format.percent(o.fraction)],
      ["COPY data", format.bytes(o.bytes)],
      ["tables on disk", format.bytes(s.table_bytes)],
      ["rate", format.bytes(o.bytes_per_second) + "/s"],
      ["left", o.left.replace(" left", "") || "–"],
      ["took so far", format.time((Date.parse(s.at) - Date.parse(s.started)) * 1e6)],
      ["tasks", `${format.count(n.done ?? 0)} of ${format.count(total)}`],
      failed ? ["failed", format.count(failed), "bad"] : null,
      s.state === "running" ? ["bottleneck", s.bottleneck || "–"] : null,
      ["snapshot", s.snapshot.held ? "held for " + format.time(s.snapshot.age_ns) : s.snapshot.released ? "released" : s.snapshot.id ? "lost" : "none",
        s.snapshot.held || s.snapshot.released || !s.snapshot.id ? "" : "bad"],
    ]);
    items("warnings", [...(s.throttle?.text ? [s.throttle.text] : []), ...(s.throttle?.unknown ?? []).map((u) => "limit is not kept: " + u),
      ...(s.running ?? []).filter((r) => r.stall).map((r) => `${r.task} on ${r.worker}: ${r.stall}`), ...(s.warnings ?? [])]);
    byId("failed").hidden = !s.failures?.length;
    items("failures", (s.failures ?? []).slice(0, 100).map((f) => `${f.task}, after ${f.attempts} attempts: ${f.reason} (planner retry --run ${s.run} ${f.task})`));
    rows("running", (s.running ?? []).slice(0, 200), (r) => [
      [r.task], [(r.phase ?? "").replace("building index: ", "")],
      [r.phase_total ? format.percent(Math.min(r.phase_done / r.phase_total, 1)) : r.weight && r.bytes ? "~" + format.percent(Math.min(r.bytes / r.weight, 0.99)) : "", true],
      [r.bytes ? format.bytes(r.bytes) : "", true], [format.time((Date.parse(s.at) - Date.parse(r.since)) * 1e6), true], [r.worker],
    ]);
    rows("stages", counts, (c) => [[c.stage], [format.count(c.done), true], [format.count(c.tasks), true], [c.running || "", true], [c.failed || "", true]]);
    byId("fleet").hidden = !s.workers?.length; // whom only the planner of an embedded queue can ask
    rows("workers", s.workers ?? [], (w) => [
      [w.name + (w.draining ? " (drains)" : "")], [w.version], [w.running?.length ?? 0, true], [format.bytes(w.bytes), true], [format.bytes(w.bytes_per_second) + "/s", true],
    ]);
  }

  function databases(list) {
    rows("databases", list, ({database, status: s}) => {
      if (!s) return [[database], ["not begun"], ["", true], ["", true], ["", true], ["", true], ["", true]];
      const n = s.tasks ?? {};
      return [
        [database], [s.state], [format.count(n.done ?? 0), true], [format.count(Object.values(n).reduce((a, b) => a + b, 0)), true],
        [n.failed || "", true], [format.count(s.rows), true], [format.bytes(s.bytes), true],
      ];
    });
  }

  let lines = null, tables = null;
  if (byId("timeline")) {
    lines = timeline(byId("timeline"), stages);
    tables = tablesOfRun(byId("tables"), null);
  }
  function detail(d) {
    lines?.set(d.timeline);
    tables?.set(d.tables);
    throughput(d.timeline);
  }

  // The bytes of each task are spread over the time that it took.
  function throughput(t) {
    const canvas = byId("throughput"), width = canvas.clientWidth || 600, height = 110, scale = devicePixelRatio || 1;
    const columns = Math.max(Math.floor(width / 3), 1), per = Math.max(t.end, 1e9) / columns, sums = new Array(columns).fill(0);
    for (const s of t.spans) {
      if (!s.bytes || s.stage !== "copy") continue;
      const a = s.start / per, b = Math.max((s.start + s.took) / per, a + 1e-9);
      for (let i = Math.floor(a); i < Math.min(b, columns); i++) sums[i] += s.bytes * (Math.min(b, i + 1) - Math.max(a, i)) / (b - a);
    }
    const most = Math.max(...sums, 1), c = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
    canvas.width = width * scale;
    canvas.height = height * scale;
    c.scale(scale, scale);
    c.fillStyle = style.getPropertyValue("--copy").trim();
    sums.forEach((v, i) => c.fillRect(i * width / columns, height - v / most * (height - 18), width / columns - 1, v / most * (height - 18)));
    const peak = sums.some((v) => v > 0) ? `at most ${format.bytes(most / per * 1e9)}/s, of tasks that are done` : "no copy is done yet";
    c.fillStyle = style.getPropertyValue("--faint").trim();
    c.font = "11px system-ui, sans-serif";
    c.fillText(peak, 4, 11);
    canvas.setAttribute("aria-label", `Rows copied over time, ${peak}`);
  }

  const events = new EventSource("events");
  let over = false;
  events.addEventListener("status", (e) => {
    const told = JSON.parse(e.data);
    over = !["running", "planning"].includes(told.status.state);
    status(told);
  });
  events.addEventListener("detail", (e) => detail(JSON.parse(e.data)));
  events.addEventListener("databases", (e) => databases(JSON.parse(e.data).databases));
  events.addEventListener("gone", (e) => { text("state", e.data); events.close(); });
  events.addEventListener("error", () => { if (over) events.close(); else if (events.readyState !== EventSource.CLOSED) text("state", "no connection, trying again"); });

  const form = byId("control");
  form?.addEventListener("submit", (e) => e.preventDefault());
  form?.addEventListener("click", async (e) => {
    const verb = e.target.dataset?.do;
    if (!verb || e.target.dataset.ask && !confirm(e.target.dataset.ask)) return;
    const answer = await fetch("control/" + verb, {
      method: "POST",
      headers: {"Authorization": "Bearer " + byId("token").value, "Content-Type": "application/json"},
      body: JSON.stringify(verb === "scale" ? {[byId("stage").value]: Number(byId("cap").value)} : {}),
    }).then(async (r) => (r.ok ? verb + ": done" : verb + ": " + await r.text()), (err) => verb + ": " + err.message);
    text("answer", answer);
  });
})();
