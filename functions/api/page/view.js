"use strict";
// Draws a run: its head, its timeline and its steps. An answer changes only what differs, so that a focus, a selection and a
// playing clip survive it; `tick` moves the clocks between two answers.

const view = (() => {
  const at = (id) => document.getElementById(id);

  const RUN_WORDS = { running: "Running", succeeded: "Succeeded", partial: "Partly succeeded", failed: "Failed", stopped: "Stopped" };
  const STEP_WORDS = { waiting: "Waiting", running: "Running", done: "Done", failed: "Failed" };
  const SOURCE_WORDS = { hit: "from the cache", joined: "joined another job", generated: "generated" };
  /** Distances between the marks of the timeline, in milliseconds. */
  const MARKS = [50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 9e5, 18e5, 36e5, 72e5, 144e5, 288e5, 864e5];

  /** Micro-dollars as the command line writes them: at least two decimals, never a rounded one. */
  function money(micros) {
    const decimals = String(Math.abs(micros) % 1e6).padStart(6, "0");
    const kept = Math.max(2, decimals.replace(/0+$/, "").length);
    return `${micros < 0 ? "-" : ""}$${Math.trunc(Math.abs(micros) / 1e6)}.${decimals.slice(0, kept)}`;
  }

  /** A length of time; of one that still grows, whole seconds. */
  function span(ms, grows = false) {
    ms = Math.max(0, ms);
    if (ms < 59_950) return grows ? `${Math.floor(ms / 1000)} s` : `${(ms / 1000).toFixed(1)} s`;
    const seconds = grows ? Math.floor(ms / 1000) : Math.round(ms / 1000);
    const two = (n) => String(n).padStart(2, "0");
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${two(seconds % 60)} s`;
    return `${Math.floor(seconds / 3600)} h ${two(Math.floor(seconds / 60) % 60)} min`;
  }

  const clockFormat = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
  const dayFormat = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
  /** With its day, unless that is the one of `since`. */
  function time(ms, since = null) {
    const day = (at) => new Date(at).toDateString();
    return (since !== null && day(ms) === day(since) ? clockFormat : dayFormat).format(ms);
  }

  function mark(node, name, value) {
    if (value == null) delete node.dataset[name];
    else if (node.dataset[name] !== value) node.dataset[name] = value;
  }

  function count(n, word) {
    return `${n} ${word}${n === 1 ? "" : "s"}`;
  }

  /** What went wrong, what to do, and the name to look for. */
  function cause(node, failure) {
    node.hidden = failure == null;
    const failureJson = failure ? JSON.stringify(failure) : "";
    if (node.dataset.failure === failureJson) return;
    node.dataset.failure = failureJson;
    node.replaceChildren();
    if (failure) {
      node.append(make("p", "message", failure.message));
      if (failure.advice) node.append(make("p", "advice", failure.advice));
      if (failure.name) node.append(make("code", "", failure.name));
    }
  }

  const skipped = (step) => step.state === "failed" && step.failure?.name === "Step.Skipped";

  function wordOf(step, run) {
    if (skipped(step)) return "Skipped";
    if (step.state === "waiting" && run.status !== "running") return "Not started";
    return STEP_WORDS[step.state] ?? step.state;
  }

  /** When a step's bar begins and ends; null if it has none. */
  function extent(step, now) {
    if (skipped(step)) return null; // the moment at which that was seen is no work
    const end = step.ended_at ?? (step.state === "running" ? now : null);
    const begin = step.started_at ?? end;
    return begin == null || end == null ? null : { begin, end: Math.max(begin, end) };
  }

  function lastsOf(step, now) {
    if (step.started_at == null) return "";
    if (step.ended_at != null) return span(step.ended_at - step.started_at);
    return step.state === "running" ? span(now - step.started_at, true) : "";
  }

  function costOf(step, run) {
    if (skipped(step) || (step.state === "waiting" && run.status !== "running")) return "";
    const open = step.state === "waiting" || step.state === "running";
    if (!open || step.source === "hit" || step.source === "joined") return money(step.cost);
    return step.price > 0 ? `up to ${money(step.price)}` : "";
  }

  /** A step's element, kept over the answers. */
  function drawStep(index, step) {
    const node = make("li", "step");
    node.id = `step-${index}`;
    node.tabIndex = -1;
    node.dataset.step = step.name;
    const who = make("div", "who");
    const what = make("p", "what");
    what.append(make("span", "", step.type.replaceAll("_", " ")), " · ", make("code", "", step.model));
    who.append(make("h3", "", step.name), what);
    // Each name on its own: one that turns the writing direction turns only itself.
    const ties = [];
    if (step.of && step.of !== step.name) ties.push("part of ", make("bdi", "", step.of));
    step.reads.forEach((name, n) => {
      ties.push(n > 0 ? ", " : ties.length > 0 ? " · takes from " : "takes from ", make("bdi", "", name));
    });
    if (ties.length > 0) {
      const tied = make("p", "takes");
      tied.append(...ties);
      who.append(tied);
    }
    const did = make("div", "did");
    const facts = make("p", "line");
    const [word, source, lasts, cost] = ["word", "source", "lasts", "cost"].map((name) => make("span", name));
    facts.append(word, source, lasts, cost);
    const why = make("div", "cause");
    const outputs = make("ul", "outputs");
    outputs.setAttribute("role", "list");
    did.append(facts, why, outputs);
    node.append(who, did);
    const showOutputs = media.list(outputs, step.name);
    return {
      node,
      update(next, run, now, again) {
        mark(node, "state", next.state);
        mark(node, "source", next.source);
        mark(node, "skipped", skipped(next) ? "true" : null);
        put(word, wordOf(next, run));
        put(source, next.source ? SOURCE_WORDS[next.source] ?? next.source : "");
        put(cost, costOf(next, run));
        cause(why, next.failure);
        showOutputs(next.outputs, again);
        this.tick(next, now);
      },
      tick(next, now) {
        put(lasts, lastsOf(next, now));
      },
    };
  }

  function drawBar(index, step) {
    const node = make("li", "row");
    node.dataset.bar = step.name;
    const name = make("a", "name", step.name);
    name.href = `#step-${index}`;
    name.title = step.name;
    const track = make("span", "track");
    const bar = make("span", "bar");
    const words = make("span", "unseen");
    const lasts = make("span", "lasts");
    track.append(bar, words);
    node.append(name, track, lasts);
    return {
      node,
      update(next, run, from, whole, now) {
        const reach = extent(next, now);
        mark(node, "look", next.state === "failed" ? "failed" : next.source ?? "generated");
        mark(node, "state", next.state);
        bar.hidden = reach === null;
        if (reach) {
          bar.style.setProperty("--from", ((reach.begin - from) / whole).toFixed(4));
          bar.style.setProperty("--long", ((reach.end - reach.begin) / whole).toFixed(4));
        }
        const word = wordOf(next, run).toLowerCase();
        put(words, reach ? `${word}, started after ${span(reach.begin - from)}, lasts` : word);
        put(lasts, lastsOf(next, now));
      },
    };
  }

  let marksDrawn = "";
  function drawAxis(step, whole) {
    // With every tick of the clock this is asked, and it changes once in a while.
    if (marksDrawn === `${step}/${whole}`) return;
    marksDrawn = `${step}/${whole}`;
    at("timeline").style.setProperty("--mark", String(step / whole));
    const label = (ms) => {
      if (ms === 0) return "0";
      if (whole < 60_000) return `${ms / 1000} s`;
      const [h, m, s] = [Math.floor(ms / 36e5), Math.floor(ms / 6e4) % 60, Math.floor(ms / 1000) % 60];
      const two = (n) => String(n).padStart(2, "0");
      return whole < 36e5 ? `${m}:${two(s)}` : `${h} h ${two(m)}`;
    };
    const labels = [];
    for (let ms = 0; ms < whole; ms += step) {
      const node = make("span", "", label(ms));
      node.style.setProperty("--from", String(ms / whole));
      labels.push(node);
    }
    at("axis").replaceChildren(...labels);
  }

  const steps = new Map();
  const bars = new Map();
  let run = null;

  function drawTimeline(now) {
    at("timeline").hidden = run.steps.length === 0;
    if (run.steps.length === 0) return;
    const from = run.created_at;
    const until = Math.max(run.ended_at ?? now, from + 100, ...run.steps.map((step) => extent(step, now)?.end ?? 0));
    const step = MARKS.find((mark) => (until - from) / mark <= 7) ?? MARKS.at(-1);
    // While it runs, the scale goes a little further: else every bar would move with every second.
    const whole = run.status === "running" ? (step / 2) * Math.ceil((until - from) / (step / 2)) : until - from;
    drawAxis(step, whole);
    run.steps.forEach((next) => bars.get(next.name).update(next, run, from, whole, now));
  }

  function drawExport(exported) {
    at("export").hidden = exported == null;
    if (exported == null) return;
    const whole = exported.failed.length === 0;
    put(at("export-words"), whole
      ? `${count(exported.files.length, "file")} copied to`
      : `${count(exported.files.length, "file")} copied, ${exported.failed.length} not: those are listed, and the run still has them.`);
    put(at("export-to"), exported.to);
    at("export-failed").hidden = whole;
    at("export-failed").replaceChildren(...exported.failed.map((name) => make("li", "", name)));
  }

  function progressWords(of) {
    const { done, all, running, failed, left } = of;
    if (all === 0) return run.status === "running" ? "Being planned…" : "It was not planned";
    if (done === all) return all === 1 ? "The step is done" : `All ${all} steps done`;
    const parts = [`${done} of ${count(all, "step")} done`];
    if (running > 0) parts.push(`${running} running`);
    if (failed > 0) parts.push(`${failed} failed`);
    if (left > 0) parts.push(`${left} skipped`);
    return parts.join(", ");
  }

  function drawHead() {
    const planned = run.steps.length > 0;
    const going = run.status === "running";
    const number = (test) => run.steps.filter(test).length;
    const of = {
      all: run.steps.length,
      done: number((step) => step.state === "done"),
      running: going ? number((step) => step.state === "running") : 0,
      failed: number((step) => step.state === "failed" && !skipped(step)),
      left: number(skipped),
    };
    const word = going && run.stopping ? "Stopping" : going && !planned ? "Planning" : RUN_WORDS[run.status] ?? run.status;
    mark(at("status"), "state", run.status);
    put(at("status"), word);
    put(at("name"), run.name || "A run");
    put(at("run-id"), run.id);
    put(at("created"), `asked for ${time(run.created_at)}`);
    put(at("progress-words"), progressWords(of));
    const progress = at("progress");
    mark(progress, "state", run.status);
    progress.max = Math.max(1, of.all);
    if (planned || !going) progress.value = of.done;
    else progress.removeAttribute("value"); // not known yet
    put(at("end-label"), going ? "Ends by" : "Ended");
    const end = going ? run.bound_at : run.ended_at;
    put(at("end"), end == null ? "–" : time(end, run.created_at));
    put(at("spent"), money(run.spent));
    put(at("held"), money(run.held));
    put(at("saved"), money(run.saved));
    at("stopping").hidden = !(going && run.stopping);
    cause(at("failure"), run.failure);
    document.title = `${going && planned ? `${of.done}/${of.all}` : word} · ${run.name || "A run"} – Fresco`;
  }

  function drawSteps(now, again) {
    const names = new Set(run.steps.map((step) => step.name));
    for (const [name, step] of steps) {
      if (names.has(name)) continue;
      step.node.remove();
      bars.get(name).node.remove();
      steps.delete(name);
      bars.delete(name);
    }
    run.steps.forEach((next, index) => {
      if (!steps.has(next.name)) {
        steps.set(next.name, drawStep(index, next));
        bars.set(next.name, drawBar(index, next));
        at("step-list").append(steps.get(next.name).node);
        at("bars").append(bars.get(next.name).node);
      }
      steps.get(next.name).update(next, run, now, again);
    });
    const planned = run.steps.length > 0;
    const going = run.status === "running";
    at("no-steps").hidden = planned;
    at("steps").hidden = !planned;
    put(at("no-steps"), going
      ? "The run is being planned. Its steps appear here in a moment."
      : "There are no steps: the run ended before it was planned.");
    at("no-outputs").hidden = going || !planned || run.steps.some((step) => step.outputs.length > 0);
  }

  function tick() {
    if (run === null) return;
    const now = clock.now();
    const going = run.status === "running";
    put(at("elapsed"), span((run.ended_at ?? now) - run.created_at, going));
    if (!going) return;
    for (const step of run.steps) if (step.state === "running") steps.get(step.name).tick(step, now);
    drawTimeline(now);
  }

  return {
    cause,
    /** Shows an answer. `again`: files that were given up are tried once more. */
    draw(next, again) {
      run = next;
      const now = clock.now();
      drawHead();
      drawSteps(now, again);
      drawTimeline(now);
      drawExport(run.exported);
      tick();
    },
    tick,
  };
})();
