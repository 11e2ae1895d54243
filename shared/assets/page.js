/* Browsers keep a page that was left, and the back button shows it as it was, also after the sign-out. So it is hidden when
   it is left, and asked for again when it is brought back. */

addEventListener("pagehide", () => {
  document.documentElement.hidden = true;
});
addEventListener("pageshow", ({ persisted }) => {
  if (persisted) location.reload();
});
