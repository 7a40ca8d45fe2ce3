// The buttons of the list are of the same name as the field.
const chosen = () => document.querySelector('#read input[name="token"]');

// A click on a token of the text chooses it, and another one lets it go.
const choose = (event) => {
  const token = event.target.closest(".passage > span");
  const form = document.getElementById("read");
  if (!token || !form || getSelection()?.toString()) return;
  const passage = token.parentElement;
  const place = Number(passage.dataset.first) + [...passage.children].indexOf(token);
  chosen().value = token.classList.contains("here") ? "" : String(place);
  form.requestSubmit();
};
document.addEventListener("click", choose);

// Another text has other tokens.
document.getElementById("read")?.addEventListener("input", (event) => {
  if (event.target.matches("textarea")) chosen().value = "";
  if (event.target.matches("select")) event.target.form.requestSubmit();
});
