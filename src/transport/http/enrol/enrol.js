"use strict";
// Nothing here is needed: the forms work without it. On the page that asks for the key, it takes pictures that are dropped or
// pasted, and reads the QR code that a camera sees; frames of the camera stay in the browser. On the page that shows a code,
// it counts its seconds down, and fetches the next code when one has rotated.

const $ = (id) => document.getElementById(id);

if ($("pictured")) {
  takePictures();
  // Only pages that came over a safe connection may use a camera.
  if (navigator.mediaDevices?.getUserMedia) {
    useCamera();
  }
}
if (document.querySelector("[data-left]")) {
  countDown();
}
for (const left of document.querySelectorAll("[data-minutes]")) {
  setInterval(() => (left.textContent = String(Math.max(0, Number(left.textContent) - 1))), 60_000);
}

/** Tells the person something, also those who hear the page. */
function say(text) {
  $("said").textContent = text;
}

function takePictures() {
  const form = $("pictured");
  const input = $("picture");

  function isFine(file) {
    const most = Number(input.dataset.most);
    if (!file || file.size <= most) {
      return true;
    }
    say(`This picture is larger than ${most / 2 ** 20} MiB. Cut the QR code out.`);
    input.value = "";
    return false;
  }

  function take(files) {
    const picture = [...files].find((file) => file.type.startsWith("image/"));
    if (!picture) {
      say("That is no picture.");
    } else if (isFine(picture)) {
      const chosen = new DataTransfer();
      chosen.items.add(picture);
      input.files = chosen.files;
      form.requestSubmit();
    }
  }

  for (const hint of document.querySelectorAll("[data-script]")) {
    hint.hidden = false;
  }
  input.addEventListener("change", () => isFine(input.files[0]) && say(""));
  form.addEventListener("submit", () => say("Reading the picture …"));
  window.addEventListener("pageshow", () => say(""));
  document.addEventListener("paste", (event) => {
    // Text that is pasted goes where it is pasted.
    if (event.clipboardData?.files.length) {
      event.preventDefault();
      take(event.clipboardData.files);
    }
  });
  // A picture that misses the field would replace the page, and what was typed would be lost.
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    form.classList.add("over");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) {
      form.classList.remove("over");
    }
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    form.classList.remove("over");
    take(event.dataTransfer.files);
  });
}

function useCamera() {
  const button = $("camera");
  const view = $("view");
  let stream = null;

  function stop() {
    for (const track of stream?.getTracks() ?? []) {
      track.stop();
    }
    stream = null;
    view.srcObject = null;
    view.hidden = true;
    button.textContent = "Use the camera";
    button.setAttribute("aria-expanded", "false");
  }

  async function start() {
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 1280 } } });
    } catch (error) {
      const refused = error.name === "NotAllowedError";
      say(refused ? "The browser was not allowed to use the camera." : "No camera can be used here. Take a picture instead.");
      return;
    }
    view.srcObject = stream;
    view.hidden = false;
    button.textContent = "Stop the camera";
    button.setAttribute("aria-expanded", "true");
    say("Hold the QR code before the camera. What it sees stays in this browser.");
    const mine = stream;
    try {
      await view.play();
      const read = await reader();
      while (stream === mine) {
        const text = await read(view);
        if (stream === mine && text) {
          found(text);
        }
        await new Promise((resolve) => setTimeout(resolve, 150));
      }
    } catch {
      if (stream === mine) {
        stop();
        say("The camera can't be read here. Take a picture instead.");
      }
    }
  }

  function found(text) {
    // The server explains a registration for push messages.
    if (!/^\s*(otpauth|phonefactor:|microsoft-authenticator:|msauth:|oktaverify:|duo:)/i.test(text)) {
      say("This QR code is no link of an authenticator app. Hold another one before the camera.");
      return;
    }
    stop();
    say("The QR code was read.");
    $("key").value = text;
    const form = $("typed");
    form.requestSubmit(form.querySelector("button[value=look]"));
  }

  button.hidden = false;
  button.addEventListener("click", () => {
    if (stream) {
      stop();
      say("");
    } else {
      start();
    }
  });
  window.addEventListener("pagehide", stop);
}

/** A function that finds a QR code in a video's frame: the browser's own, or the one that comes with this page. */
async function reader() {
  const formats = await globalThis.BarcodeDetector?.getSupportedFormats().catch(() => []);
  if (formats?.includes("qr_code")) {
    const detector = new BarcodeDetector({ formats: ["qr_code"] });
    return async (video) => (await detector.detect(video))[0]?.rawValue;
  }
  const { decodeQR } = await import("./qr.js");
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d", { willReadFrequently: true });
  return async (video) => {
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    context.drawImage(video, 0, 0);
    try {
      return decodeQR(context.getImageData(0, 0, canvas.width, canvas.height));
    } catch {
      // It throws where there is no code.
      return null;
    }
  };
}

/** Counts the seconds of a code down, and puts the next one in its place. */
function countDown() {
  const code = document.querySelector("output");
  const left = document.querySelector("[data-left]");
  const button = document.querySelector("[data-refresh]");
  let until = Date.now() + Number(left.dataset.left) * 1000;

  async function refresh() {
    const form = new FormData(button.form);
    form.set(button.name, button.value);
    const answer = await fetch(location, { method: "POST", body: new URLSearchParams(form) });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const next = page.querySelector("[data-left]");
    if (!next) {
      // The server shows another page by now.
      button.click();
      return;
    }
    code.textContent = page.querySelector("output").textContent;
    until = Date.now() + Number(next.dataset.left) * 1000;
    tick();
  }

  function tick() {
    const seconds = Math.ceil((until - Date.now()) / 1000);
    left.textContent = String(Math.max(0, seconds));
    if (seconds > 0) {
      setTimeout(tick, 250);
    } else {
      refresh().catch(() => setTimeout(tick, 5000));
    }
  }

  tick();
}
