"use strict";
// The parts of a report that are drawn: the timeline and the tables.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const stages = [...new Set(data.timeline.spans.map((s) => s.stage))];
  timeline(document.getElementById("timeline"), stages).set(data.timeline);
  const time = (ns) => ns ? format.time(ns) : "";
  sortableTable(document.getElementById("tables"), {
    label: "tables", sort: 2,
    columns: [
      {name: "table", of: (t) => t.table.schema + "." + t.table.name},
      {name: "rows", of: (t) => t.rows, show: format.count, number: true},
      {name: "bytes", of: (t) => t.bytes, show: format.bytes, number: true},
      {name: "parts", of: (t) => t.parts, number: true},
      {name: "copy", of: (t) => t.copy_ns, show: (ns, t) => t.bundle ? "bundle" : time(ns), number: true},
      {name: "indexes", of: (t) => t.indexes, number: true},
      {name: "index time", of: (t) => t.index_ns, show: time, number: true},
    ],
  }).set(data.tables);
  sortableTable(document.getElementById("tasks"), {
    label: "tasks", sort: 3,
    columns: [
      {name: "task", of: (s) => s.task},
      {name: "worker", of: (s) => data.timeline.lanes[s.lane]},
      {name: "start", of: (s) => s.start, show: format.time, number: true},
      {name: "took", of: (s) => s.took, show: format.time, number: true},
      {name: "rows", of: (s) => s.rows, show: (n) => n ? format.count(n) : "", number: true},
      {name: "bytes", of: (s) => s.bytes, show: (n) => n ? format.bytes(n) : "", number: true},
      {name: "retries", of: (s) => s.retries, show: (n) => n || "", number: true},
    ],
  }).set(data.timeline.spans);
})();
