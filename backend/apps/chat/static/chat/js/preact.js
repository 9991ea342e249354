// The one place that knows which view library the page uses, plus the two helpers it lacks.
import { Component, h } from "../vendor/htm-preact-standalone-3.1.1.js";

export {
  html, render, createContext, useContext, useEffect, useLayoutEffect, useMemo, useRef, useState,
} from "../vendor/htm-preact-standalone-3.1.1.js";

/** A component that renders again only when one of its props is another value. */
export function memo(view) {
  return class extends Component {
    shouldComponentUpdate(next) {
      const names = Object.keys({ ...this.props, ...next });
      return names.some((name) => name !== "children" && !Object.is(this.props[name], next[name]));
    }

    render(props) {
      return h(view, props);
    }
  };
}
