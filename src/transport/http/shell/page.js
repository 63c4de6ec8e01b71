"use strict";
// Nothing here is needed: pages are plain forms. It sends a form once, however often its button is pressed.

document.addEventListener("submit", (event) => {
  // A button that is disabled at once would not be sent with its form.
  setTimeout(() => {
    for (const button of event.target.querySelectorAll("button")) {
      button.disabled = true;
    }
  });
});

// A page that comes back from the browser's memory may be used again.
window.addEventListener("pageshow", (event) => {
  if (event.persisted) {
    for (const button of document.querySelectorAll("button")) {
      button.disabled = false;
    }
  }
});
