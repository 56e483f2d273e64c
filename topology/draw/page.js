"use strict";
(() => {
  const nodes = [...document.querySelectorAll("[data-node]")], edges = [...document.querySelectorAll("[data-from]")];
  const find = document.getElementById("find"), reach = document.getElementById("reach"), needs = document.getElementById("needs");
  const whole = document.getElementById("whole"), picture = document.querySelector(".picture");
  const faded = new Set(document.querySelectorAll(".faded"));
  let chosen = "", far = false;

  // Of one service: its neighbours, or all that can be reached from it.
  const bright = () => {
    const out = new Set([chosen]);
    if (!far) {
      for (const e of edges) {
        if (e.dataset.from === chosen) out.add(e.dataset.to);
        if (e.dataset.to === chosen) out.add(e.dataset.from);
      }
      return out;
    }
    for (let before = 0; before !== out.size;) {
      before = out.size;
      for (const e of edges) if (out.has(e.dataset.from) && !e.classList.contains("refused")) out.add(e.dataset.to);
    }
    return out;
  };
  const show = () => {
    reach.setAttribute("aria-pressed", String(far));
    needs.setAttribute("aria-pressed", String(!far));
    if (!chosen) {
      for (const x of [...nodes, ...edges]) x.classList.toggle("faded", faded.has(x));
      return;
    }
    const on = bright();
    for (const n of nodes) n.classList.toggle("faded", !on.has(n.dataset.node));
    for (const e of edges) {
      const near = far ? on.has(e.dataset.from) && on.has(e.dataset.to) : e.dataset.from === chosen || e.dataset.to === chosen;
      e.classList.toggle("faded", !near);
    }
  };
  const choose = (name) => {
    chosen = nodes.some((n) => n.dataset.node === name) ? name : "";
    find.value = chosen;
    show();
  };
  for (const n of nodes) {
    n.setAttribute("tabindex", "0");
    n.setAttribute("role", "button");
    n.setAttribute("aria-label", n.dataset.node);
    n.addEventListener("click", () => choose(n.dataset.node));
    n.addEventListener("keydown", (k) => { if (k.key === "Enter" || k.key === " ") { k.preventDefault(); choose(n.dataset.node); } });
  }
  find.addEventListener("input", () => {
    const n = nodes.find((n) => n.dataset.node === find.value);
    chosen = n ? find.value : "";
    show();
    if (n) n.scrollIntoView({block: "center", inline: "center"});
  });
  find.form.addEventListener("submit", (s) => s.preventDefault());
  reach.addEventListener("click", () => { far = true; show(); });
  needs.addEventListener("click", () => { far = false; show(); });
  whole.addEventListener("click", () => whole.setAttribute("aria-pressed", String(picture.classList.toggle("whole"))));
  document.getElementById("clear").addEventListener("click", () => choose(""));
  document.addEventListener("keydown", (k) => { if (k.key === "Escape") choose(""); });
})();
