"use strict";
// What a run has made: pictures, clips and texts, and the dialog that shows a picture large.
//
// Two rules hold for all of this page. What it shows was written by strangers, so it becomes text (textContent) and never
// markup. And media are shown by links that expire: a link is replaced when that is needed, and not with every answer, for
// a new `src` makes a picture flicker and a clip start again.

/** An element with a class and a text. */
function make(tag, name = "", text = "") {
  const node = document.createElement(tag);
  if (name) node.className = name;
  if (text) node.textContent = text;
  return node;
}

/** Sets a text only where it differs: a live region would be read again, and a selection lost. */
function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** The server's clock, estimated from its responses: links expire by it, and the visitor's clock may be wrong. */
const clock = {
  skew: 0,
  now: () => Date.now() + clock.skew,
  heard(header) {
    const skew = Date.parse(header ?? "") + 500 - Date.now();
    // The header counts whole seconds, so a difference under a second counts as none.
    clock.skew = Math.abs(skew) > 2000 ? skew : 0;
  },
};

const media = (() => {
  /** A link is replaced this long before it ends. */
  const MARGIN = 60_000;
  /** A file that fails again within this time is not asked for a third time: it is the file, not the link. */
  const ONCE_IN = 60_000;
  /** Beyond either, a text is folded. */
  const LONG = { characters: 700, lines: 10 };

  const entries = new WeakMap();
  /** Asks for new data; page.js puts itself here. False if there will be none. */
  let ask = () => false;

  /** Only what a browser fetches: a link that is not http would be a script or a file. */
  function link(url) {
    try {
      const parsed = new URL(url, location.href);
      return parsed.protocol === "https:" || parsed.protocol === "http:" ? parsed.href : null;
    } catch {
      return null;
    }
  }

  function point(anchor, url) {
    const to = link(url);
    if (to === null) anchor.removeAttribute("href");
    else if (anchor.href !== to) anchor.href = to;
  }

  function size(bytes) {
    const units = ["B", "kB", "MB", "GB"];
    let unit = 0;
    for (; bytes >= 1000 && unit < units.length - 1; unit += 1) bytes /= 1000;
    return `${bytes < 10 && unit > 0 ? bytes.toFixed(1) : Math.round(bytes)} ${units[unit]}`;
  }

  function about(output) {
    const parts = [];
    if (output.width && output.height) parts.push(`${output.width} × ${output.height}`);
    if (output.duration_ms != null) parts.push(`${+(output.duration_ms / 1000).toFixed(1)} s`);
    parts.push(size(output.bytes));
    return parts.join(" · ");
  }

  /** Keeps an <img> or <video> under a link that works. `broken` gets whether it is given up. */
  function keep(node, broken) {
    let latest = null; // what the newest answer says
    let shown = null; // what `src` is
    let failed = false; // waits for a new link
    let lastTry = -Infinity;

    const playing = () => node instanceof HTMLVideoElement && !node.paused && !node.ended;
    // A picture that is there needs no link any more.
    const loaded = () => node instanceof HTMLImageElement && node.complete && node.naturalWidth > 0;

    function show() {
      const url = link(latest.url);
      const same = shown !== null && shown.sha256 === latest.sha256;
      const [at, wasPlaying] = [same ? node.currentTime : 0, same && playing()];
      shown = latest;
      failed = false;
      broken(url === null);
      if (url === null) return;
      node.src = url;
      if (at > 0) {
        node.addEventListener("loadedmetadata", () => {
          node.currentTime = at;
          if (wasPlaying) node.play().catch(() => {});
        }, { once: true });
      }
    }

    function renew() {
      if (shown === null || shown.sha256 !== latest.sha256 || failed) show();
      else if (!loaded() && !playing() && shown.url_expires_at - clock.now() < MARGIN && shown.url !== latest.url) show();
    }

    node.addEventListener("error", () => {
      const again = clock.now() - lastTry > ONCE_IN;
      lastTry = clock.now();
      failed = again && ask();
      broken(!failed);
    });
    // A clip that ran on an old link gets the new one when it rests.
    node.addEventListener("pause", () => renew());

    return {
      update(output, again) {
        latest = output;
        if (again && node.dataset.broken === "true") failed = true;
        renew();
      },
    };
  }

  function framed(node, frame) {
    const words = make("span", "broken", "This file could not be shown.");
    words.hidden = true;
    frame.append(node, words);
    return (is) => {
      node.dataset.broken = String(is);
      node.hidden = is;
      words.hidden = !is;
    };
  }

  /** The frame has its final shape before the file arrives, so that nothing moves. */
  function shape(item, output) {
    const known = output.width > 0 && output.height > 0;
    const ratio = known ? output.width / output.height : output.kind === "video" ? 16 / 9 : 1;
    item.style.setProperty("--ratio", String(Math.min(4, Math.max(0.4, ratio))));
  }

  function picture(item, step, output) {
    const open = make("a", "frame");
    const node = make("img");
    node.alt = `${output.file}, made by the step ${step}`;
    node.loading = "lazy";
    node.decoding = "async";
    open.target = "_blank";
    open.rel = "noopener noreferrer";
    open.setAttribute("aria-haspopup", "dialog");
    const kept = keep(node, framed(node, open));
    open.addEventListener("click", (event) => {
      // With a modifier the visitor asks for a tab or a window, and gets it.
      if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
      event.preventDefault();
      viewer.open(item);
    });
    item.append(open);
    return (latest, again) => {
      point(open, latest.url);
      kept.update(latest, again);
      viewer.heard(item);
    };
  }

  function clip(item, step, output) {
    const frame = make("div", "frame");
    const node = make("video");
    node.controls = true;
    node.muted = true;
    node.playsInline = true;
    node.preload = "metadata";
    node.setAttribute("aria-label", `${output.file}, made by the step ${step}`);
    const kept = keep(node, framed(node, frame));
    item.append(frame);
    return kept.update;
  }

  function text(item, output) {
    const body = make("p", "text", output.text.trimEnd());
    item.append(body);
    const long = output.text.length > LONG.characters || output.text.split("\n").length > LONG.lines;
    if (long) {
      const more = make("button", "more", "Show all");
      more.type = "button";
      more.setAttribute("aria-expanded", "false");
      more.setAttribute("aria-label", `Show all of ${output.file}`);
      body.classList.add("folded");
      more.addEventListener("click", () => {
        const folded = body.classList.toggle("folded");
        more.setAttribute("aria-expanded", String(!folded));
        put(more, folded ? "Show all" : "Show less");
        more.setAttribute("aria-label", `${more.textContent} of ${output.file}`);
      });
      item.append(more);
    }
  }

  /** An output's element, and how it takes the next answer. */
  function draw(step, output) {
    const item = make("li", "output");
    item.dataset.output = output.file;
    item.dataset.kind = output.kind;
    shape(item, output);
    const entry = { item, step, latest: output, update: null };
    entries.set(item, entry);
    let show = () => {};
    if (output.kind === "image") show = picture(item, step, output);
    else if (output.kind === "video") show = clip(item, step, output);
    else if (output.text != null) text(item, output);
    const caption = make("p", "caption");
    const file = make("a", "file", output.file);
    file.target = "_blank";
    file.rel = "noopener noreferrer";
    caption.append(file, make("span", "about", about(output)));
    item.append(caption);
    entry.update = (latest, again) => {
      entry.latest = latest;
      point(file, latest.url);
      show(latest, again);
    };
    entry.update(output, false);
    return entry;
  }

  /** The outputs of a step, as they become more. */
  function list(node, step) {
    const shown = new Map();
    return (outputs, again) => {
      node.hidden = outputs.length === 0;
      for (const output of outputs) {
        const before = shown.get(output.file);
        if (before && before.latest.sha256 === output.sha256) {
          before.update(output, again);
          continue;
        }
        const entry = draw(step, output);
        if (before) before.item.replaceWith(entry.item);
        else node.append(entry.item);
        shown.set(output.file, entry);
      }
    };
  }

  const viewer = (() => {
    const at = (id) => document.getElementById(`viewer-${id}`);
    const dialog = document.getElementById("viewer");
    const image = at("image");
    let entry = null;
    let asked = false; // once for a picture
    let waiting = false;

    const pictures = () => [...document.querySelectorAll('.output[data-kind="image"]')];

    function show(item) {
      entry = entries.get(item);
      asked = waiting = false;
      const all = pictures();
      const place = all.indexOf(item);
      put(at("name"), `${entry.latest.file} · ${entry.step}`);
      put(at("place"), `${place + 1} of ${all.length}`);
      at("back").disabled = place <= 0;
      at("on").disabled = place >= all.length - 1;
      image.alt = `${entry.latest.file}, made by the step ${entry.step}`;
      // Before the picture is there, its place is.
      image.width = entry.latest.width ?? 1024;
      image.height = entry.latest.height ?? 1024;
      point(at("open"), entry.latest.url);
      load();
    }

    function load() {
      // The thumbnail's link, as long as it works: the browser has that file already.
      const thumbnail = entry.item.querySelector("img");
      const there = thumbnail.complete && thumbnail.naturalWidth > 0 && !asked;
      const url = there ? thumbnail.src : link(entry.latest.url);
      if (url === null) image.removeAttribute("src");
      else image.src = url;
    }

    function step(by) {
      const all = pictures();
      const next = all[all.indexOf(entry.item) + by];
      if (next) show(next);
      // A button that has become disabled would take the focus, and so the keys, with it.
      if (!dialog.contains(document.activeElement) || document.activeElement.disabled) at("close").focus();
    }

    image.addEventListener("error", () => {
      if (entry === null || asked) return;
      asked = true;
      waiting = ask();
    });
    at("close").addEventListener("click", () => dialog.close());
    at("back").addEventListener("click", () => step(-1));
    at("on").addEventListener("click", () => step(1));
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close();
    });
    dialog.addEventListener("keydown", (event) => {
      if (event.key === "ArrowLeft") step(-1);
      if (event.key === "ArrowRight") step(1);
    });
    dialog.addEventListener("close", () => {
      entry = null;
      image.removeAttribute("src");
    });

    return {
      open(item) {
        show(item);
        dialog.showModal();
      },
      /** There is a newer link for the item. */
      heard(item) {
        if (entry === null || entry.item !== item) return;
        point(at("open"), entry.latest.url);
        if (waiting) load();
        waiting = false;
      },
    };
  })();

  return { MARGIN, list, onAsk: (f) => (ask = f) };
})();
