// Keeps the parts of a page that change current. Without it a page is as it was when it was loaded.
"use strict";

(() => {
  const region = document.querySelector("[data-live]");
  const state = document.querySelector("#live");
  if (!region || !state || !window.EventSource) return;

  let source = null;
  const button = document.createElement("button");
  button.type = "button";
  const word = document.createElement("span");
  state.append(word, button);
  state.hidden = false;

  const tell = (tone, text) => {
    word.className = "pill " + tone;
    word.textContent = text;
  };

  // What a person has the focus in is not taken away from under them.
  const busy = () => region.contains(document.activeElement) || !getSelection().isCollapsed;

  const open = () => {
    tell("dim", "connecting");
    button.textContent = "Pause";
    source = new EventSource(region.dataset.live);
    source.onopen = () => tell("ok", "live");
    source.onerror = () => tell("warn", "not live");
    source.onmessage = (event) => {
      tell("ok", "live");
      if (!busy() && event.data !== region.innerHTML) region.innerHTML = event.data;
    };
  };
  const close = () => {
    source.close();
    source = null;
    tell("dim", "paused");
    button.textContent = "Go on";
  };

  button.addEventListener("click", () => (source ? close() : open()));
  // A page that nobody sees asks for nothing.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden && source) close();
    else if (!document.hidden && !source) open();
  });
  open();
})();
