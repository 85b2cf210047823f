// Two pictures over each other, with a slider between them and a zoom.

const LEAST_WIDTH = 480;  // CSS pixels that a small picture is shown in, if there is room
const MOST_HEIGHT = 0.75;  // of the window

/**
 * Makes a figure of box.html a viewer; returns the function that shows its pictures anew
 * once they have other sides.
 */
export function viewer(figure) {
  const part = (name) => figure.querySelector(name);
  const [frame, pane, picture] = [".frame", ".pane", ".picture"].map(part);
  const [after, slider] = [part(".after"), part("input")];
  const buttons = [...figure.querySelectorAll("[data-zoom]")];
  let zoom = 0;  // device pixels of a pixel; 0 shows the whole picture

  function divide() {
    const share = slider.value / 100;
    frame.style.setProperty("--at", `${slider.value}%`);
    picture.style.setProperty("--cut", `${pane.scrollLeft + share * pane.clientWidth}px`);
    slider.setAttribute("aria-valuetext", `${slider.value} % before`);
  }

  function resize() {
    const shape = after.width / after.height;
    const whole = Math.min(
      figure.clientWidth,
      MOST_HEIGHT * innerHeight * shape,
      Math.max(after.width / devicePixelRatio, LEAST_WIDTH),
    );
    const width = zoom ? (after.width * zoom) / devicePixelRatio : whole;
    picture.style.width = `${width}px`;
    picture.style.height = `${width / shape}px`;
    frame.style.width = `${Math.min(width, figure.clientWidth)}px`;
    frame.classList.toggle("zoomed", zoom > 0);
    pane.toggleAttribute("tabindex", zoom > 0);
    divide();
  }

  function magnify(button) {
    const sides = ["Left", "Top"].map((side) => [
      `scroll${side}`,
      side === "Left" ? "Width" : "Height",
    ]);
    const middles = sides.map(
      ([from, length]) => (pane[from] + pane[`client${length}`] / 2) / pane[`scroll${length}`],
    );
    zoom = Number(button.dataset.zoom);
    for (const other of buttons) other.setAttribute("aria-pressed", other === button);
    resize();
    sides.forEach(([from, length], i) => {
      pane[from] = middles[i] * pane[`scroll${length}`] - pane[`client${length}`] / 2;
    });
    divide();
  }

  slider.addEventListener("input", divide);
  pane.addEventListener("scroll", divide);
  for (const button of buttons) button.addEventListener("click", () => magnify(button));
  pane.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "mouse") pane.setPointerCapture(event.pointerId);
  });
  pane.addEventListener("pointermove", (event) => {  // fingers scroll it anyway
    if (pane.hasPointerCapture(event.pointerId)) {
      pane.scrollBy({ left: -event.movementX, top: -event.movementY, behavior: "instant" });
    }
  });
  addEventListener("resize", resize);
  return resize;
}
