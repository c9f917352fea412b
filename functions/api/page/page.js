"use strict";
// Asks for the run and says how that goes. Every second while things move, more rarely while they do not, not at all in a tab
// of a hidden page; after the end only when links are about to expire.

(() => {
  const at = (id) => document.getElementById(id);
  /** The query is the right to see the run. */
  const DATA = `view/data${location.search}`;
  const SOON = 1000;
  const RARELY = 5000;
  /** After failures: at most this long. */
  const LONGEST = 30_000;
  /** An answer takes no longer. */
  const PATIENCE = 20_000;
  /** Longer timers would fire at once. */
  const TIMER_MAX = 2 ** 31 - 1;

  let run = null;
  let previous = ""; // the last answer without its links
  let wait = SOON;
  let failures = 0;
  let asking = false;
  let over = false;
  let due = Infinity;
  let timer = 0;

  /** Links are new in every answer: they are no news. */
  const LINKS = new Set(["url", "url_expires_at", "links", "manifest"]);
  const news = (answer) => JSON.stringify(answer, (key, value) => (LINKS.has(key) ? undefined : value));

  function later(ms) {
    clearTimeout(timer);
    due = Date.now() + ms;
    if (!over && !document.hidden && ms !== Infinity) timer = setTimeout(ask, Math.min(Math.max(0, ms), TIMER_MAX));
  }

  /** When the first of the links is about to end. */
  function untilRenewal() {
    const ends = run.steps.flatMap((step) => step.outputs).map((output) => output.url_expires_at);
    // Links that live for less than the margin are not a reason to ask without a pause.
    return Math.max(10_000, Math.min(...ends) - media.MARGIN - clock.now());
  }

  const whole = (answer, body) => answer?.ok === true && Array.isArray(body?.steps);

  async function get(url) {
    let answer = null;
    try {
      answer = await fetch(url, {
        cache: "no-store",
        credentials: "omit",
        headers: { accept: "application/json" },
        signal: AbortSignal.timeout(PATIENCE),
      });
      return [answer, await answer.json()];
    } catch {
      // No answer, or one that is no JSON: that comes from something in between, and its status says what to make of it.
      return [answer, null];
    }
  }

  async function ask() {
    if (asking || over) return;
    asking = true;
    let [answer, body] = await get(DATA);
    // A large run comes in parts. The run itself is that of the first part.
    while (whole(answer, body) && body.next != null) {
      const [more, piece] = await get(`${DATA}&from=${body.next}`);
      if (whole(more, piece)) body = { ...body, steps: [...body.steps, ...piece.steps], next: piece.next };
      else [answer, body] = [more, piece];
    }
    asking = false;
    const status = answer?.status ?? 0;
    if (whole(answer, body)) heard(body, answer.headers.get("date"));
    else if (status >= 400 && status < 500 && status !== 408 && status !== 429) ended(status, body ?? {});
    else missed(answer);
  }

  function heard(next, date) {
    clock.heard(date);
    const again = failures > 0;
    failures = 0;
    const said = news(next);
    wait = said === previous ? Math.min(RARELY, wait * 1.5) : SOON;
    previous = said;
    run = next;
    later(run.status === "running" ? wait : untilRenewal());
    say("");
    view.draw(run, again);
    document.body.dataset.asked = "yes";
  }

  function missed(answer) {
    failures += 1;
    const asked = Number(answer?.headers.get("retry-after")) * 1000;
    later(Math.min(LONGEST, Math.max(SOON * 2 ** failures, asked || 0)));
    // One missing answer is nothing to speak of, unless there is nothing else to see.
    if (failures > 1 || run === null) {
      say(`Fresco cannot be reached just now${run ? "; what you see may be a little old" : ""}. Trying again by itself.`, true);
    }
  }

  function sentence(text) {
    if (!text) return "";
    return text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
  }

  /** Shows that the link has expired, or that the run is gone. The drawn steps stay. */
  function ended(status, problem) {
    over = true;
    clearTimeout(timer);
    clearInterval(ticking);
    const gone = status === 404 || status === 410;
    const words = gone ? "This run is not there, or not any more." : "This link does not work, or not any more.";
    // The problem's own advice is for callers of the API, not for viewers of the page.
    const help = gone ? "" : "Links to a run live for 24 hours: ask the sender for a new one.";
    const advice = `${sentence(problem.detail)} ${help}`.trim();
    const box = at("over");
    view.cause(box, {
      message: problem.detail || !problem.title ? words : `${words} ${sentence(problem.title)}`,
      advice,
      name: problem.code,
    });
    if (run === null) {
      at("status").dataset.state = "over";
      at("status").textContent = "Not available";
      at("summary").hidden = at("created").hidden = true;
      document.body.dataset.asked = "yes";
      document.title = "Not available – Fresco";
      return say("");
    }
    // At the top the page would jump, and a reader at the bottom would not see it.
    box.hidden = true;
    const as = new Date().toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
    say(`${words} What you see is from ${as} and changes no more. ${advice}`);
  }

  function say(words, retry = false) {
    put(at("connection-words"), words);
    at("try-now").hidden = !retry;
    at("connection").classList.toggle("said", words !== "");
  }

  // Known before the first answer, so that its line is as long as it will be.
  at("run-id").textContent = location.pathname.split("/").at(-2) ?? "";
  const ticking = setInterval(() => {
    if (!document.hidden && run?.status === "running") view.tick();
  }, 1000);

  media.onAsk(() => {
    if (over) return false;
    // The answer that is under way brings new links as well.
    if (!asking) later(0);
    return true;
  });
  at("try-now").addEventListener("click", () => later(0));
  window.addEventListener("online", () => {
    if (failures > 0) later(0);
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return clearTimeout(timer);
    view.tick();
    later(due - Date.now());
  });
  later(0);
})();
