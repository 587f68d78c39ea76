// The server's token. It comes behind the `#` of the address, which browsers send to nobody, is taken out of the address
// bar at once, and stays with this tab. It travels in a header alone: there is no cookie that a browser would add by itself.

const KEY = 'hrseg-token';

/** Takes the token out of the address, or what this tab has from before. */
export function takeToken() {
  const found = new URLSearchParams(location.hash.slice(1)).get('token');
  if (found) {
    history.replaceState(null, '', location.pathname + location.search);
    keepToken(found);
    return found;
  }
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null;
  }
}

/** Keeps it for reloads of this tab, where the browser lets us. */
export function keepToken(token) {
  try {
    sessionStorage.setItem(KEY, token);
  } catch {
    // without storage the token lives as long as the page
  }
}
