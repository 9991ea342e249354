// Run in the page by test_appearance.py: every visible text whose contrast with what is behind it is below WCAG AA.
(() => {
  const probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true });

  function rgba(colour) {
    probe.clearRect(0, 0, 1, 1);
    probe.fillStyle = colour;
    probe.fillRect(0, 0, 1, 1);
    return [...probe.getImageData(0, 0, 1, 1).data].map((value, i) => (i === 3 ? value / 255 : value));
  }

  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);

  function behind(element) {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.push(rgba(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((below, top) => over(top, below), rgba(getComputedStyle(document.body).backgroundColor));
  }

  function luminance([r, g, b]) {
    const [x, y, z] = [r, g, b].map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  }

  function contrast(element) {
    const back = behind(element);
    const [dark, light] = [luminance(over(rgba(getComputedStyle(element).color), back)), luminance(back)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  }

  function hasOwnText(element) {
    return [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  }

  return [...document.querySelectorAll("body *")]
    .filter((element) => hasOwnText(element) && element.checkVisibility({ visibilityProperty: true }) && !element.closest(".visually-hidden, :disabled"))
    .map((element) => ({ text: element.textContent.trim().slice(0, 40), where: element.className || element.tagName, ratio: contrast(element) }))
    .filter(({ ratio }) => ratio < 4.5)
    .map(({ text, where, ratio }) => `${where}: "${text}" ${ratio.toFixed(2)}`);
})()
