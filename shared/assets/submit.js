/* Sends the form that waits for nobody. A field may be called "submit", too. */

HTMLFormElement.prototype.submit.call(document.querySelector("form[data-submit]"));
