"use strict";
// The parts of a report that are drawn: the timeline and the tables.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const stages = [...new Set(data.timeline.spans.map((s) => s.stage))];
  timeline(document.getElementById("timeline"), stages).set(data.timeline);
  tablesOfRun(document.getElementById("tables"), 2).set(data.tables);
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
