"use strict";
// Nothing here is needed: the forms work without it. It counts the seconds of the code down, asks for the next code when
// one has rotated, and sends a form once however often its button is pressed.

const left = document.querySelector("[data-left]");
if (left) {
  let seconds = Number(left.dataset.left);
  const timer = setInterval(() => {
    seconds -= 1;
    if (seconds > 0) {
      left.textContent = String(seconds);
      return;
    }
    clearInterval(timer);
    left.textContent = "0";
    // What somebody is typing must not be lost.
    if (!document.querySelector("#code").value) {
      document.querySelector("[data-refresh]").click();
    }
  }, 1000);
}

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
