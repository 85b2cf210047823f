"use strict";
// Before and after: the slider says how much of the earlier picture is seen.
for (const figure of document.querySelectorAll(".compare")) {
  const slider = figure.querySelector("input[type=range]");
  const move = () => {
    figure.style.setProperty("--at", `${slider.value}%`);
    slider.setAttribute("aria-valuetext", `${slider.value} % before`);
  };
  slider.addEventListener("input", move);
  move();
}
