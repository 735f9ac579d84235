"use strict";
// What pages show of numbers, as the tables on a terminal do.
const format = {
  count: (n) => String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, " "),
  bytes: (n) => {
    if (n < 1024) return Math.round(n) + " B";
    let i = -1;
    do { n /= 1024; i++; } while (n >= 999.5 && i < 4);
    return n.toFixed(n < 9.995 ? 2 : n < 99.95 ? 1 : 0) + " " + "kMGTP"[i] + "B";
  },
  time: (ns) => {
    const s = ns / 1e9;
    if (s < 1) return Math.round(s * 1000) + " ms";
    if (s < 60) return s.toFixed(s < 10 ? 2 : 1) + " s";
    const m = Math.floor(s / 60);
    if (m < 60) return m + " min " + Math.round(s % 60) + " s";
    return Math.floor(m / 60) + " h " + (m % 60) + " min";
  },
  percent: (share) => Math.floor(share * 100) + " %",
};
