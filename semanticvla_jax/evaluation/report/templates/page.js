"use strict";
for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    const code = button.previousElementSibling;
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
    }
  });
}

for (const group of document.querySelectorAll(".filter")) {
  group.addEventListener("click", (event) => {
    const chosen = event.target.closest("button");
    if (!chosen) return;
    for (const button of group.querySelectorAll("button"))
      button.setAttribute("aria-pressed", button === chosen);
    for (const card of group.parentElement.querySelectorAll(".card"))
      card.hidden = !["all", card.dataset.run].includes(chosen.dataset.show);
  });
}

{% include "viewer.js" %}
