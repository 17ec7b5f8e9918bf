"use strict";
const root = document.documentElement;
const kept = { get: () => { try { return localStorage.getItem("groundrun-theme"); } catch { return null; } },
               set: (theme) => { try { localStorage.setItem("groundrun-theme", theme); } catch { /* a page from a file may have no store */ } } };
if (["light", "dark"].includes(kept.get())) root.dataset.theme = kept.get();
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);

function unfoldTarget() {
  const place = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const details = place && place.closest("details");
  if (details) { details.open = true; details.hidden = false; details.closest(".problem").hidden = false; details.scrollIntoView(); }
}

document.addEventListener("DOMContentLoaded", () => {
  const find = (name) => document.getElementById(name);
  const button = find("theme"), form = find("filter"), words = find("words"), shown = find("shown"), unfold = find("unfold");
  const problems = [...document.querySelectorAll(".problem")].map((problem) => ({
    place: problem, name: problem.querySelector("h3").textContent.toLowerCase(), candidates: [...problem.querySelectorAll(".candidate")] }));
  const total = problems.reduce((sum, problem) => sum + problem.candidates.length, 0);

  const nameTheme = () => { button.textContent = isDark() ? "Light" : "Dark"; button.setAttribute("aria-label", `Switch to ${isDark() ? "light" : "dark"}`); };
  button.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; kept.set(root.dataset.theme); nameTheme(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", nameTheme);
  nameTheme();
  button.hidden = false;

  function filter() {
    const word = words.value.trim().toLowerCase();
    const states = new Set([...form.querySelectorAll("[name=state]:checked")].map((box) => box.value));
    let number = 0;
    for (const problem of problems) {
      const all = !word || problem.name.includes(word);
      let some = false;
      for (const candidate of problem.candidates) {
        const wanted = states.has(candidate.dataset.state) && (all || candidate.textContent.toLowerCase().includes(word));
        candidate.hidden = !wanted;
        some ||= wanted;
        number += wanted;
      }
      problem.place.hidden = !some && problem.candidates.length > 0;
    }
    shown.textContent = number === total ? `${total} shown` : `${number} of ${total} shown`;
  }
  let waiting;
  words.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(filter, 150); });
  form.addEventListener("change", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  unfold.addEventListener("click", () => {
    const open = unfold.textContent === "Unfold all";
    for (const problem of problems) for (const candidate of problem.candidates) if (!candidate.hidden) candidate.open = open;
    unfold.textContent = open ? "Fold all" : "Unfold all";
  });
  filter();
  form.hidden = false;
  addEventListener("hashchange", unfoldTarget);
  unfoldTarget();
});
