/** The token: typed into the page or given as `#token=...` in its address; kept for this tab only. */

const KEY = "gest_stream.token";

export class Access {
  #token = "";

  constructor() {
    this.#token = stored(() => sessionStorage.getItem(KEY)) ?? "";
    this.takeFromAddress();
  }

  /** The token, "" where none is known. */
  get token() {
    return this.#token;
  }

  set token(value) {
    this.#token = value.trim();
    stored(() => (this.#token ? sessionStorage.setItem(KEY, this.#token) : sessionStorage.removeItem(KEY)));
  }

  /** Take a token out of the address, so that it is neither seen, bookmarked nor passed on. */
  takeFromAddress() {
    const fragment = new URLSearchParams(location.hash.slice(1));
    if (!fragment.has("token")) return false;
    this.token = fragment.get("token");
    fragment.delete("token");
    const rest = fragment.toString();
    history.replaceState(history.state, "", location.pathname + location.search + (rest ? `#${rest}` : ""));
    return true;
  }
}

/** Storage may be forbidden altogether; the token then lives as long as the page. */
function stored(use) {
  try {
    return use();
  } catch {
    return null;
  }
}
