"use strict";
// Asks for the page again every few seconds and changes what is different, so that a selection, an open list and the place
// on the page stay. The server writes all of the page, so there is one place that knows how it looks and escapes names.
(() => {
  const USUAL = 3000, LONGEST = 60000, PATIENCE = 10000;
  const state = document.getElementById("state");
  let wait = USUAL, timer = 0, answered = new Date();

  function say(text, lost) {
    if (state.textContent !== text) state.textContent = text;
    state.classList.toggle("lost", lost);
  }

  function morph(old, fresh) {
    if (old.nodeName !== fresh.nodeName || old.id !== fresh.id) return old.replaceWith(fresh);
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    for (const { name } of [...old.attributes]) {
      // Whether a list is open is up to the reader.
      if (name !== "open" && !fresh.hasAttribute(name)) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    const children = [...fresh.childNodes];
    while (old.childNodes.length > children.length) old.lastChild.remove();
    children.forEach((child, at) => {
      const there = old.childNodes[at];
      if (there) morph(there, child);
      else old.append(child);
    });
  }

  async function update() {
    clearTimeout(timer);
    // Nobody looks.
    if (document.hidden) return;
    try {
      const answer = await fetch(location.pathname + location.search, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
      if (!answer.ok) throw new Error(answer.statusText);
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      morph(document.querySelector("main"), fresh.querySelector("main"));
      document.title = fresh.title;
      [wait, answered] = [USUAL, new Date()];
      say("live", false);
    } catch {
      wait = Math.min(wait * 2, LONGEST);
      say(`no answer since ${answered.toLocaleTimeString()}, trying on`, true);
    }
    // Not all at the same moment, after the program was away.
    timer = setTimeout(update, wait * (0.8 + 0.4 * Math.random()));
  }

  document.addEventListener("visibilitychange", update);
  timer = setTimeout(update, wait);
})();
