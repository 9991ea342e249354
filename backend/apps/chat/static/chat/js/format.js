// Times, numbers and names as people read them. Pure; everything takes the locale.

/** "14:02" */
export function clockTime(iso, locale) {
  return new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit" }).format(new Date(iso));
}

/** A local day as a sortable key: "2026-11-21". */
export function dayKey(iso) {
  const date = new Date(iso);
  return `${date.getFullYear()}-${String(date.getMonth() + 1).padStart(2, "0")}-${String(date.getDate()).padStart(2, "0")}`;
}

/** Whole local days between two times; 0 is the same day. */
function daysBetween(then, now) {
  const midnight = (date) => Date.UTC(date.getFullYear(), date.getMonth(), date.getDate());
  return Math.round((midnight(now) - midnight(then)) / 86_400_000);
}

/** Heading of a day in a thread: today, yesterday, the weekday, or the date. */
export function dayHeading(iso, now, locale, t) {
  const date = new Date(iso);
  const days = daysBetween(date, now);
  if (days === 0) return t("today");
  if (days === 1) return t("yesterday");
  if (days > 1 && days < 7) return new Intl.DateTimeFormat(locale, { weekday: "long" }).format(date);
  const year = date.getFullYear() === now.getFullYear() ? undefined : "numeric";
  return new Intl.DateTimeFormat(locale, { day: "numeric", month: "long", year }).format(date);
}

/** When, in a list's narrow column: the time today, then yesterday, the weekday, the date. */
export function shortWhen(iso, now, locale, t) {
  if (!iso) return "";
  const date = new Date(iso);
  const days = daysBetween(date, now);
  if (days <= 0) return clockTime(iso, locale);
  if (days === 1) return t("yesterday");
  if (days < 7) return new Intl.DateTimeFormat(locale, { weekday: "short" }).format(date).replace(".", "");
  return new Intl.DateTimeFormat(locale, { day: "2-digit", month: "2-digit", year: "2-digit" }).format(date);
}

/** The full moment, for a tooltip. */
export function fullTime(iso, locale) {
  return new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "medium" }).format(new Date(iso));
}

/** How long until something, in its largest sensible unit: "12 s", "3 min", "2 h". */
export function countdown(milliseconds, t) {
  const seconds = Math.max(1, Math.ceil(milliseconds / 1000));
  if (seconds < 100) return t("seconds", { n: seconds });
  const minutes = Math.round(seconds / 60);
  return minutes < 100 ? t("minutes", { n: minutes }) : t("hours", { n: Math.round(minutes / 60) });
}

/** A number with country code as people write it; Brazilian ones with area code and hyphen. */
export function phoneNumber(digits) {
  if (!/^\d+$/.test(digits ?? "")) return digits ?? "";
  const brazil = /^55(\d{2})(\d{4,5})(\d{4})$/.exec(digits);
  return brazil ? `+55 ${brazil[1]} ${brazil[2]}-${brazil[3]}` : `+${digits}`;
}

/** What to call the other side of a conversation. */
export function nameOf(conversation, t) {
  const contact = conversation?.contact ?? {};
  const fallback = conversation?.conversation_type === "group" ? t("group") : t("unnamed");
  return contact.name || phoneNumber(contact.phone) || fallback;
}

/** One or two letters for an avatar; empty when the name has none (a phone number). */
export function initials(name) {
  const words = name.split(/\s+/).filter((word) => /^\p{L}/u.test(word));
  const first = words[0]?.[0] ?? "";
  const last = words.length > 1 ? words[words.length - 1][0] : "";
  return (first + last).toUpperCase();
}

/** A stable number in [0, count) for a text: the same contact always has the same colour. */
export function bucketOf(text, count) {
  let hash = 0;
  for (const letter of text ?? "") hash = (hash * 31 + letter.codePointAt(0)) >>> 0;
  return hash % count;
}

/** Length as the server counts it: code points, so that an emoji outside the basic plane is one. */
export function lengthOf(text) {
  let pairs = 0;
  for (let i = 0; i < text.length; i += 1) {
    const unit = text.charCodeAt(i);
    if (unit >= 0xd800 && unit <= 0xdbff && i + 1 < text.length) pairs += 1;
  }
  return text.length - pairs;
}

/** "1:05", or "1:02:03" from an hour on. */
export function duration(ms) {
  const seconds = Math.round(ms / 1000);
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const pad = (n) => String(n).padStart(2, "0");
  return h ? `${h}:${pad(m)}:${pad(s)}` : `${m}:${pad(s)}`;
}

const UNITS = ["kilobyte", "megabyte", "gigabyte"];

/** "3,4 MB": as the locale writes it, never smaller than 1 kB. */
export function fileSize(bytes, locale) {
  const power = Math.min(Math.max(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), 1), UNITS.length);
  const value = Math.max(bytes, 1000) / 1000 ** power;
  const digits = value < 10 && power > 1 ? 1 : 0;
  return new Intl.NumberFormat(locale, { style: "unit", unit: UNITS[power - 1], maximumFractionDigits: digits }).format(value);
}

const STUB = /^\[(\w+)\]$/;

/** A line of a list: the kind in words where the server has only a stub such as "[image]". */
export function previewLine(text, t) {
  const kind = STUB.exec(text ?? "")?.[1];
  const words = kind && t(`kind_${kind}`);
  return words && words !== `kind_${kind}` ? words : text;
}

/** The words of a message, without the stub that stands for a file without a caption. */
export function wordsOf(message) {
  return message.content === `[${message.kind}]` ? "" : message.content;
}

/** A message in one line, for a quote. */
export function quoteLine(message, t) {
  return wordsOf(message) || message.attachments?.[0]?.file_name || previewLine(`[${message.kind}]`, t);
}
