"use strict";
// A table that can be sorted and filtered. Rows are drawn in batches, as there may
// be 100,000 of them. Columns are {name, of: row => value, show: value => text,
// number: bool}; values are compared as they are, texts by the user's language.
function sortableTable(place, {columns, label, batch = 200, sort = null, descending = true}) {
  let rows = [], shown = batch, filter = "", by = sort, down = descending;
  const collator = new Intl.Collator(undefined, {numeric: true});
  const search = document.createElement("input");
  search.type = "search";
  search.placeholder = "filter";
  search.setAttribute("aria-label", "filter " + label);
  const scroll = document.createElement("div");
  scroll.className = "scroll";
  const table = document.createElement("table");
  table.setAttribute("aria-label", label);
  const head = table.createTHead().insertRow();
  const body = table.createTBody();
  const more = document.createElement("p");
  more.className = "faint";
  more.setAttribute("aria-live", "polite");
  const heads = columns.map((column, i) => {
    const th = document.createElement("th");
    th.scope = "col";
    if (column.number) th.className = "n";
    const button = document.createElement("button");
    button.textContent = column.name;
    button.addEventListener("click", () => {
      down = by === i ? !down : !!column.number;
      by = i;
      draw();
    });
    th.append(button);
    head.append(th);
    return th;
  });
  search.addEventListener("input", () => { filter = search.value.toLowerCase(); shown = batch; draw(); });
  scroll.append(table);
  place.append(search, scroll, more);

  function chosen() {
    let list = rows;
    if (filter) list = list.filter((row) => columns.some((c) => String(c.of(row) ?? "").toLowerCase().includes(filter)));
    if (by === null) return list;
    const of = columns[by].of, sign = down ? -1 : 1;
    return list.slice().sort((a, b) => {
      const x = of(a), y = of(b);
      return sign * (typeof x === "number" && typeof y === "number" ? x - y : collator.compare(String(x ?? ""), String(y ?? "")));
    });
  }
  function draw() {
    const list = chosen();
    heads.forEach((th, i) => th.setAttribute("aria-sort", by !== i ? "none" : down ? "descending" : "ascending"));
    const lines = list.slice(0, shown).map((row) => {
      const tr = document.createElement("tr");
      for (const c of columns) {
        const td = tr.insertCell();
        const value = c.of(row);
        td.textContent = c.show ? c.show(value, row) : value ?? "";
        if (c.number) td.className = "n";
      }
      return tr;
    });
    body.replaceChildren(...lines);
    more.replaceChildren();
    if (list.length > shown) {
      const button = document.createElement("button");
      button.textContent = "show more";
      button.addEventListener("click", () => { shown *= 5; draw(); });
      more.append(`${format.count(shown)} of ${format.count(list.length)} `, button);
    } else if (filter) {
      more.textContent = `${format.count(list.length)} of ${format.count(rows.length)}`;
    }
  }
  return {set(next) { rows = next; draw(); }};
}

// The tables of a run, as its report has them.
function tablesOfRun(place, sort) {
  const time = (ns) => ns ? format.time(ns) : "";
  return sortableTable(place, {
    label: "tables", sort,
    columns: [
      {name: "table", of: (t) => t.table.schema + "." + t.table.name},
      {name: "rows copied", of: (t) => t.rows, show: format.count, number: true},
      {name: "bytes", of: (t) => t.bytes, show: format.bytes, number: true},
      {name: "parts", of: (t) => t.parts, number: true},
      {name: "copy", of: (t) => t.copy_ns, show: (ns, t) => t.bundle ? "bundle" : time(ns), number: true},
      {name: "indexes", of: (t) => t.indexes, number: true},
      {name: "index time", of: (t) => t.index_ns, show: time, number: true},
    ],
  });
}
