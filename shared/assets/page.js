/* Browsers keep a page that was left, and the back button shows it as it was, also after the sign-out. So it is hidden when
   it is left, and asked for again when it is brought back. */

addEventListener("pagehide", () => {
  document.documentElement.hidden = true;
});
addEventListener("pageshow", ({ persisted }) => {
  if (persisted) location.reload();
});

/* A form is sent once: a second click, while its answer is on the way, would send it again and drop that answer. The button's own
   value goes along, so it is disabled when the form has been read; and enabled again where no answer comes. */

const PATIENCE_MS = 10_000;

addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.getAttribute("method") !== "post") return;
  if (form.hasAttribute("data-sent")) {
    event.preventDefault();
    return;
  }
  form.setAttribute("data-sent", "");
  const buttons = form.querySelectorAll("button:not(:disabled)");
  const enable = (isOn) => buttons.forEach((button) => { button.disabled = !isOn; });
  setTimeout(() => enable(false));
  setTimeout(() => {
    form.removeAttribute("data-sent");
    enable(true);
  }, PATIENCE_MS);
});
