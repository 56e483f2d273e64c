// The console's own script: the code of a one-time link, and live events. Everything else is forms and links.
"use strict";

// The code stands behind # in the link, so that no server is told it before this form sends it.
const form = document.getElementById("sign-in");
const useLink = () => {
  if (location.hash.length < 2) return;
  form.elements.code.value = decodeURIComponent(location.hash.slice(1));
  history.replaceState(null, "", location.pathname);
  form.requestSubmit();
};
if (form) {
  addEventListener("hashchange", useLink); // the link was opened where this page was open already
  useLink();
}

const table = document.getElementById("live");
if (table) {
  const body = table.tBodies[0], state = document.getElementById("state"), pause = document.getElementById("pause"), omitted = document.getElementById("omitted");
  const most = 300;
  let left = 0, source = null;
  const follow = () => {
    source = new EventSource("/live/stream?auto=1&q=" + encodeURIComponent(table.dataset.query));
    state.textContent = "connecting";
    source.onopen = () => { state.textContent = "live"; };
    source.onerror = () => { state.textContent = source.readyState === EventSource.CLOSED ? "ended; reload the page" : "lost; trying again"; };
    source.addEventListener("rows", (e) => {
      body.insertAdjacentHTML("afterbegin", e.data); // made by our templates, which write what events say as words
      while (body.rows.length > most) body.deleteRow(-1);
    });
    source.addEventListener("omitted", (e) => {
      left += Number(e.data);
      omitted.textContent = "· " + left + " more were not shown: narrow the query";
    });
    source.addEventListener("over", () => { source.close(); location.assign("/sign-in"); });
  };
  pause.addEventListener("click", () => {
    const on = pause.getAttribute("aria-pressed") === "true";
    pause.setAttribute("aria-pressed", String(!on));
    pause.textContent = on ? "Pause" : "Go on";
    if (on) { follow(); } else { source.close(); state.textContent = "paused"; }
  });
  follow();
}

// A picture that is larger than its frame begins where it is about something.
const toFocus = () => {
  const frame = document.querySelector(".picture[data-focus]");
  const box = frame && [...frame.querySelectorAll("[data-node]")].find((n) => n.dataset.node === frame.dataset.focus);
  if (!box) return;
  const at = box.getBoundingClientRect(), around = frame.getBoundingClientRect();
  frame.scrollLeft += at.left + at.width / 2 - around.left - around.width / 2;
};
toFocus();
document.body.addEventListener("htmx:afterSettle", toFocus);

// What a browser shows after an error of a query is the answer, too.
document.body.addEventListener("htmx:beforeSwap", (e) => {
  if (e.detail.xhr.status === 400) { e.detail.shouldSwap = true; e.detail.isError = false; }
});
