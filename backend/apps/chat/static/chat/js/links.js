// Finds web addresses in a message's text. Only http and https become links; everything else stays text.
const ADDRESS = /\b(?:https?:\/\/|www\.)[^\s<>"'`]+/gi;

/** The address without the sentence's own punctuation; a closing bracket stays when it was opened inside. */
function trimmed(address) {
  const opened = address.split("(").length;
  let closed = address.split(")").length;
  let end = address.length;
  while (end > 0 && ".,;:!?)]}*_~…".includes(address[end - 1])) {
    if (address[end - 1] === ")") {
      if (closed <= opened) break;
      closed -= 1;
    }
    end -= 1;
  }
  return address.slice(0, end);
}

function target(address) {
  try {
    const url = new URL(/^www\./i.test(address) ? `https://${address}` : address);
    return url.hostname.includes(".") || url.hostname === "localhost" ? url.href : null;
  } catch {
    return null;
  }
}

/** [{text}, {text, href}, …]: the parts of a text, in order; joined they are the text again. */
export function splitLinks(text) {
  const parts = [];
  let done = 0;
  for (const match of text.matchAll(ADDRESS)) {
    const address = trimmed(match[0]);
    const href = target(address);
    if (!href) continue;
    if (match.index > done) parts.push({ text: text.slice(done, match.index) });
    parts.push({ text: address, href });
    done = match.index + address.length;
  }
  if (done < text.length) parts.push({ text: text.slice(done) });
  return parts;
}
