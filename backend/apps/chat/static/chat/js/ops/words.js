// This page's words join those it shares with the inbox, so that shared components find theirs and these find both.
import { TEXTS } from "../i18n.js";
import { en } from "./texts/en.js";
import { pt } from "./texts/pt.js";

Object.assign(TEXTS.en, en);
Object.assign(TEXTS.pt, pt);

export const OPS_TEXTS = { en, pt };
